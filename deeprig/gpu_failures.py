"""Why nvidia-smi does not answer, by its words."""

import re

# `GPU0000:01:00.0: ...`, `GPU1: 0000:34:00.0: ...`, `GPU 0: ...`: all three are seen.
LOST = re.compile(r"Unable to determine the device handle for GPU ?(.+?): ([A-Za-z][^:\n]*)$", re.M)
FAILURES = {
    "couldn't communicate with the NVIDIA driver": "no driver is loaded, or it is not NVIDIA's "
    "(nouveau, a kernel without a module, Secure Boot); `sudo modprobe nvidia` says which",
    "Driver/library version mismatch": "the loaded module is older than the libraries: the driver "
    "was updated under it; reboot",
    "No devices were found": "the module is loaded and holds no card (nouveau or vfio has it, or "
    "the card does not start); `sudo dmesg | grep -E 'NVRM|nouveau'` says why",
    "command not found": "it is not installed; run the deploy again",
    "No such file or directory": "it is not installed; run the deploy again",
}


def lost(text: str) -> tuple[str, ...]:
    """The cards that an answer calls lost, such as `0000:01:00.0`, each once."""
    return tuple(dict.fromkeys(match[1].rpartition(": ")[2] for match in LOST.finditer(text)))


def failure(text: str, status: int) -> str:
    """Why nvidia-smi does not answer whole, in a sentence; empty where it does.

    The words decide: the exit status differs by branch.
    """
    if gone := lost(text):
        what = f"{len(gone)} of the cards ({', '.join(gone)})" if len(gone) > 1 else gone[0]
        return (
            f"GPU {what} is lost: it fell off the bus; power off and on again, and if it stays, "
            "look at its seat, riser and power cables."
        )
    for words, meaning in FAILURES.items():
        if words in text:
            return f"nvidia-smi says '{words}': {meaning}."
    if status:
        said = " ".join(text.split()) or "nothing"
        return f"nvidia-smi ends with {status} and says {said[:200]!r}."
    return ""
