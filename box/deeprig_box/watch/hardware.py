"""What needs a person in the hardware and its driver: disks, arrays, lost GPUs, held fixes."""

import json
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from deeprig_box.lib import bounded, place
from deeprig_box.nvidia import held_updates, smi
from deeprig_box.watch.system import CannotTell, Finding, output

BLOCK = Path("/sys/block")
NOT_A_DISK = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "zd")
DISPLAY_CLASS, NVIDIA = "0x03", "0x10de"
FORGET = f"sudo {shlex.join(place.command('watch', '--forget-gpus'))}"
# A lab's box may have fake cards here; see lab/fake_gpu.py.
LAB, FAKES = Path("/etc/deeprig-lab"), Path("/etc/deeprig-lab-gpu")
FELL_OFF = r"Xid.*: 79,|fallen off the bus"
# Of deeprig/catalog/gpu_errors.toml: Xids that need somebody, and what they mean.
XIDS = Path("/etc/deeprig/gpu-xids.json")
XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)")
LOST = re.compile(r"GPU is lost|Unable to determine the device handle for GPU")
MISMATCH = "Driver/library version mismatch"
SECONDS_TO_ANSWER, MINUTES_TO_REBOOT = 60, 10
HANGS = f"nvidia-smi has not answered within {SECONDS_TO_ANSWER} s."
POWER_CYCLE = "A power cycle may bring it back; if not, look at its seat, riser and power cables."


def failing_disks(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    if not shutil.which("smartctl"):
        return []
    names = [path.name for path in BLOCK.iterdir()]
    disks = [n for n in sorted(names) if not n.startswith(NOT_A_DISK) and Path("/dev", n).exists()]
    answers = {n: output("smartctl", "-H", "-i", "-j", "-n", "standby", f"/dev/{n}") for n in disks}
    if before and any("STANDBY" in answer or "SLEEP" in answer for answer in answers.values()):
        raise CannotTell  # it may be the failing one that sleeps
    return [finding for name, answer in answers.items() for finding in smart(name, answer)]


def smart(name: str, answer: str) -> list[Finding]:
    """What `smartctl -j` says of one disk; a disk that is asleep or has no SMART says nothing."""
    try:
        answers = json.loads(answer)
    except ValueError:
        return []
    if answers.get("smart_status", {}).get("passed", True):
        return []
    serial, model = answers.get("serial_number", name), answers.get("model_name", "a disk")
    text = (
        f"{model} ({serial}) at /dev/{name} says by SMART that it is failing: save what is on it."
    )
    return [Finding(f"smart:{serial}", f"disk /dev/{name} is failing", text, "urgent")]


def lacking_arrays(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    return [f for path in sorted(BLOCK.glob("md*/md/degraded")) for f in lacking(path.parent)]


def lacking(array: Path) -> list[Finding]:
    """What the kernel's md says of one array; see admin-guide/md.rst."""
    missing = int((array / "degraded").read_text())
    if not missing:
        return []
    level, disks, action = (
        (array / name).read_text().strip() for name in ("level", "raid_disks", "sync_action")
    )
    name = array.parent.name
    rebuilt = ", and is being rebuilt" if action == "recover" else ""
    text = f"{level} array /dev/{name} lacks {missing} of its {disks} disks{rebuilt}"
    hint = f"`sudo mdadm --detail /dev/{name}` says which; data may not outlive another one."
    subject = f"array /dev/{name} lacks a disk"
    return [Finding(f"array:{name}", subject, f"{text}. {hint}", "urgent")]


def lost_gpus(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    """Cards that are gone from the bus, or that the driver has given up."""
    counts, holders = cards(root())
    known = memory.setdefault("gpus", {})
    known.update({gpu: max(n, known.get(gpu, 0)) for gpu, n in counts.items()})
    words = f"%d were here and %d are left. If you took it out yourself: {FORGET}"
    findings = [
        Finding(f"gpu:{gpu}", f"a GPU {gpu} is gone", words % (n, counts[gpu]), "urgent")
        for gpu, n in known.items()
        if counts[gpu] < n
    ]
    message = output("journalctl", "-q", "-k", "-b", "-o", "cat", "-n", "1", f"--grep={FELL_OFF}")
    if message.strip():
        text = f"The kernel says: {message.strip()[:200]}. {POWER_CYCLE}"
        findings.append(Finding("gpu:bus", "a GPU has fallen off the bus", text, "urgent"))
    elif "nvidia" in holders and shutil.which("nvidia-smi"):
        findings += silent(ask_the_driver(), memory, now)
    findings += failed(output("journalctl", "-q", "-k", "-b", "-o", "cat", "--grep=NVRM: Xid"))
    return [marked(finding) for finding in findings]


def failed(log: str) -> list[Finding]:
    """Cards whose errors since the boot need somebody, but for what the driver itself took back."""
    table: dict[str, Any] = {"what": {}, "recovered": "$^"}
    if XIDS.exists():
        table = json.loads(XIDS.read_text())
    by_error: dict[tuple[str, str], Finding] = {}
    for line in log.splitlines():
        if not (xid := XID.search(line)):
            continue
        card, number = xid.groups()
        if re.search(table["recovered"], line):
            by_error = {key: finding for key, finding in by_error.items() if key[0] != card}
        elif number in table["what"]:
            message = line.partition("NVRM: ")[2].strip()[:200]
            text = f"GPU {card}: {table['what'][number]}. The kernel says: {message}"
            subject = f"a GPU has failed (Xid {number})"
            by_error[card, number] = Finding(f"gpu:xid:{number}:{card}", subject, text, "urgent")
    return list(by_error.values())


def root() -> Path:
    """Where /sys is: elsewhere only on a lab's box with fake cards."""
    return FAKES / "root" if LAB.exists() and FAKES.exists() else Path("/")


def marked(finding: Finding) -> Finding:
    """Nobody is to take a lab's fake card for a real one."""
    if root() == Path("/"):
        return finding
    return finding._replace(subject=f"{finding.subject} [fake GPU]")


def cards(top: Path) -> tuple[Counter[str], set[str]]:
    """How many NVIDIA cards of each id are on the bus, and which drivers hold them."""
    counts: Counter[str] = Counter()
    holders = set()
    for path in (top / "sys/bus/pci/devices").glob("*"):
        vendor, kind, device = (
            (path / n).read_text().strip() for n in ("vendor", "class", "device")
        )
        if vendor == NVIDIA and kind.startswith(DISPLAY_CLASS):
            counts[f"{vendor[2:]}:{device[2:]}"] += 1
            holders.add((path / "driver").resolve().name)
    return counts, holders


def ask_the_driver() -> str:
    """What `nvidia-smi -L` says, or HANGS."""
    done = smi.ask("-L", seconds=SECONDS_TO_ANSWER)
    return HANGS if done.code == bounded.TIMED_OUT else f"{done.out}\n{done.err}"


def silent(said: str, memory: dict[str, Any], now: float) -> list[Finding]:
    """Only words that are sure: nvidia-smi has many reasons to complain.

    A new driver's libraries are there some minutes before the reboot that loads its module.
    """
    first = " ".join(said.split())[:200]
    if said == HANGS:
        return [Finding("gpu:hangs", "the GPUs do not answer", f"{said} {POWER_CYCLE}", "urgent")]
    if LOST.search(said):
        lost = "GPU is lost" in said
        why = "" if lost else "`sudo dmesg | grep -E 'NVRM|Xid'` may say why. "
        text = f"nvidia-smi says: {first}. {why}{POWER_CYCLE}"
        subject = "a GPU is lost" if lost else "a GPU does not answer"
        return [Finding("gpu:lost", subject, text, "urgent")]
    if MISMATCH not in said:
        memory.pop("mismatch", None)
        return []
    if now - memory.setdefault("mismatch", now) < MINUTES_TO_REBOOT * 60:
        return []
    text = (
        f"nvidia-smi says: {MISMATCH}. The driver was updated under its loaded module; reboot. If "
        "that does not mend it, `deeprig driver status` names the library that is in the way."
    )
    return [Finding("gpu:mismatch", "the GPUs wait for a reboot", text, "high")]


def old_driver(before: set[str], memory: dict[str, Any], now: float) -> list[Finding]:
    waits = held_updates.overdue(now)
    if not waits:
        return []
    text = "Held back, while there are newer ones: " + ", ".join(waits)
    return [Finding("driver:", "the driver lacks security fixes", text, "default")]
