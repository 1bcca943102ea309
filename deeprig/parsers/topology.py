"""How cards are joined: `nvidia-smi topo -m`, and what lspci says of links and bridges."""

import re
from dataclasses import dataclass, field

ANSI = re.compile(r"\x1b\[[0-9;]*m")
AFFINITY = ("CPU Affinity", "NUMA Affinity", "GPU NUMA ID")
GPU = re.compile(r"GPU\d+$")
SLOT = re.compile(r"^((?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) (.*)$")
LINK = re.compile(r"Speed ([\d.]+)GT/s.*?Width x(\d+)")
# Gigatransfers a second -> PCI Express generation.
GENERATIONS = {"2.5": 1, "5": 2, "8": 3, "16": 4, "32": 5, "64": 6}


@dataclass(frozen=True, kw_only=True)
class Topology:
    """`links` has every pair both ways: ("GPU0", "NIC1") -> NODE. `cpus` and `numa` are by GPU,
    None where the driver says N/A.
    """

    gpus: tuple[str, ...] = ()
    nics: tuple[str, ...] = ()
    links: dict[tuple[str, str], str] = field(default_factory=dict)
    cpus: dict[str, str | None] = field(default_factory=dict)
    numa: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device of lspci; generation and width are None for what is not on PCI Express."""

    address: str
    what: str
    id: str = ""
    device_class: str = ""
    generation: int | None = None
    width: int | None = None
    generation_max: int | None = None
    width_max: int | None = None
    redirects: bool = False

    @property
    def bridge(self) -> bool:
        return self.device_class == "0604" or "PCI bridge" in self.what


def read(text: str) -> Topology:
    """The matrix of `nvidia-smi topo -m`, of any driver; empty where there is none."""
    lines = [ANSI.sub("", line) for line in text.splitlines()]
    head = next((n for n, line in enumerate(lines) if re.match(r"\s+GPU0\b", line)), None)
    if head is None:
        return Topology()
    names = [n for n in _cells(lines[head], r"\t+|\s{2,}") if n not in AFFINITY]
    links: dict[tuple[str, str], str] = {}
    cpus: dict[str, str | None] = {}
    numa: dict[str, str | None] = {}
    for line in lines[head + 1 :]:
        row, *cells = _cells(line, r"\s+") or [""]
        if row not in names or len(cells) < len(names):
            continue
        links |= {(row, name): cell for name, cell in zip(names, cells, strict=False)}
        if GPU.match(row):
            rest = [*cells[len(names) :], "N/A", "N/A"]
            cpus[row], numa[row] = (None if cell == "N/A" else cell for cell in rest[:2])
    return Topology(
        gpus=tuple(name for name in names if GPU.match(name)),
        nics=tuple(name for name in names if not GPU.match(name)),
        links=links,
        cpus=cpus,
        numa=numa,
    )


def devices(text: str) -> tuple[Device, ...]:
    """What `lspci -Dnn` or `lspci -Dnnvvv` lists."""
    listed: list[Device] = []
    block: list[str] = []
    for line in [*text.splitlines(), "0000:00:00.0 end"]:
        if SLOT.match(line) and block:
            listed.append(_device(block))
            block = []
        if SLOT.match(line) or block:
            block.append(line)
    return tuple(listed)


def _device(block: list[str]) -> Device:
    slot = SLOT.match(block[0])
    assert slot is not None
    names = re.findall(r"\[([0-9a-f]{4}(?::[0-9a-f]{4})?)\]", slot[2])
    can, does = _link(block, "LnkCap:"), _link(block, "LnkSta:")
    control = next((line for line in block if "ACSCtl:" in line), "")
    return Device(
        address=slot[1] if slot[1].count(":") == 2 else f"0000:{slot[1]}",
        what=slot[2],
        id=next((name for name in names if ":" in name), ""),
        device_class=next((name for name in names if ":" not in name), ""),
        generation=does[0],
        width=does[1],
        generation_max=can[0],
        width_max=can[1],
        redirects="SrcValid+" in control or "ReqRedir+" in control,
    )


def _link(block: list[str], label: str) -> tuple[int | None, int | None]:
    """Generation and width in the line of a device's link."""
    line = next((line for line in block if line.strip().startswith(label)), "")
    match = LINK.search(line)
    return (GENERATIONS.get(match[1]), int(match[2])) if match else (None, None)


def _cells(line: str, separator: str) -> list[str]:
    return [cell for cell in re.split(separator, line.strip()) if cell]
