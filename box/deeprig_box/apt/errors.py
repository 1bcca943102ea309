"""What apt says of a repository that it cannot take, in a sentence."""

import os
import re

C = {**os.environ, "LC_ALL": "C.UTF-8"}
# What apt and the programs that check signatures for it say, and what that means.
REASONS = (
    (r"SHA-?1 is not considered secure|weak digest|[Pp]olicy rejected|SHA-?1.*not accepted",
     "this system's apt rejects its key as bound by SHA-1, and only its owner can renew it"),
    (r"EXPKEYSIG|KEYEXPIRED|[Kk]ey.* expired|[Ee]xpired on",
     "its key has expired, and only its owner can renew it"),
    (r"Release file .* is expired|invalid since", "its index is out of date; is the clock right?"),
    (r"not valid yet", "its index is of the future; is the box's clock right?"),
    (r"NO_PUBKEY|[Mm]issing key|No public key|not.* made by.*key",
     "it is signed with another key than the one it hands out"),
    (r"BADSIG|[Bb]ad signature|NODATA|Clearsigned file isn't valid", "its signature is wrong"),
    (r"Hash Sum mismatch|unexpected size|Hashes of expected file|Unable to parse package file",
     "it serves a half-written index; try again later"),
    (r"is not signed|does not have a Release file|NOSPLIT",
     "there is no signed index at that address"),
    (r"Could not resolve|Temporary failure|Name or service", "its name cannot be resolved"),
    (r"[Cc]ertificate", "its certificate is not trusted; see Rig.ca_certificates"),
    (r"Could not connect|Connection (?:refused|failed|timed out|reset)|[Tt]imeout|unreachable",
     "it cannot be reached; see Rig.apt_proxy and mirror="),
    (r"\b(?:404|403|410)\b", "there is nothing at that address"),
)  # fmt: skip


def explained(said: str) -> str:
    """What apt said, in a sentence."""
    for sign, sentence in REASONS:
        if re.search(sign, said):
            return sentence
    lines = [line for line in said.splitlines() if line.startswith(("E:", "W:"))]
    return (lines or said.splitlines() or ["apt does not read it"])[0].strip()
