"""What a guest is made of: a disk from an image, a cloud-init seed, and whether KVM works here.

Root uses it.
"""

import hashlib
import json
import os
import pwd
import shutil
import stat
import struct
from pathlib import Path
from typing import Any

from deeprig_box.lib import as_user, bounded
from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.programs import run_long

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
RUNS_GUESTS = "libvirt-qemu"
CONVERT_SECONDS = 3600
EXTERNAL_DATA = 1 << 2  # of qcow2's incompatible features
IMAGES = Path("/var/lib/libvirt/images")
SEED = {"user-data": Path("/etc/deeprig/guest-user-data"),
        "meta-data": Path("/etc/deeprig/guest-meta-data")}  # fmt: skip
PROXY_FILE = "/etc/profile.d/deeprig-proxy.sh"
FETCH = f'[ ! -r {PROXY_FILE} ] || . {PROXY_FILE}; exec curl -fsSL --retry 3 -o "$1" "$2"'
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROBED = Path("/run/deeprig-accelerator.json")
# Firmware that is nothing but the processor's first instructions, 16 bytes before its end:
# mov al, 42; out 0xf4, al; hlt. isa-debug-exit makes 2 * 42 + 1 of it.
PROBE = bytes(0xFFF0) + bytes((0xB0, 42, 0xE6, 0xF4, 0xF4, 0xEB, 0xFD)).ljust(16, b"\0")
PROBE_STATUS = 85
PROBE_SECONDS = 60


def disk(name: str) -> Path:
    return IMAGES / f"{name}.qcow2"


def make_disk(asked: dict[str, Any]) -> None:
    """The guest's disk, a copy of the image; one that is there is never made anew.

    An image may be anybody's: it is copied first, so that it can no longer change, and read by
    QEMU with the rights of what runs guests.
    """
    place = disk(asked["name"])
    if place.exists():
        return
    room = IMAGES / f".{asked['name']}.deeprig"
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(0o700)
    try:
        image, new = room / "image", room / "disk"
        if "://" in asked["image"]:
            run_long("sh", "-c", FETCH, "sh", str(image), asked["image"])
        else:
            _copy(asked["image"], image)
        if asked["sha256"] and (digest := _sha256(image)) != asked["sha256"]:
            raise BoxError(
                f"Guest.image has the SHA-256 {digest}, and not Guest.sha256; which is it?"
            )
        user, (kind, _) = pwd.getpwnam(RUNS_GUESTS), _header(image)
        for path in (image, room):
            os.chown(path, user.pw_uid, user.pw_gid)
        _as(user, "convert", "-f", kind, "-O", "qcow2", str(image), str(new))
        if asked["disk_gib"] << 30 > _header(new)[1]:
            _as(user, "resize", "-f", "qcow2", str(new), f"{asked['disk_gib']}G")
        os.chown(room, 0, 0)
        if not stat.S_ISREG(new.lstat().st_mode) or _header(new)[0] != "qcow2":
            raise BoxError("qemu-img made no disk")
        os.chown(new, 0, 0)
        new.chmod(0o600)
        new.rename(place)
    finally:
        shutil.rmtree(room)


def _as(user: pwd.struct_passwd, *words: str) -> None:
    done = as_user.run(user, ["qemu-img", *words], seconds=CONVERT_SECONDS)
    if done.code:
        last = (done.err.decode(errors="replace").strip() or "nothing").splitlines()[-1]
        raise BoxError(f"`qemu-img {words[0]}` failed: {last}")


def _copy(image: str, to: Path) -> None:
    source = _opened(image)
    with os.fdopen(source, "rb") as file, to.open("xb") as copy:
        size, room = os.fstat(source).st_size, os.statvfs(IMAGES)
        if size > room.f_bavail * room.f_frsize:
            raise BoxError(f"Guest.image has {size / 1e9:.1f} GB, and {IMAGES} has no room for it")
        shutil.copyfileobj(file, copy, 1 << 20)


def _opened(image: str) -> int:
    """The file at this path, by no link but root's, and nothing else than a file."""
    missing = BoxError(f"Guest.image is {image!r}, and the box has no such file; copy it there.")
    at, ahead, links = os.open("/", FOLDER), list(reversed(Path(image).parts[1:])), 0
    while ahead:
        name = ahead.pop()
        try:
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if status.st_uid or links > 20:
                    raise BoxError(f"Guest.image is {image!r}, and a link in it is not root's")
                to = Path(os.readlink(name, dir_fd=at))
                ahead += [part for part in reversed(to.parts) if part != "/"]
                inner = os.open("/", FOLDER) if to.is_absolute() else os.dup(at)
            else:
                inner = os.open(name, FOLDER if ahead else FILE, dir_fd=at)
        except OSError:
            raise missing from None
        os.close(at)
        at = inner
    if not stat.S_ISREG(os.fstat(at).st_mode):
        raise missing
    return at


def _header(image: Path) -> tuple[str, int]:
    """qcow2 or raw, and the size of the disk in it. Raises BoxError for what names other files."""
    with os.fdopen(os.open(image, FILE), "rb") as file:
        head = file.read(512).ljust(512, b"\0")
        size = os.fstat(file.fileno()).st_size
    if head[:4] != b"QFI\xfb":
        if head[510:] != b"\x55\xaa":
            raise BoxError("Guest.image is neither qcow2 nor a raw disk with a partition table")
        return "raw", size
    version, backing = struct.unpack(">IQ", head[4:16])
    (features,) = struct.unpack(">Q", head[72:80])
    if backing or version not in (2, 3) or (version == 3 and features & EXTERNAL_DATA):
        raise BoxError("Guest.image is a part of an image, whose rest is in another file; give a "
                    "whole one, as `qemu-img convert` makes it")  # fmt: skip
    return "qcow2", struct.unpack(">Q", head[24:32])[0]


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as image:
        while part := image.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _seed(name: str) -> Path:
    return IMAGES / f"{name}-seed.iso"


def seed_is_new(name: str) -> bool:
    made = _seed(name)
    return made.exists() and all(
        made.stat().st_mtime_ns > part.stat().st_mtime_ns for part in SEED.values()
    )


def make_seed(name: str) -> None:
    """cloud-init's NoCloud: who the guest is, and whose key gets in."""
    if seed_is_new(name):
        return
    folder, new = Path("/run/deeprig-seed"), _seed(name).with_suffix(".new")
    folder.mkdir(exist_ok=True)
    for part, source in SEED.items():
        shutil.copyfile(source, folder / part)
    new.unlink(missing_ok=True)
    run_long("xorrisofs", "-quiet", "-J", "-r", "-V", "cidata", "-o", str(new), str(folder))
    shutil.rmtree(folder)
    new.rename(_seed(name))


def accelerator() -> str:
    """kvm where a probe guest really ran with it, else tcg."""
    return "tcg" if complaint() else "kvm"


def complaint() -> str:
    """Why not KVM, "" where it works; asked once in a boot."""
    boot = BOOT_ID.read_text().strip()
    known = json.loads(PROBED.read_text()) if PROBED.exists() else {}
    if known.get("boot") != boot:
        known = {"boot": boot, "complaint": _probe()}
        PROBED.write_text(json.dumps(known))
    return str(known["complaint"])


def _probe() -> str:
    if not Path("/dev/kvm").exists():
        return "there is no /dev/kvm"
    firmware = PROBED.with_suffix(".rom")
    firmware.write_bytes(PROBE)
    command = [
        "qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-machine", "q35", "-m", "64",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-bios", str(firmware), "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
    ]  # fmt: skip
    try:
        done = bounded.run(command, seconds=PROBE_SECONDS)
    finally:
        firmware.unlink()
    if done.code == PROBE_STATUS:
        return ""
    if done.code == bounded.TIMED_OUT:
        return f"a probe guest hung with KVM for {PROBE_SECONDS} s"
    return f"a probe guest did not run with KVM: {done.last_words[:120]}"
