"""Why nvidia-smi does not answer, by its words and by the kernel's."""

import re

from deeprig import catalog
from deeprig.parsers.nvidia_smi import LOST
from deeprig.ssh import bounded

IS_LOST = "GPU is lost"
ADDRESS = r"\b[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\b"
XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)")
# It answers, and complains below; by branch it ends with this or with 0 then.
INFOROM = re.compile(r"^WARNING: infoROM is corrupted at gpu (\S+)", re.M)
CORRUPTED = 14
POWER = "power off and on again, and if it stays, look at its seat, riser and power cables"
HANGS = (
    "nvidia-smi has not answered within {} s: the driver hangs, which nothing but a reboot ends; "
    f"`sudo dmesg | grep -E 'NVRM|Xid'` may say why; if it comes again, {POWER}."
)
# What the driver says of a card that does not start, or that is gone.
KERNEL_LOG = ["journalctl", "-q", "-k", "-b", "-o", "cat", "-n", "200", "--grep=NVRM|fallen off"]
FAILURES = {
    "couldn't communicate with the NVIDIA driver": "no driver is loaded, or it is not NVIDIA's "
    "(nouveau, a kernel without a module, Secure Boot); `sudo modprobe nvidia` says which",
    "Driver/library version mismatch": "the loaded module and the libraries are not of one "
    "version: the driver was updated under it; reboot, and where that does not mend it a library "
    "that no package owns is in the way, which `deeprig driver status` names",
    "No devices were found": "the module is loaded and holds no card (nouveau or vfio has it, or "
    "the card does not start); `sudo dmesg | grep -E 'NVRM|nouveau'` says why",
    "command not found": "it is not installed; run the deploy again",
    "No such file or directory": "it is not installed; run the deploy again",
}


def lost(text: str) -> tuple[str, ...]:
    """The cards that an answer calls lost, such as `0000:01:00.0`, each once."""
    return tuple(dict.fromkeys(match[1].rpartition(": ")[2] for match in LOST.finditer(text)))


def why_not_there(kernel: str, address: str) -> str:
    """What the kernel's log says of a card that does not answer, in words; empty where nothing."""
    place = re.search(ADDRESS, address)
    # A line names the card, or none at all.
    own = [line for line in kernel.splitlines() if _is_about(line, place and place[0].lower())]
    for row in catalog.load("gpu_errors")["reason"]:
        for line in own:
            if re.search(row["words"], line):
                return f"{row['means']} (the kernel says: {line.strip()[:120]})"
    return ""


def _is_about(line: str, place: str | None) -> bool:
    named = [address.lower() for address in re.findall(ADDRESS, line)]
    return place is None or not named or place in named


def xids(kernel: str) -> tuple[str, ...]:
    """What the kernel's log has of errors after which somebody must do something, each card's once;
    without those that the driver itself has taken back.
    """
    table = catalog.load("gpu_errors")["xids"]
    errors: dict[tuple[str, str], str] = {}
    for line in kernel.splitlines():
        if not (xid := XID.search(line)):
            continue
        card, number = xid.groups()
        if re.search(table["recovered"], line):
            errors = {key: sentence for key, sentence in errors.items() if key[0] != card}
        elif number in table["what"]:
            words = line.partition("NVRM: ")[2].strip()[:120]
            errors[card, number] = f"GPU {card}: {table['what'][number]} (the kernel says: {words})"
    return tuple(errors.values())


def warnings(text: str) -> tuple[str, ...]:
    """What nvidia-smi complains of though it answers, each a sentence."""
    cards = ", ".join(dict.fromkeys(INFOROM.findall(text)))
    if not cards:
        return ()
    return (
        f"the infoROM of {cards} is corrupted: the card computes, and its settings and counts of "
        "errors are not kept; its maker mends or replaces it",
    )


def failure(text: str, status: int, kernel: str = "") -> str:
    """Why nvidia-smi does not answer whole, in a sentence; empty where it does.

    The words decide: the exit status differs by branch. `kernel` is what KERNEL_LOG prints.
    """
    if status == bounded.TIMED_OUT:
        return HANGS.format(bounded.SECONDS)
    if gone := lost(text):
        what = f"{len(gone)} of the cards ({', '.join(gone)})" if len(gone) > 1 else gone[0]
        known = dict.fromkeys(filter(None, (why_not_there(kernel, card) for card in gone)))
        if known:
            return f"GPU {what} does not answer: {'; '.join(known)}."
        if IS_LOST in text:
            return f"GPU {what} is lost: it fell off the bus; {POWER}."
        words = ", ".join(dict.fromkeys(match[2] for match in LOST.finditer(text)))
        return (
            f"GPU {what} does not answer ({words}), and the kernel's log has no reason "
            f"(`sudo dmesg | grep -E 'NVRM|Xid'`): {POWER}."
        )
    for sign, sentence in FAILURES.items():
        if sign in text:
            return f"nvidia-smi says '{sign}': {sentence}."
    if status and not (status == CORRUPTED and warnings(text)):
        complaint = " ".join(text.split()) or "nothing"
        return f"nvidia-smi ends with {status} and says {complaint[:200]!r}."
    if not text.strip():
        return (
            "nvidia-smi ends well and says nothing; `sudo dmesg | grep -E 'NVRM|Xid'` may say why."
        )
    return ""
