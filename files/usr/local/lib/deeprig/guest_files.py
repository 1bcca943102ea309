"""What a guest is made of: a disk from an image, a cloud-init seed, and whether KVM works here.

Written by deeprig (files/usr/local/lib/deeprig/guest_files.py): change it there. Root uses it.
"""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

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


class Wrong(Exception):
    """One sentence for the person who deploys."""


def run(*argv: str) -> str:
    """What a command prints. Raises Wrong with its last words where it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise Wrong(f"`{' '.join(argv[:1] + argv[-2:])}` failed: {last}")
    return done.stdout


def disk(name: str) -> Path:
    return IMAGES / f"{name}.qcow2"


def make_disk(asked: dict) -> None:
    """The guest's disk, a copy of the image; one that is there is never made anew."""
    wanted = disk(asked["name"])
    if wanted.exists():
        return
    image, fetched = asked["image"], IMAGES / f"{asked['name']}.fetched"
    if "://" in image:
        run("sh", "-c", FETCH, "sh", str(fetched), image)
    source = fetched if "://" in image else Path(image)
    if not source.is_file():
        raise Wrong(f"Guest.image is {image!r}, and the box has no such file; copy it there.")
    if asked["sha256"] and (found := _sha256(source)) != asked["sha256"]:
        raise Wrong(f"Guest.image has the SHA-256 {found}, and not Guest.sha256; which is right?")
    new = wanted.with_suffix(".new")
    run("qemu-img", "convert", "-O", "qcow2", str(source), str(new))
    size = json.loads(run("qemu-img", "info", "--output=json", str(new)))["virtual-size"]
    if asked["disk_gib"] << 30 > size:
        run("qemu-img", "resize", str(new), f"{asked['disk_gib']}G")
    new.rename(wanted)
    fetched.unlink(missing_ok=True)


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
    run("xorrisofs", "-quiet", "-J", "-r", "-V", "cidata", "-o", str(new), str(folder))
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
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"a probe guest hung with KVM for {PROBE_SECONDS} s"
    finally:
        firmware.unlink()
    if done.returncode == PROBE_STATUS:
        return ""
    last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
    return f"a probe guest did not run with KVM: {last[:120]}"
