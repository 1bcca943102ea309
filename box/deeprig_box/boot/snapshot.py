"""What decides how a box boots and is reached: kept as it last booted, compared, and put back."""

import filecmp
import os
import re
import shutil
from pathlib import Path

from deeprig_box.lib import files

KEPT = Path("/var/lib/deeprig/last-boot")  # closed: passwords of networks are in it
MENU = Path("/boot/grub/grub.cfg")
LAST_MENU = Path("/boot/grub/deeprig-last.cfg")
PARAMETERS = ("etc/default/grub", "etc/default/grub.d")
NETWORK = (
    "etc/netplan",
    "etc/network/interfaces",
    "etc/network/interfaces.d",
    "etc/systemd/network",
    "etc/NetworkManager/conf.d",
    "etc/NetworkManager/system-connections",
)
ACCESS = (
    "etc/ssh/sshd_config",
    "etc/ssh/sshd_config.d",
    "etc/systemd/system/ssh.socket.d",
    "etc/default/ufw",
    "etc/ufw",
)
PATHS = (*PARAMETERS, *NETWORK, *ACCESS)
# The guard's own file comes and goes with the kernels, which it looks after by itself.
NOT_OURS = {"etc/default/grub.d/deeprig-guard.cfg"}
# The trial's own lines in a menu; the menu that is gone back to must not have them.
OURS = re.compile(
    r"^### BEGIN (/etc/grub\.d/\S*deeprig-trial) ###\n.*?^### END \1 ###\n",
    re.MULTILINE | re.DOTALL,
)


def is_kept() -> bool:
    return (KEPT / "whole").exists()


def keep() -> None:
    """The files as they are now, and GRUB's menu; whole, or not at all."""
    draft = KEPT.with_name(f"{KEPT.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    for path in PATHS:
        _copy(Path("/", path), draft / path)
    (draft / "whole").touch()
    if MENU.exists():
        files.write(LAST_MENU, without_trial(MENU.read_text(errors="replace")))
        LAST_MENU.chmod(0o600)
    os.sync()
    shutil.rmtree(KEPT, ignore_errors=True)
    draft.rename(KEPT)
    os.sync()


def without_trial(menu: str) -> str:
    return OURS.sub("", menu)


def changed() -> list[str]:
    """The files that are not as they were kept: new, other, or gone."""
    now, then = _files(Path("/")), _files(KEPT)
    return sorted(
        path
        for path in now | then
        if path not in NOT_OURS
        and not (path in now & then and filecmp.cmp(Path("/", path), KEPT / path, shallow=False))
    )


def restore(below: tuple[str, ...] = PATHS) -> list[str]:
    """Put back what has changed below these paths, and say which files that were."""
    paths = [path for path in changed() if path.startswith(below)]
    for path in paths:
        place, kept = Path("/", path), KEPT / path
        if kept.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = place.with_name(f"{place.name}.deeprig-new")
            _copy(kept, draft)
            draft.rename(place)
        else:
            place.unlink(missing_ok=True)
    os.sync()
    return paths


def _files(root: Path) -> set[str]:
    files: set[str] = set()
    for path in PATHS:
        place = root / path
        below = place.rglob("*") if place.is_dir() else [place]
        files |= {str(f.relative_to(root)) for f in below if f.is_file()}
    return files


def _copy(source: Path, target: Path) -> None:
    """With owner and mode."""
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        shutil.copy2(source, target)
        _own(source, target)
        return
    shutil.copytree(source, target, symlinks=True)
    for place in (source, *source.rglob("*")):
        _own(place, target / place.relative_to(source))


def _own(source: Path, target: Path) -> None:
    owner = source.lstat()
    os.chown(target, owner.st_uid, owner.st_gid, follow_symlinks=False)
