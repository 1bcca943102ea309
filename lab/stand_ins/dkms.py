"""The dkms that NVIDIA's repository has: Debian 13's, under NVIDIA's version and with an epoch.

It is fetched once, by apt and by Debian's own key, and kept beside the base systems.
"""

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from lab import images, paths
from lab.errors import fail
from lab.stand_ins import catalogue
from lab.stand_ins.deb import File, Folder, Package

SUITE = "trixie"
KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


def package(dist: str) -> Package:
    """The package of that directory of NVIDIA's."""
    original = _unpacked(_original())
    fields = {
        **original.fields,
        "Version": version(dist),
        "Maintainer": catalogue.MAINTAINER,
        "Description": catalogue.REMARK.format(owner="NVIDIA's"),
    }
    return Package(fields, original.files, original.scripts)


def version(dist: str) -> str:
    """1:3.1.8-1 of debian12."""
    rows = catalogue.table("nvidia_dkms")["dkms"]
    return str(next(row["version"] for row in rows if dist in row["in"]))


@cache
def _unpacked(deb: Path) -> Package:
    with tempfile.TemporaryDirectory() as made:
        subprocess.run(["dpkg-deb", "-R", deb, made], check=True, capture_output=True)
        about = Path(made, "DEBIAN")
        control = (about / "control").read_text().replace("\n ", "\0").splitlines()
        fields = dict(line.partition(": ")[::2] for line in control)
        inside = [
            file for file in sorted(Path(made).rglob("*")) if about not in (file, *file.parents)
        ]
        files = {f"/{file.relative_to(made)}": _entry(file) for file in inside}
        scripts = {n: (about / n).read_text() for n in SCRIPTS if (about / n).exists()}
    return Package(fields, files, scripts)


def _entry(path: Path) -> File | Folder:
    """dkms builds in a folder that its package brings empty."""
    mode = path.stat().st_mode & 0o777
    return Folder(mode) if path.is_dir() else File(path.read_bytes(), mode)


def _original() -> Path:
    """Debian 13's. Raises DeeprigError where its archive cannot be reached."""
    folder = paths.images().with_name("packages")
    with paths.locked(folder / ".lock"):
        if debs := sorted(folder.glob("dkms_*.deb")):
            return debs[-1]
        with tempfile.TemporaryDirectory(dir=folder) as place:
            _fetch(Path(place))
            debs = sorted(Path(place).glob("dkms_*.deb"))
            return debs[-1].rename(folder / debs[-1].name)


def _fetch(place: Path) -> None:
    (place / "sources.list").write_text(f"deb [signed-by={KEY}] {_archive()} {SUITE} main\n")
    (place / "status").write_text("")
    (place / "lists/partial").mkdir(parents=True)
    (place / "cache/archives/partial").mkdir(parents=True)
    options = [
        f"Dir::Etc::SourceList={place}/sources.list", "Dir::Etc::SourceParts=/dev/null",
        "Dir::Etc::Preferences=/dev/null", "Dir::Etc::PreferencesParts=/dev/null",
        f"Dir::State={place}", f"Dir::State::status={place}/status", f"Dir::Cache={place}/cache",
        "APT::Sandbox::User=root",
    ]  # fmt: skip
    apt_get = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    for action in (["update"], ["download", "dkms"]):
        done = subprocess.run([*apt_get, *action], cwd=place, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no word"]
            fail(f"Debian 13's dkms cannot be fetched for the stand-in: apt says {lines[-1]!r}.")


def _archive() -> str:
    """Where the lab's own Debian 13 comes from."""
    sources = images.ensure("debian-13", lambda _: None) / "etc/apt/sources.list"
    rows = [line.split() for line in sources.read_text().splitlines()]
    return next(row[1] for row in rows if row[0] == "deb" and row[2] == SUITE)
