"""Whether this machine's KVM is good for anything: asked of a guest, not of /dev/kvm."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab import disk_image, paths, qemu

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DEVICE = Path("/dev/kvm")
# The kernel says so when it hands over; the first process then ends, and the machine with it.
PROOF = "as init process"
SECONDS_TO_PROVE = 30


def choose(image: Path, say: Callable[[str], None]) -> qemu.Accelerator:
    """KVM if the kernel of the base image boots with it, else TCG; says which, and why.

    Asked once for each boot of this machine.
    """
    memory = paths.images() / ".accelerator.json"
    asked_of = {"boot": BOOT_ID.read_text().strip(), "kvm": DEVICE.exists()}
    remembered = json.loads(memory.read_text()) if memory.exists() else {}
    if {key: remembered.get(key) for key in asked_of} != asked_of:
        remembered = asked_of | {"complaint": _complaint(image)}
        memory.write_text(json.dumps(remembered) + "\n")
    if complaint := remembered["complaint"]:
        say(f"accelerator: tcg, which is slow; {complaint}")
        return "tcg"
    say("accelerator: kvm")
    return "kvm"


def _complaint(image: Path) -> str:
    """Why not KVM; nothing where it works."""
    if not DEVICE.exists():
        return "there is no /dev/kvm"
    command = qemu.direct_boot(
        image / disk_image.KERNEL,
        image / disk_image.INITRAMFS,
        append="console=ttyS0 panic=-1 rdinit=/bin/true",
        accelerator="kvm",
    )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS_TO_PROVE
        )
    except subprocess.TimeoutExpired:
        return f"a probe guest hung with kvm for {SECONDS_TO_PROVE} s"
    if PROOF in done.stdout:
        return ""
    last = (done.stderr.strip() or done.stdout.strip() or "QEMU said nothing").splitlines()[-1]
    return f"a probe guest did not boot with kvm: {last.strip()[:120]}"
