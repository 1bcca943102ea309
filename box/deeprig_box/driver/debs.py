"""A .deb of every package of the driver, kept for the day when it must be put back: that needs no
network then."""

import os
import shutil
import tempfile
from pathlib import Path

from deeprig_box.lib import bounded
from deeprig_box.nvidia import driver
from deeprig_box.nvidia.steps import QUIET

DEBS = Path("/var/lib/deeprig/driver-debs")
INCOMING = DEBS / "incoming"
APT_CACHE = Path("/var/cache/apt/archives")
INFO = Path("/var/lib/dpkg/info")
# dpkg's own notes about a package, which its control file has not.
NOTES = ("Status:", "Config-Version:", "Conffiles:")
SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "triggers", "conffiles", "md5sums", "shlibs",
           "symbols", "templates", "config")  # fmt: skip


def install_options() -> list[str]:
    """Downloads into a folder of ours, since apt's own may be emptied by whoever likes."""
    (INCOMING / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::Cache::Archives={INCOMING}/", "-o", "APT::Keep-Downloaded-Packages=true"]


def keep_downloads(version: str, names: list[str]) -> None:
    """The packages of what is installed, for the day when it must be put back without a network."""
    folder = DEBS / version
    folder.mkdir(parents=True, exist_ok=True)
    versions = driver.installed()
    for name in names:
        if name.startswith(driver.OF_A_KERNEL) or any(folder.glob(f"{name}_*.deb")):
            continue
        for file in INCOMING.glob(f"{name}_{versions[name].replace(':', '%3a')}_*.deb"):
            file.rename(folder / file.name)
    lacking = [name for name in names if not any(folder.glob(f"{name}_*.deb"))]
    lacking = [n for n in lacking if not n.startswith(driver.OF_A_KERNEL)]
    if lacking:
        fetch(folder, *(f"{name}={versions[name]}" for name in lacking))
    shutil.rmtree(INCOMING, ignore_errors=True)


def kept(folder: Path, name: str, version: str) -> Path | None:
    """The package in that folder, in exactly this version."""
    exact = folder.glob(f"{name}_{version.replace(':', '%3a')}_*.deb")
    return next(exact, next(folder.glob(f"{name}_{version.rpartition(':')[2]}_*.deb"), None))


def keep(version: str, packages: dict[str, str]) -> list[str]:
    """Have them all in one folder; the names of those that could not be had."""
    folder = DEBS / version
    folder.mkdir(parents=True, exist_ok=True)
    for name, its in packages.items():
        if not kept(folder, name, its):
            deb = kept(INCOMING, name, its) or kept(APT_CACHE, name, its)
            if deb:
                shutil.copy2(deb, folder)
            else:
                fetch(folder, f"{name}={its}")
        if not kept(folder, name, its):
            pack(folder, name)
    return [name for name, its in packages.items() if not kept(folder, name, its)]


def fetch(folder: Path, *asked: str) -> None:
    bounded.run(
        ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *asked],
        folder=folder, seconds=bounded.LONG, environment=QUIET,
    )  # fmt: skip


def pack(folder: Path, name: str) -> None:
    """Made anew from its installed files: archives drop old builds."""
    control = control_file(driver.said("dpkg-query", "-s", name))
    with tempfile.TemporaryDirectory() as made:
        about = Path(made, "DEBIAN")
        about.mkdir(mode=0o755)
        (about / "control").write_text(control)
        for part in SCRIPTS:
            for file in (INFO / f"{name}.{part}", *INFO.glob(f"{name}:*.{part}")):
                if file.exists():
                    shutil.copy2(file, about / part)
        files = driver.said("dpkg-query", "-L", name).splitlines()
        paths = "\0".join(file.lstrip("/") for file in files if os.path.lexists(file))
        copy = 'tar -C / --no-recursion --null -T - -cf - | tar -C "$1" -xpf -'
        bounded.run(["sh", "-c", copy, "sh", made], stdin=paths, seconds=bounded.LONG)
        Path(made).chmod(0o755)
        bounded.run(["dpkg-deb", "-b", "-Zxz", "-z1", made, folder], seconds=bounded.LONG)


def control_file(status: str) -> str:
    """What `dpkg-query -s` says, without what dpkg has noted there itself."""
    lines: list[str] = []
    dropped = False
    for line in status.splitlines():
        if not line.startswith((" ", "\t")):
            dropped = line.startswith(NOTES)
        if not dropped and line:
            lines.append(line)
    return "\n".join(lines) + "\n"


def prune(versions: list[str]) -> None:
    """Only these versions stay: a driver's packages are some hundred megabytes."""
    for folder in DEBS.glob("*"):
        if folder.is_dir() and folder.name not in (*versions, INCOMING.name):
            shutil.rmtree(folder, ignore_errors=True)
