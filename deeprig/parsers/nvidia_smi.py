"""What nvidia-smi prints, read: cards, their limits and links, the versions in its head."""

import re
from dataclasses import dataclass

# A value that is missing, in all the words there are for it; drivers differ.
MISSING = re.compile(
    r"\[?(N/A|Not Supported|Unknown Error|GPU is lost|Insufficient Permissions|GPU requires reset|"
    r"Not Found|Not Available|Requested functionality has been deprecated)\]?|ERR!|\[Deprecated\]",
    re.IGNORECASE,
)
# Words for what should be there and cannot be read, which is no word for what a card does not have.
UNREADABLE = re.compile(r"ERR!|\[?Unknown Error\]?|\[?GPU is lost\]?", re.IGNORECASE)
NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,6})?", re.ASCII)  # no inf, which has no whole part
# A card that is gone, as `GPU0000:01:00.0: ...`, `GPU1: 0000:34:00.0: ...` or `GPU 0: ...`.
LOST = re.compile(r"Unable to determine the device handle for GPU ?(.+?): ([A-Za-z][^:\n]*)$", re.M)
RESET = "[GPU requires reset]"
UNITS = re.compile(r" \[[^\]]+\]$| (W|MiB|MHz|%|C|us)$")
INSTANCE = re.compile(r"^\s*MIG .+ Device\s+\d+: \(UUID: (MIG-[0-9a-fA-F-]+)\)$", re.MULTILINE)
LISTED = re.compile(r"^GPU (\d+): (.+) \(UUID: (GPU-[0-9a-fA-F-]+)\)$")
# `Driver Version` and `CUDA Version` until 595, `KMD Version` and `CUDA UMD Version` from 610 on.
BANNER_DRIVER = re.compile(r"(?:Driver|KMD) Version\s*:\s*(\d+(?:\.\d+)+)")
BANNER_CUDA = re.compile(r"CUDA(?: UMD)? Version\s*:\s*(\d+\.\d+)")

FIELDS = (
    "index", "uuid", "name", "pci.bus_id", "pci.device_id", "driver_version", "vbios_version",
    "compute_cap", "memory.total", "pcie.link.gen.current", "pcie.link.gen.max",
    "pcie.link.width.current", "pcie.link.width.max", "power.limit", "power.default_limit",
    "power.min_limit", "power.max_limit", "temperature.gpu", "utilization.gpu", "pstate",
    "persistence_mode", "ecc.mode.current", "mig.mode.current", "compute_mode",
)  # fmt: skip
QUERY = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")


@dataclass(frozen=True, kw_only=True)
class Card:
    """One card; None for whatever it does not say. Watts, MiB; `address` is such as 0000:01:00.0,
    `id` such as 10de:2204. `unreadable` are nvidia-smi's fields that it has and cannot tell.
    """

    index: int | None = None
    uuid: str | None = None
    name: str | None = None
    address: str | None = None
    id: str | None = None
    driver: str | None = None
    compute_capability: str | None = None
    memory: int | None = None
    link_generation: int | None = None
    link_generation_max: int | None = None
    link_width: int | None = None
    link_width_max: int | None = None
    power_limit: float | None = None
    power_default: float | None = None
    power_min: float | None = None
    power_max: float | None = None
    temperature: int | None = None
    utilization: int | None = None
    performance_state: str | None = None
    persistence: bool | None = None
    ecc: str | None = None
    mig: str | None = None
    compute_mode: str | None = None
    requires_reset: bool = False
    unreadable: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name or 'a card'} ({self.address or self.uuid or self.index})"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A line of `nvidia-smi -L`."""

    index: int
    name: str
    uuid: str


@dataclass(frozen=True, kw_only=True)
class Banner:
    """The table's head. Only where nothing better is to be had: its words change with branches."""

    driver: str
    cuda: str


def cards(text: str, fields: tuple[str, ...] = ()) -> tuple[Card, ...]:
    """The rows of a `--query-gpu` answer in CSV; with `fields`, of one that has no header."""
    return tuple(_card(row) for row in rows(text, fields))


def rows(text: str, fields: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Field -> value as printed, without units; complaints between the rows are left out."""
    lines = [[cell.strip() for cell in line.split(", ")] for line in text.splitlines() if line]
    if not fields and lines:
        head = next((n for n, line in enumerate(lines) if _is_header(line)), None)
        if head is None:
            return []
        fields, lines = tuple(UNITS.sub("", cell) for cell in lines[head]), lines[head + 1 :]
    return [
        {field: UNITS.sub("", cell) for field, cell in zip(fields, line, strict=True)}
        for line in lines
        if len(line) == len(fields) and not (len(fields) == 1 and LOST.search(line[0]))
    ]


def listed(text: str) -> tuple[Listed, ...]:
    """The cards of `nvidia-smi -L`."""
    matches = (LISTED.match(line.strip()) for line in text.splitlines())
    return tuple(Listed(index=int(m[1]), name=m[2], uuid=m[3]) for m in matches if m)


def devices(cards: tuple[Card, ...], said: str) -> range:
    """How many devices CUDA shows one process, by `nvidia-smi -L`: each card, but of those with
    MIG on no more than one instance, whatever there is.
    """
    # MIG user guide, "Device Enumeration": one compute instance for a process. Read 2026-11-30.
    whole = sum(card.mig != "Enabled" for card in cards)
    instances = len(INSTANCE.findall(said)) if whole < len(cards) else 0
    return range(1 if instances else whole, whole + min(instances, 1) + 1)


def code(cards: tuple[Card, ...]) -> list[str]:
    """nvcc's options for code of these cards alone: its usual PTX ends with error 222 where the
    toolkit is newer than the driver's own CUDA.
    """
    known = {card.compute_capability.replace(".", "") for card in cards if card.compute_capability}
    return [f"-gencode=arch=compute_{its},code=sm_{its}" for its in sorted(known)]


def banner(text: str) -> Banner | None:
    """The versions in the head of nvidia-smi's table, before 610 and since."""
    driver, cuda = BANNER_DRIVER.search(text), BANNER_CUDA.search(text)
    return Banner(driver=driver[1], cuda=cuda[1]) if driver and cuda else None


def _is_header(line: list[str]) -> bool:
    return all(re.fullmatch(r"[a-z][A-Za-z0-9_.]*( \[[^\]]+\])?", cell) for cell in line)


def _card(row: dict[str, str]) -> Card:
    def text(field: str) -> str | None:
        value = row.get(field, "")
        return None if not value or MISSING.fullmatch(value) else value

    def number(field: str) -> float | None:
        value = text(field) or ""
        return float(value) if NUMBER.fullmatch(value) else None

    def whole(field: str) -> int | None:
        value = number(field)
        return None if value is None else int(value)

    mode = (text("persistence_mode") or "").capitalize()
    return Card(
        index=whole("index"),
        uuid=text("uuid"),
        name=text("name"),
        address=address(text("pci.bus_id") or "") or None,
        id=_pci_id(text("pci.device_id") or ""),
        driver=text("driver_version"),
        compute_capability=text("compute_cap"),
        memory=whole("memory.total"),
        link_generation=whole("pcie.link.gen.current"),
        link_generation_max=whole("pcie.link.gen.max"),
        link_width=whole("pcie.link.width.current"),
        link_width_max=whole("pcie.link.width.max"),
        power_limit=number("power.limit"),
        power_default=number("power.default_limit"),
        power_min=number("power.min_limit"),
        power_max=number("power.max_limit"),
        temperature=whole("temperature.gpu"),
        utilization=whole("utilization.gpu"),
        performance_state=text("pstate"),
        persistence={"Enabled": True, "Disabled": False}.get(mode),
        ecc=text("ecc.mode.current"),
        mig=text("mig.mode.current"),
        compute_mode=text("compute_mode"),
        requires_reset=RESET in row.values(),
        unreadable=tuple(field for field, value in row.items() if UNREADABLE.fullmatch(value)),
    )


def address(bus_id: str) -> str:
    """0000:01:00.0, as lspci and sysfs have it, for nvidia-smi's 00000000:01:00.0."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain[-4:]}:{rest}" if rest else ""


def _pci_id(device_id: str) -> str | None:
    """10de:2b85 for 0x2B8510DE: the device comes first there."""
    match = re.fullmatch(r"0x([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})", device_id)
    return f"{match[2]}:{match[1]}".lower() if match else None
