"""The key that a repository hands out, compared with those that may sign it."""

import io
import re
import tarfile
from pathlib import Path

from deeprig_box.apt.errors import explained
from deeprig_box.apt.spec import Repository
from deeprig_box.lib import bounded, openpgp
from deeprig_box.lib.errors import BoxError

HELPER = "/usr/lib/apt/apt-helper"


def fetched(repository: Repository, folder: Path) -> bytes:
    """The key that it hands out, from the first of the addresses that has one."""
    complaints = ""
    for url in repository.spec["key_urls"]:
        file = folder / "fetched"
        done = bounded.run([HELPER, "download-file", url, file], seconds=bounded.LONG)
        if done.code == 0:
            return from_package(file) if url.endswith(".deb") else file.read_bytes()
        complaints += done.out + done.err
    where = " or ".join(repository.spec["key_urls"])
    raise BoxError(f"{repository.title} hands out no key at {where}: {explained(complaints)}")


def from_package(file: Path) -> bytes:
    """The keyring in a keyring package, which is read and never installed."""
    unpacked = bounded.run(["dpkg-deb", "--fsys-tarfile", file])
    if unpacked.code:
        raise BoxError(f"its keyring package is no Debian package: {unpacked.err.strip()}")
    with tarfile.open(fileobj=io.BytesIO(unpacked.data)) as tar:
        for member in tar:
            if member.isfile() and re.search(r"keyrings/[^/]+\.(gpg|asc)$", member.name):
                content = tar.extractfile(member)
                return content.read() if content else b""
    raise BoxError("its keyring package holds no key")


def checked(repository: Repository, handed_out: bytes) -> bytes:
    """Those of the keys that may sign it; a sentence where none of them may."""
    try:
        keys = openpgp.keys(handed_out)
    except openpgp.NoKey:
        raise BoxError(f"what {repository.title} hands out is no key") from None
    spec = repository.spec
    for fingerprint in keys:
        if any(fingerprint.endswith(end) for end in spec["retired"]):
            raise BoxError(f"{repository.title} hands out {fingerprint}, a key that was given up")
        whose = spec["foreign"].get(fingerprint)
        if whose:
            raise BoxError(
                f"{repository.title} hands out {fingerprint}, which is the key of {whose}; "
                "nothing was changed"
            )
    good = {name: key for name, key in keys.items() if name in repository.accepted()}
    if not good:
        [first, *_] = keys
        raise BoxError(
            f"{repository.title} hands out the key {first}, which deeprig does not know; compare "
            f'it with its owner\'s word, then {spec["setting"]}(repo_key="{first}") takes it'
        )
    return b"".join(good.values())
