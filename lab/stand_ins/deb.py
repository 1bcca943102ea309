"""Binary packages as apt and dpkg take them; see deb(5). Nothing is run to make one."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

# Of every file, in seconds: the same package is the same bytes whenever it is made.
MADE = 1_780_000_000


class File(NamedTuple):
    """A file in a package."""

    content: bytes
    mode: int = 0o644


class Link(NamedTuple):
    """A symbolic link in a package."""

    target: str


class Folder(NamedTuple):
    """A folder in a package, which may be empty."""

    mode: int = 0o755


Entry = File | Link | Folder


@dataclass(frozen=True)
class Package:
    """What goes into one .deb: the fields of its control file, its files by path, its scripts."""

    fields: Mapping[str, str]
    files: Mapping[str, Entry] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        version = self.fields["Version"].rpartition(":")[2]
        return f"{self.fields['Package']}_{version}_{self.fields['Architecture']}.deb"

    @property
    def control(self) -> str:
        return "".join(f"{name}: {value}\n" for name, value in self.fields.items() if value)

    @cached_property
    def content(self) -> bytes:
        """The .deb; the same bytes for the same package."""
        about: dict[str, Entry] = {"control": File(self.control.encode())}
        kept = [
            path
            for path, entry in self.files.items()
            if path.startswith("/etc/") and not isinstance(entry, Folder)
        ]
        if kept:
            about["conffiles"] = File("".join(f"{path}\n" for path in sorted(kept)).encode())
        for name, text in self.scripts.items():
            about[name] = File(text.encode(), 0o755)
        return b"!<arch>\n" + b"".join(
            [
                _member("debian-binary", b"2.0\n"),
                _member("control.tar.gz", _tar(about)),
                _member("data.tar.gz", _tar(self.files)),
            ]
        )


def _member(name: str, content: bytes) -> bytes:
    """One file of an ar archive."""
    head = f"{name:16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(content):<10}`\n"
    return head.encode() + content + b"\n" * (len(content) % 2)


def _tar(files: Mapping[str, Entry]) -> bytes:
    """A tar archive with the folders above each file."""
    relative = {PurePosixPath(path.lstrip("/")): entry for path, entry in files.items()}
    folders = {folder for path in relative for folder in path.parents}
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path in sorted(folders | set(relative)):
            entry = relative.get(path)
            info = tarfile.TarInfo("./" if str(path) == "." else f"./{path}")
            info.mtime = MADE
            if isinstance(entry, File):
                info.size, info.mode = len(entry.content), entry.mode
                archive.addfile(info, io.BytesIO(entry.content))
            elif isinstance(entry, Link):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
                archive.addfile(info)
            else:
                info.type, info.mode = tarfile.DIRTYPE, entry.mode if entry else 0o755
                archive.addfile(info)
    return packed.getvalue()
