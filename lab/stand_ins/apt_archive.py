"""An apt repository of packages in memory: indexes, signatures, and what can be wrong with them."""

import gzip
import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from lab.stand_ins import openpgp
from lab.stand_ins.catalogue import ARCHITECTURE
from lab.stand_ins.deb import Package


class Trouble(StrEnum):
    """What may be wrong with a repository."""

    NONE = "nothing"
    EXPIRED_KEY = "its key expired ten days ago"
    SHA1_KEY = "its key is bound to its name by SHA-1"
    WRONG_KEY = "it is signed by another key than the one it gives out"
    UNSIGNED = "it is not signed"
    HALF_WRITTEN = "its Packages is cut off in the middle: Release has the whole one's checksum"
    OLD_RELEASE = "its Packages is newer than its Release"
    NO_PACKAGES = "its index is fine, and the packages it lists are not there"


@dataclass
class Archive:
    """One suite of a repository: below `folder`, with the indexes in `index` (flat: "")."""

    folder: str
    about: Mapping[str, str]
    user_id: str
    packages: list[Package] = field(default_factory=list)
    trouble: Trouble = Trouble.NONE
    suite: str = ""
    component: str = ""

    @property
    def key(self) -> openpgp.Key:
        """The key that the repository gives out."""
        return key_of(self.user_id, self.trouble)

    def add(self, packages: Iterable[Package]) -> None:
        """List these too, but none twice."""
        listed = {package.file_name for package in self.packages}
        self.packages += [package for package in packages if package.file_name not in listed]

    def files(self) -> dict[str, bytes]:
        """All that is to be served, by path."""
        pool = {
            f"{self.folder}/{self._place(package)}": package.content for package in self.packages
        }
        index = "\n".join(self._entry(package) for package in self.packages).encode()
        indexes = self._indexes(index)
        release = self._release(indexes)
        if self.trouble is Trouble.HALF_WRITTEN:
            indexes = {name: content[: len(content) // 2] for name, content in indexes.items()}
        if self.trouble is Trouble.OLD_RELEASE:
            indexes = self._indexes(index + b"\n" + index)
        if self.trouble is Trouble.NO_PACKAGES:
            pool = {}
        top = f"{self.folder}/dists/{self.suite}" if self.suite else self.folder
        signed = {f"{top}/{name}": content for name, content in self._signed(release).items()}
        return pool | signed | {f"{top}/{name}": text for name, text in indexes.items()}

    def _place(self, package: Package) -> str:
        return f"pool/{package.file_name}" if self.suite else package.file_name

    def _entry(self, package: Package) -> str:
        content = package.content
        place = self._place(package) if self.suite else f"./{package.file_name}"
        return (
            f"{package.control}Filename: {place}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )

    def _indexes(self, text: bytes) -> dict[str, bytes]:
        folder = f"{self.component}/binary-{ARCHITECTURE}/" if self.suite else ""
        return {
            f"{folder}Packages": text,
            f"{folder}Packages.gz": gzip.compress(text, 1, mtime=0),
        }

    def _release(self, indexes: Mapping[str, bytes]) -> str:
        date = time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime(time.time() - 60))
        head = "".join(f"{name}: {value}\n" for name, value in self.about.items())
        sums = "".join(
            f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n"
            for name, content in indexes.items()
        )
        return f"{head}Date: {date}\nSHA256:\n{sums}"

    def _signed(self, release: str) -> dict[str, bytes]:
        if self.trouble is Trouble.UNSIGNED:
            return {"Release": release.encode()}
        wrong = self.trouble is Trouble.WRONG_KEY
        key = key_of("Somebody else (deeprig lab stand-in)") if wrong else self.key
        return {
            "Release": release.encode(),
            "Release.gpg": openpgp.detached(key, release.encode()).encode(),
            "InRelease": openpgp.clear_signed(key, release).encode(),
        }


def key_of(user_id: str, trouble: Trouble = Trouble.NONE) -> openpgp.Key:
    """The key of that name, one for as long as we run; a key at fault is another one."""
    lives = 20 if trouble is Trouble.EXPIRED_KEY else 0
    return _key(user_id, lives, openpgp.SHA1 if trouble is Trouble.SHA1_KEY else openpgp.SHA256)


@cache
def _key(user_id: str, lives_days: int, bound_by: int) -> openpgp.Key:
    return openpgp.make_key(user_id, lives_days=lives_days, bound_by=bound_by)
