"""SSH host keys of a box, kept beside known_hosts for its next reinstall, encrypted to your key."""

import base64
import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pyrage

from deeprig.errors import DeeprigError
from deeprig.local_files import write
from deeprig.ssh import private_keys
from deeprig.ssh.known_hosts import label

FOLDER = "kept_host_keys"
MOST_BYTES = 64 * 1024  # of one key
NAME = r"ssh_host_[a-z0-9]+_key(\.pub)?"


@dataclass(frozen=True)
class HostKeys:
    """What `tar` makes of /etc/ssh/ssh_host_*_key and their .pub files.

    `public` has `type base64` of each private key in it. No repr shows the archive.
    """

    archive: bytes = field(repr=False)
    public: tuple[str, ...]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """`SHA256:...` of each key, sorted, as ssh-keygen prints them."""
        digests = [hashlib.sha256(base64.b64decode(key.split()[1])) for key in self.public]
        return tuple(
            sorted(f"SHA256:{base64.b64encode(d.digest()).decode().rstrip('=')}" for d in digests)
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """What can be told of kept keys without opening them; a JSON file beside them."""

    encrypted_to: str = ""
    fingerprints: tuple[str, ...] = ()
    sha256: str = ""


def file_of(known_hosts: Path, hostname: str, port: int = 22) -> Path:
    """Where the keys of a box are kept, whose host key is pinned in this known_hosts file.

    `port` is the one that it was bootstrapped at: several boxes may have one name.
    """
    return known_hosts.parent / FOLDER / f"{quote(label(hostname, port), safe='')}.age"


def read_archive(archive: bytes) -> HostKeys:
    """The keys in a tar archive, in one of our own. Raises DeeprigError where more is in it.

    Programs do not agree on what is in a crafted archive, so none but this reads the one that came.
    """
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is None or not re.fullmatch(NAME, member.name) or member.name in members:
                    raise DeeprigError(f"{member.name!r} is no host key, or comes twice.")
                members[member.name] = content.read(MOST_BYTES)
        halves = {
            name: private_keys.public_half(content)
            for name, content in members.items()
            if not name.endswith(".pub")
        }
    except (tarfile.TarError, EOFError, private_keys.Locked, private_keys.NotThis):
        raise DeeprigError("that is no archive of host keys.") from None
    if not halves:
        raise DeeprigError("there are no host keys in it.")
    kept = {
        name: content
        for name, content in members.items()
        # A .pub file of another key is left out; one is made when the keys are put back.
        if name in halves or content.split()[:2] == halves.get(name[:-4], "").encode().split()
    }
    return HostKeys(_packed(kept), tuple(halves.values()))


def _packed(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644 if name.endswith(".pub") else 0o600
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def are_kept(file: Path, *, recipient: str, fingerprints: list[str]) -> bool:
    """Whether exactly these keys are kept in `file`, whole, for whoever has this public key."""
    expected = Record(
        encrypted_to=recipient, fingerprints=tuple(sorted(fingerprints)), sha256=_sha256(file)
    )
    modes = [each.stat().st_mode & 0o777 for each in (file, file.parent) if each.exists()]
    return modes == [0o600, 0o700] and record_of(file) == expected


def record_of(file: Path) -> Record:
    """What is written down about the keys in `file`; empty where that cannot be read."""
    try:
        fields = json.loads(_record_file(file).read_text())
        return Record(**fields | {"fingerprints": tuple(fields["fingerprints"])})
    except (OSError, ValueError, TypeError, KeyError):
        return Record()


def keep(file: Path, keys: HostKeys, *, recipient: str) -> None:
    """Write the keys to `file`, for nobody but whoever has the private half of `recipient`."""
    sealed = pyrage.encrypt(keys.archive, [pyrage.ssh.Recipient.from_str(recipient)])
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    write(file, sealed)
    record = {
        "encrypted_to": recipient,
        "fingerprints": keys.fingerprints,
        "sha256": hashlib.sha256(sealed).hexdigest(),
    }
    write(_record_file(file), f"{json.dumps(record, indent=2)}\n".encode())


def open_with(file: Path, identity: bytes) -> HostKeys | None:
    """The keys in `file`; None where this private key, without passphrase, is not the one."""
    try:
        return read_archive(
            pyrage.decrypt(file.read_bytes(), [pyrage.ssh.Identity.from_buffer(identity)])
        )
    except (pyrage.DecryptError, pyrage.IdentityError):
        return None


def check_whole(file: Path) -> None:
    """Raise DeeprigError where `file` is not as it was written."""
    written = record_of(file).sha256
    if written and written != _sha256(file):
        raise DeeprigError(
            f"{file} is damaged; put it back from a backup, or move it away to go on with the "
            "box's new host keys."
        )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _record_file(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".age") + ".json")
