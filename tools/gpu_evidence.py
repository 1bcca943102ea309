"""What deeprig makes of this machine's NVIDIA GPUs, as one JSON file to be sent on.

    .venv/bin/python tools/gpu_evidence.py --out gpu.json

For any Linux machine that has such a GPU, as root or not. It changes nothing, asks no network and
ends within four minutes; what hangs costs one sentence. In the file is which of our readings came
out as their readers expect, with the words of those that did not; what the live checks of the GPUs
found here; whether torch, where there is one, computes right; and what our tables have decided
wrong. Names, addresses, serial numbers and UUIDs are left out. docs/gpu_evidence.md says more.

It needs Python 3.11, and nothing else for the readings; the checkout's environment (`make env`)
for the rest. `--torch-with PYTHON` names the Python that has torch, where it is not found; that one
may be older.
"""

from __future__ import annotations  # the Python that has torch may be 3.8

import argparse
import csv
import getpass
import json
import os
import platform
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
TOTAL, EACH, TORCH = 230, 20, 90  # seconds: for everything, for one program, and for torch
FORM = 1  # as deeprig_cli/verify/evidence.py writes it: a table is made of both
LONGEST, MOST_LINES = 2000, 60
FAKE = Path("/etc/deeprig-lab-gpu")  # a lab's pretended cards
DISPLAY = ("0x0300", "0x0302")
BUS = "sys/bus/pci/devices"
# What our code reads of each GPU's folder in sysfs, and the form that it takes for granted.
SYSFS = {
    "vendor": r"0x10de",
    "device": r"0x[0-9a-f]{4}",
    "class": r"0x03[0-9a-f]{4}",
    "driver": r"[\w-]+",
    "iommu_group": r"\d+",
    "boot_vga": r"[01]",
    "resource": r"(0x[0-9a-f]{16} 0x[0-9a-f]{16} 0x[0-9a-f]{16}\n?)+",
    "../max_link_width": r"\d+",
}
MAY_BE_MISSING = ("iommu_group", "boot_vga", "../max_link_width")
# The words of fields that are no numbers; another one would be taken for "no" or for a state.
WORDS = {
    "persistence_mode": r"Enabled|Disabled",
    "ecc.mode.current": r"Enabled|Disabled",
    "mig.mode.current": r"Enabled|Disabled",
    "compute_mode": r"Default|Exclusive_Thread|Exclusive_Process|Prohibited",
    "pstate": r"P\d{1,2}",
    "uuid": r"GPU-[0-9a-f-]{36}",
    "pci.bus_id": r"[0-9A-F]{8}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-7]",
    "driver_version": r"\d{3}\.\d+(\.\d+)?",
    "compute_cap": r"\d{1,2}\.\d",
}
# What the checks ask beside all that, since older drivers do not know it.
MORE = {"fabric.state": r"Completed|In Progress|Not Started|Not Supported"}
LINKS = re.compile(r"X|SYS|NODE|PHB|PXB|PIX|NV\d{1,2}")
# No field of these is asked for: they say whose machine it is.
PRIVATE = re.compile(r"serial|uuid|hostname|guid|host_id|pdi|timestamp|cluster|slot|tray|module_id")
LIKE_MISSING = re.compile(r"\[.*\]|.*\b(N/A|ERR|Unknown|Unsupported|Insufficient)\b.*", re.I)
OTHER_UNIT = re.compile(r"-?\d+(\.\d+)? ([A-Za-z%/]+)")
APPS = ("gpu_uuid", "pid", "process_name")  # as box/deeprig_box/jobs/gpus.py asks
DRIVERS_WORDS = re.compile(r"NVRM|\bXid\b|nvidia|nouveau|nova_core|fallen off the bus", re.I)
XID = re.compile(r"NVRM: Xid \(PCI:[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}(\.[0-7])?\): \d+, .+", re.I)
# Lines of a good boot.
USUAL = re.compile(r"NVRM: (loading NVIDIA UNIX .*|testIfDsmSubFunctionEnabled.*)|NVRM: *$")
PROCESS = re.compile(r"(name=|pid='?)[^,\s]+")
WHEEL = re.compile(r"\d+\.\d+\.\d+\+cu\d+")  # conda and NVIDIA build it for other GPUs
SM = re.compile(r"sm_(\d+)(\d)[af]?")  # of which GPUs torch has kernels; compute_120 is PTX
# How CUDA says that there are none for this GPU, or that the driver cannot make them.
NO_KERNELS = re.compile(r"no kernel image|unsupported toolchain|ARCH_MISMATCH", re.I)


class Answer(NamedTuple):
    """What a program said on both channels, and how it ended; 124 where it hung."""

    text: str
    status: int
    out: str = ""

    @property
    def hung(self) -> bool:
        return self.status == 124


@dataclass
class Seen:
    """What is written down: each reading with what came of it, and sentences."""

    readings: list[dict[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    not_asked: list[str] = field(default_factory=list)

    def read(self, what: str, how: object, raw: str = "") -> None:
        """`how` is read, missing or odd; the words themselves only where they are odd."""
        row = {"what": what, "is": str(how)}
        self.readings.append(row | ({"said": raw.strip()[:LONGEST]} if how == "odd" else {}))

    def formed(self, what: str, form: str, raw: str) -> None:
        """Read where it has this form, odd where it has another."""
        fits = re.fullmatch(form, raw.strip())
        self.read(what, ("read" if fits else "odd") if raw.strip() else "missing", raw)

    def part(self, what: str, work: Callable[[], T], nothing: T) -> T:
        """What comes of a part; one that fails costs a sentence, and the others are done."""
        try:
            return work()
        except ImportError as error:
            self.not_asked.append(f"{what}: {error.name} is not installed; `make env` brings it")
        except Exception as error:  # of ours, by something that nobody has thought of
            where = traceback.extract_tb(error.__traceback__)[-1]
            at = f"{Path(where.filename).name} line {where.lineno}"
            self.wrong.append(f"{what} ended with {type(error).__name__}: {error} ({at})")
        return nothing


class Machine:
    """This machine, asked with a limit on each answer and on all of them."""

    def __init__(self, root: Path, seconds: float = TOTAL) -> None:
        self.root = root
        self.until = time.monotonic() + seconds
        self.silent: set[str] = set()

    def left(self) -> float:
        return self.until - time.monotonic()

    def ask(self, *argv: str, seconds: float | None = None) -> Answer:
        """Its answer, in English. Once nvidia-smi hung, in the kernel, it is not asked again."""
        if argv[0] in self.silent or self.left() < 1:
            return Answer("", 124)
        environment = os.environ | {"LC_ALL": "C.UTF-8"}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                asked = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                return Answer(f"{argv[0]}: {error.strerror}", 127)
            try:
                status = asked.wait(min(seconds or EACH, self.left()))
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(asked.pid, signal.SIGKILL)
                if argv[0] == "nvidia-smi":
                    self.silent.add(argv[0])
                asked.returncode = -signal.SIGKILL  # nobody waits for its end: it may have none
                return Answer("", 124)
            said = os.pread(out.fileno(), 2**20, 0).decode(errors="replace")
            complaint = os.pread(err.fileno(), 2**16, 0).decode(errors="replace")
        return Answer(f"{said}\n{complaint}".strip("\n"), status, said)

    def file(self, path: str) -> str:
        """What stands in a file, or the name of what a link leads to; "" where there is none."""
        full = self.root / path
        if full.is_symlink() and not full.is_file():
            return str(full.readlink()).rpartition("/")[2]
        if path.startswith("proc/driver"):  # the driver itself answers, or hangs
            return self.ask("head", "-c", "65536", "--", str(full)).out if full.exists() else ""
        try:
            with full.open("rb") as file:
                return file.read(65536).decode(errors="replace")
        except OSError:
            return ""

    def gpus(self) -> list[str]:
        """The addresses of NVIDIA's GPUs on the bus."""
        return [
            path.name
            for path in sorted((self.root / BUS).glob("*"))
            if self.file(f"{BUS}/{path.name}/vendor").strip() == "0x10de"
            and self.file(f"{BUS}/{path.name}/class").strip()[:6] in DISPLAY
        ]


# Readings


def query(machine: Machine, seen: Seen) -> list[dict[str, Any]]:
    """The fields that our checks ask for, one by one; each GPU as it is read."""
    from deeprig.facts import gpu_failures
    from deeprig.parsers import nvidia_smi

    if not shutil.which("nvidia-smi"):
        seen.not_asked.append("nvidia-smi is not installed")
        return []
    fields: tuple[str, ...] = nvidia_smi.FIELDS
    form = "--format=csv,noheader,nounits"
    answer = machine.ask("nvidia-smi", f"--query-gpu={','.join(fields)}", form)
    if answer.hung:
        seen.not_asked.append(f"nvidia-smi does not answer within {EACH} s: it was not asked again")
        return []
    failure = gpu_failures.failure(answer.text, answer.status)
    if failure:
        known = "ends with" not in failure and "no reason" not in failure
        seen.read("nvidia-smi: the query of all fields", "failed" if known else "odd", answer.text)
    rows = nvidia_smi.rows(answer.out, fields)
    if "not a valid field" in answer.text:
        fields = tuple(name for name in fields if field_by_field(machine, seen, name))
        answer = machine.ask("nvidia-smi", f"--query-gpu={','.join(fields)}", form)
        rows = nvidia_smi.rows(answer.out, fields)
    found = []
    for row, card in zip(rows, map(nvidia_smi._card, rows), strict=True):
        for name, raw in row.items():
            one_field(seen, name, raw)
        found.append({k: v for k, v in asdict(card).items() if k != "uuid"})
    return found


def later_fields(machine: Machine, seen: Seen) -> None:
    """Those that only newer drivers know."""
    from deeprig.parsers import nvidia_smi

    for name, form in MORE.items():
        said = machine.ask("nvidia-smi", f"--query-gpu={name}", "--format=csv,noheader")
        for raw in said.out.splitlines():
            if nvidia_smi.MISSING.fullmatch(raw.strip()) or "not a valid field" in raw:
                seen.read(f"nvidia-smi: {name}", "missing")
            else:
                seen.formed(f"nvidia-smi: {name}", form, raw)


def field_by_field(machine: Machine, seen: Seen, name: str) -> bool:
    """Whether this driver knows a field, where it refuses all for the sake of one."""
    said = machine.ask("nvidia-smi", f"--query-gpu={name}", "--format=csv,noheader,nounits")
    if "not a valid field" in said.text:
        seen.read(f"nvidia-smi: {name}", "odd", said.text)
        return False
    return not said.status


def one_field(seen: Seen, name: str, raw: str) -> None:
    """As the reader of nvidia-smi takes it."""
    from deeprig.parsers import nvidia_smi

    what = f"nvidia-smi: {name}"
    if not raw or nvidia_smi.MISSING.fullmatch(raw):
        seen.read(what, "missing")
    elif name in WORDS:
        seen.formed(what, WORDS[name], raw)
    else:
        card = asdict(nvidia_smi._card({name: raw}))
        got = any(value not in (None, ()) and value is not False for value in card.values())
        seen.read(what, "read" if got or name == "vbios_version" else "odd", raw)


def every_field(machine: Machine, seen: Seen) -> None:
    """All that this driver can be asked: words for "none" and units that our reader lacks."""
    from deeprig.parsers import nvidia_smi

    said = machine.ask("nvidia-smi", "--help-query-gpu").out
    names = [name for name in re.findall(r'^"([\w.]+)"', said, re.M) if not PRIVATE.search(name)]
    if not names:
        return
    answer = machine.ask("nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv")
    rows = nvidia_smi.rows(answer.out)
    cards = max(0, len(answer.out.strip().splitlines()) - 1)
    how = "read" if rows and len(rows) == cards else "odd"
    head = answer.out[:LONGEST] if answer.status == 0 else answer.text
    seen.read(f"nvidia-smi: {len(names)} fields with a header", how, head)
    for name, raw in rows[0].items() if rows else ():
        if LIKE_MISSING.fullmatch(raw) and not nvidia_smi.MISSING.fullmatch(raw):
            seen.read(f"nvidia-smi: a word for none, of {name}", "odd", raw)
        elif OTHER_UNIT.fullmatch(raw):
            seen.read(f"nvidia-smi: a unit, of {name}", "odd", raw)


def other_answers(machine: Machine, seen: Seen, cards: int) -> None:
    """The head, the list, the topology and who computes."""
    from deeprig.parsers import nvidia_smi, topology

    said = machine.ask("nvidia-smi").out
    seen.read("nvidia-smi: the head", "read" if nvidia_smi.banner(said) else "odd", head(said))
    said = machine.ask("nvidia-smi", "-L").out
    listed = len(nvidia_smi.listed(said))
    seen.read("nvidia-smi -L", "read" if listed == cards else "odd", said)
    said = machine.ask("nvidia-smi", "topo", "-m").out
    found = topology.read(said)
    whole = len(found.gpus) == cards and len(found.links) >= cards * cards
    known = all(LINKS.fullmatch(link) for link in found.links.values())
    seen.read("nvidia-smi topo -m", "read" if whole and known else "odd", said)
    asked = f"--query-compute-apps={','.join(APPS)}"
    said = machine.ask("nvidia-smi", asked, "--format=csv,noheader").out
    rows = [row for row in csv.reader(said.splitlines(), skipinitialspace=True) if row]
    wrong = [row for row in rows if len(row) != len(APPS) or not row[1].isdecimal()]
    counts = f"a row of {', '.join(str(len(row)) for row in wrong)} words"  # they name programs
    seen.read(f"nvidia-smi: {', '.join(APPS)}", "odd" if wrong else "read", counts)


def head(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "Version" in line) or text[:400]


def sysfs(machine: Machine, seen: Seen, addresses: Iterable[str]) -> None:
    """What is read of each GPU's folder."""
    for address in addresses:
        for name, form in SYSFS.items():
            path = f"{BUS}/{address}/{name}"
            if name.startswith("../"):  # of the bridge, which is where the link leads
                bridge = (machine.root / BUS / address).resolve().parent / name[3:]
                path = str(bridge).removeprefix(f"{machine.root}/").lstrip("/")
            said = machine.file(path)
            if not said and name in MAY_BE_MISSING:
                seen.read(f"sysfs: {name}", "missing")
            else:
                seen.formed(f"sysfs: {name}", form, said)


def module(machine: Machine, seen: Seen) -> dict[str, str]:
    """The loaded module in all its places, and the library: version and flavour."""
    from deeprig.parsers import kernel_modules

    said = machine.file("proc/driver/nvidia/version")
    running = kernel_modules.running(said)
    how = "read" if running else "odd"
    seen.read("/proc/driver/nvidia/version", how if said else "missing", said)
    version = machine.file("sys/module/nvidia/version").strip()
    seen.formed("/sys/module/nvidia/version", r"\d{3}\.\d+(\.\d+)?", version)
    if running and version and running.version != version:
        seen.read("the module's version in both places", "odd", f"{running.version} and {version}")
    said = machine.file("proc/driver/nvidia/params")
    how = "read" if kernel_modules.parameters(said) else "odd"
    seen.read(kernel_modules.PARAMETERS, how if said else "missing", said)
    folder = f"usr/lib/{platform.machine()}-linux-gnu"
    link = machine.root / folder / "libcuda.so.1"
    library = link.resolve().name.partition(".so.")[2] if link.exists() else ""
    seen.formed("libcuda.so.1, below /usr/lib", r"\d{3}\.\d+(\.\d+)?", library)
    licence = machine.ask("modinfo", "-F", "license", "nvidia")
    if licence.status == 0 and running:
        same = kernel_modules.flavour(licence.out) == running.flavour
        seen.read("modinfo -F license", "read" if same else "odd", licence.out)
    return {
        "module": running.version if running else "",
        "flavour": running.flavour if running else "",
        "library": library,
    }


def tools(machine: Machine, seen: Seen, addresses: list[str]) -> None:
    """dkms, mokutil, nvcc, the libraries' headers and lspci, each where it is there."""
    from deeprig.parsers import cuda_versions, kernel_modules, topology

    said = machine.ask("dkms", "status").out
    lines = [line for line in said.splitlines() if line.startswith("nvidia")]
    if lines:
        whole = len(kernel_modules.builds(said)) == len(lines)
        seen.read("dkms status", "read" if whole else "odd", "\n".join(lines))
    if shutil.which("mokutil"):
        said = machine.ask("mokutil", "--sb-state").text
        known = kernel_modules.secure_boot(said) is not None
        seen.read("mokutil --sb-state", "read" if known else "odd", said)
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if Path(nvcc).exists():
        said = machine.ask(nvcc, "--version").text
        seen.read("nvcc --version", "read" if cuda_versions.nvcc(said) else "odd", said)
    readers = {"cudnn_version.h": cuda_versions.cudnn, "nccl.h": cuda_versions.nccl}
    for name, reader in readers.items():
        said = machine.file(f"usr/include/{name}")
        if said:
            defines = "\n".join(re.findall(r"^#define \w+ .*", said, re.M))
            seen.read(name, "read" if reader(said) else "odd", defines)
    said = machine.file("lspci") or machine.ask("lspci", "-Dnnvvv").out
    if said:
        there = {device.address: device for device in topology.devices(said)}
        for address in addresses:
            device = there.get(address)
            if device is None and machine.root != Path("/"):
                continue  # a lab's list has the bridges alone
            good = device and device.id.startswith("10de:") and device.width
            block = said.partition(address)[2].partition("\n\n")[0]
            seen.read("lspci: a GPU and its link", "read" if good else "odd", block)


def kernel_log(machine: Machine, seen: Seen) -> dict[str, int]:
    """The driver's lines of this boot: how many of each Xid, and lines in no form that we know."""
    from deeprig import catalog

    answer = machine.ask("journalctl", "-q", "-k", "-b", "-o", "cat", "--no-pager")
    if not answer.out.strip():
        answer = machine.ask("dmesg")
    if not answer.out.strip():
        seen.not_asked.append("the kernel's log: it has nothing that may be read here")
    lines = [re.sub(r"^\[ *[\d.]+\] ", "", line) for line in answer.out.splitlines()]
    lines = [line for line in lines if DRIVERS_WORDS.search(line)]
    known = "|".join(row["words"] for row in catalog.load("gpu_errors")["reason"])
    for line in lines:
        if not XID.search(line) and re.search(known, line):
            seen.read("kernel log: why a GPU is not there", "read")
    odd = dict.fromkeys(
        PROCESS.sub(r"\1...", line)
        for line in lines
        if re.search(r"NVRM|\bXid\b", line)
        and not (XID.search(line) or USUAL.search(line) or re.search(known, line))
    )
    for line in list(odd)[:MOST_LINES]:
        seen.read("kernel log: a line of the driver that is no Xid", "odd", line[:300])
    xids = [re.search(r"\): (\d+),", line) for line in lines if XID.search(line)]
    return dict(Counter(f"Xid {number[1]}" for number in xids if number))


# Decisions


def decisions(
    machine: Machine, seen: Seen, addresses: list[str], cards: list[dict[str, Any]],
    loaded: dict[str, str],
) -> dict[str, Any]:  # fmt: skip
    """What our tables say of these GPUs and would put here, against what is there and runs."""
    from deeprig.catalog import branches, gpu_limits, gpu_search
    from deeprig.catalog.gpus import identify
    from deeprig.errors import DeeprigError
    from deeprig.facts import survey
    from deeprig.parsers import nvidia_smi
    from deeprig.resolver import resolve
    from deeprig.resolver.refusal import Refusal
    from tests.host import here

    branch = branches.of_version(loaded["module"])
    on_bus = {
        address: identify("10de:" + machine.file(f"{BUS}/{address}/device").strip()[2:], address)
        for address in addresses
    }
    for gpu in on_bus.values():
        if not gpu.is_known:
            seen.wrong.append(f"no table knows {gpu.id}")
        border = gpu_limits.of(gpu)
        if gpu.is_known and branch and not border.drives(branch):
            why = border.driver_border(branch)
            seen.wrong.append(f"{gpu} {why}, say our tables, and driver {branch} is loaded")
        if gpu.is_known and border.flavours and loaded["flavour"] not in ("", *border.flavours):
            seen.wrong.append(
                f"{gpu} runs with the {loaded['flavour']} modules, and not by a table"
            )
    for card in cards:
        own = on_bus.get(str(card["address"]))
        if own and card["compute_capability"] not in (None, own.compute_capability):
            says, ours = card["compute_capability"], own.compute_capability or "nothing"
            seen.wrong.append(f"{own} has compute capability {says}, and the table says {ours}")
        try:
            named = gpu_search.find(str(card["name"]))
            if own and gpu_limits.of(named) != gpu_limits.of(own):
                seen.wrong.append(f"the name {card['name']!r} is taken for {named}, and is {own}")
        except DeeprigError as error:
            seen.wrong.append(f"the name that the driver gives: {error}")
    banner = nvidia_smi.banner(machine.ask("nvidia-smi").out)
    if branch and branch not in branches.known():
        seen.wrong.append(f"driver branch {branch} is loaded, and in no table")
    elif branch and banner and branches.cuda(branch) != banner.cuda:
        ours = branches.cuda(branch)
        seen.wrong.append(f"driver {branch} goes up to CUDA {banner.cuda}; the table says {ours}")
    rig = here.box()[1]["rig"]
    said = machine.ask("sh", "-c", survey.script(rig), seconds=60)
    found = survey.read(said.out.splitlines())
    for sentence in found.strange:
        seen.read("the survey", "odd", sentence)
    objections = survey.objections(found, rig)
    for sentence in objections:
        seen.not_asked.append(f"a deploy here would refuse: {sentence}")
    plan = resolve.decide(here.seen(found), rig)
    if isinstance(plan, Refusal):
        if cards and not objections:
            seen.wrong.append(f"refused, though driver {branch} runs here: {plan.refusal}")
        return {"refusal": plan.refusal, "instead": plan.instead}
    return {
        key: getattr(plan, key)
        for key in ("driver_branch", "module_flavour", "driver_source", "modules", "cuda", "cudnn",
                    "nccl", "torch", "torch_backend", "torch_cuda", "reasons", "warnings")
    }  # fmt: skip


# Checks, in a process of their own


def checks(machine: Machine, seen: Seen) -> list[dict[str, Any]]:
    """What the live checks of the GPUs and of CUDA find here."""
    if "nvidia-smi" in machine.silent:
        seen.not_asked.append("the live checks: nvidia-smi hangs")
        return []
    limit = machine.left() - TORCH - 10
    if limit < 5:
        seen.not_asked.append("the live checks: no time is left for them")
        return []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "checks.json")
        done = machine.ask(sys.executable, __file__, "--checks-into", str(file), seconds=limit)
        found: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    if done.hung:
        seen.not_asked.append(f"some live checks: they have not ended within {limit:.0f} s")
    elif not found:
        last = (done.text.splitlines() or ["they say nothing"])[-1]
        seen.not_asked.append(f"the live checks: {last}")
    return found


def run_checks(into: Path) -> None:
    """Run them on this machine by testinfra's local backend."""
    import pytest

    from deeprig_cli.verify.runner import CHECKS, Check, Collector

    def keep(check: Check) -> None:
        """So that those are sent that ended, where one does not."""
        draft = into.with_suffix(".new")
        draft.write_text(json.dumps([one.to_json() for one in collector.checks]))
        draft.rename(into)

    collector = Collector(keep)
    toolkit = shutil.which("nvcc") or Path("/usr/local/cuda/bin/nvcc").exists()
    components = ["gpu_live", *(["cuda"] if toolkit else [])]
    files = [str(CHECKS / f"test_{name}.py") for name in components]
    options = ["-p", "no:cacheprovider", "--tb=no", "-c", str(ROOT / "pyproject.toml")]
    pytest.main([*options, "--rootdir", str(ROOT), *files, "--here"], plugins=[collector])


# torch, by whichever Python has it


def compute(machine: Machine, seen: Seen, named: str | None) -> dict[str, Any]:
    """What torch computes on each GPU."""
    if "nvidia-smi" in machine.silent:
        seen.not_asked.append("torch: nvidia-smi hangs")
        return {}
    for python in [named] if named else pythons():
        limit = min(TORCH, machine.left() - 5)
        if limit < 5:
            seen.not_asked.append("torch: no time is left for it")
            return {}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "torch.json")
            done = machine.ask(python, __file__, "--torch-into", str(file), seconds=limit)
            found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        if done.hung:
            seen.not_asked.append(f"torch has not computed within {limit:.0f} s")
        elif done.status or (named and not found):
            last = (done.text.splitlines() or [f"it ends with {done.status}"])[-1]
            seen.not_asked.append(f"torch of {python}: {last[:300]}")
        if found.get("no gpu"):
            seen.not_asked.append(f"torch {found['version']} sees no GPU: {found['no gpu']}")
        if found.get("cuda"):
            judge_torch(seen, found)
        if found or done.hung or named:
            return found
    seen.not_asked.append("torch: no Python that was tried has it; --torch-with names one")
    return {}


def pythons() -> list[str]:
    """Those that may have torch; root does not run what is in a home."""
    active = [Path(os.environ[key], "bin/python") for key in ("VIRTUAL_ENV", "CONDA_PREFIX")
              if key in os.environ]  # fmt: skip
    if os.geteuid():
        active.append(Path.home() / "envs/torch/bin/python")  # as a deploy makes it
    tried = [sys.executable, *map(str, active), "python3", "/usr/bin/python3"]
    return [python for python in dict.fromkeys(tried) if shutil.which(python)]


def judge_torch(seen: Seen, found: dict[str, Any]) -> None:
    """What our table of torch's builds says of this one."""
    from deeprig import catalog
    from deeprig.catalog.branches import number  # the standard library is enough for both

    version = str(found["version"])
    if not WHEEL.fullmatch(version):
        seen.not_asked.append(f"torch {version} is no wheel of PyTorch's: no table is about it")
        return
    version = version.partition("+")[0]
    rows = [
        row
        for row in catalog.load("torch")["build"]
        if version.startswith(f"{row['torch']}.") and row["cuda"] == found["cuda"]
    ]
    if not rows:
        seen.wrong.append(f"torch {version} with CUDA {found['cuda']} is in no table")
        return
    key = "arm64" if platform.machine() in ("aarch64", "arm64") else "capabilities"
    table = sorted(rows[0][key], key=float)
    built = [SM.fullmatch(name) for name in found.get("architectures", ())]
    own = sorted((f"{one[1]}.{one[2]}" for one in built if one), key=float)
    if own and own != table:
        seen.wrong.append(
            f"torch {version} has kernels for {', '.join(own)}, and by the table for "
            f"{', '.join(table)}"
        )
    kernels = [number(one) for one in table]
    for index, gpu in enumerate(found["gpus"]):
        mine = number(gpu["capability"])
        should = any(mine[:1] == one[:1] and one <= mine for one in kernels)
        for what in (key for key, so in gpu.items() if so is False and key != "computes"):
            seen.wrong.append(f"torch on GPU {index}: it is not so that the {what}")
        if gpu["computes"] is None:  # busy, full or broken: that says nothing of kernels
            error = gpu.get("error", "it has not ended")
            seen.not_asked.append(f"torch on GPU {index}: {error}")
        elif should != gpu["computes"]:
            says = "has no" if gpu["computes"] else "has"
            seen.wrong.append(
                f"torch {version} {says} kernels for {gpu['capability']} by the table, and it "
                f"{'computes' if gpu['computes'] else 'does not compute'}"
            )


def run_torch(into: Path, device: str | None) -> None:
    """Matrix product, copies and a convolution by cuDNN on each GPU, against the processor.

    A `device` such as "cpu" goes in the GPUs' place, to see that these lines are right.
    """
    try:
        import torch  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        print("it has no torch", file=sys.stderr)
        return  # the next Python may have it

    def keep() -> None:
        """So that those are sent that ended, where one does not."""
        draft = into.with_suffix(".new")
        draft.write_text(json.dumps(found))
        draft.replace(into)

    cuda = torch.version.cuda
    found: dict[str, Any] = {"version": str(torch.__version__), "cuda": cuda, "gpus": []}
    if cuda:
        found["cudnn"] = tried(lambda: torch.backends.cudnn.version())
        found["architectures"] = torch.cuda.get_arch_list()
    count = torch.cuda.device_count() if cuda else 0
    if not cuda:
        found["no gpu"] = "it is built without CUDA"
    elif not count:
        found["no gpu"] = tried(torch.cuda.init) or "it does not say why"
    keep()
    for name in [device] if device else [f"cuda:{index}" for index in range(count)]:
        one: dict[str, Any] = {"capability": "", "computes": None}
        found["gpus"].append(one)
        keep()
        try:
            if name.startswith("cuda"):
                one["capability"] = "{}.{}".format(*torch.cuda.get_device_capability(name))
            one.update(right(torch, name))
            one["computes"] = True
            one.update(fast(torch, name))
        except Exception as error:  # whatever torch raises is what is to be known
            one["error"] = sentence(error)
            if one["computes"] is None and NO_KERNELS.search(str(error)):
                one["computes"] = False
        keep()


def tried(work: Callable[[], object]) -> object:
    """What it gives, or in what words it fails."""
    try:
        return work()
    except Exception as error:
        return sentence(error)


def sentence(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def right(torch: Any, device: str) -> dict[str, Any]:
    """Whether it computes right. It needs little memory: others may be at work there."""
    torch.manual_seed(0)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    exact = a.double() @ b.double()
    off = (a.to(device) @ b.to(device)).double().cpu().sub(exact).abs().max().item()
    block = torch.empty(2**24, dtype=torch.uint8).random_()
    kernel, image = torch.randn(8, 1, 3, 3), a[None, None]
    with torch.no_grad():
        convolved = torch.nn.functional.conv2d(image.to(device), kernel.to(device)).cpu()
        by_processor = torch.nn.functional.conv2d(image, kernel)
    return {
        "matrix product is right": off < 0.5,
        "copy comes back whole": bool(torch.equal(block.to(device).cpu(), block)),
        "cudnn is there": bool(torch.backends.cudnn.is_available()),
        "convolution is right": convolved.sub(by_processor).abs().max().item() < 0.05,
    }


def fast(torch: Any, device: str) -> dict[str, float]:
    """How fast: TFLOP/s and GB/s, to be known and not judged."""
    size, much = (4096, 2**28) if device.startswith("cuda") else (256, 2**20)

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    def seconds(work: Callable[[], object], times: int) -> float:
        work()
        wait()
        started = time.perf_counter()
        for _ in range(times):
            work()
        wait()
        return (time.perf_counter() - started) / times

    wide = torch.randn(size, size, device=device, dtype=torch.float16)
    block = torch.zeros(much, dtype=torch.uint8)
    there = block.to(device)
    return {
        "float16 TFLOP/s": round(2 * size**3 / seconds(lambda: wide @ wide, 20) / 1e12, 1),
        "to the GPU GB/s": round(much / seconds(lambda: block.to(device, copy=True), 5) / 1e9, 1),
        "on the GPU GB/s": round(2 * much / seconds(there.clone, 20) / 1e9, 1),
    }


# The file


def look(machine: Machine, torch_with: str | None) -> dict[str, Any]:
    """All of it, with names and numbers still in it."""
    seen = Seen()
    addresses = machine.gpus()
    loaded = {"module": "", "flavour": "", "library": ""}
    none: list[dict[str, Any]] = []
    empty: dict[str, Any] = {}
    seen.part("sysfs", lambda: sysfs(machine, seen, addresses), None)
    loaded = seen.part("the module", lambda: module(machine, seen), loaded)
    cards = seen.part("nvidia-smi", lambda: query(machine, seen), none)
    if cards:
        seen.part("later fields", lambda: later_fields(machine, seen), None)
        seen.part("all fields", lambda: every_field(machine, seen), None)
        seen.part("nvidia-smi's tables", lambda: other_answers(machine, seen, len(cards)), None)
    seen.part("other tools", lambda: tools(machine, seen, addresses), None)
    xids = seen.part("the kernel's log", lambda: kernel_log(machine, seen), dict[str, int]())
    decided = seen.part(
        "decisions", lambda: decisions(machine, seen, addresses, cards, loaded), empty
    )
    ran = seen.part("the live checks", lambda: checks(machine, seen), none)
    computed = seen.part("torch", lambda: compute(machine, seen, torch_with), empty)
    return {
        "form": FORM,
        "deeprig": version(machine),
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "tier": "functional, nothing deployed",
        "boxes": [
            {
                "outputs": outputs(machine),
                "counts": dict(Counter(check["outcome"] for check in ran)),
                "checks": [{k: v for k, v in one.items() if k not in ("host", "seconds")}
                           for one in ran],
            }
        ],
        "gpu": {
            "as": "root" if os.geteuid() == 0 else "a user",
            "fake": machine.root != Path("/"),
            "on the bus": len(addresses),
            "cards": cards,
            "loaded": loaded,
            "xids": xids,
            "counts": dict(Counter(row["is"] for row in seen.readings)),
            "readings": once(seen.readings),
            "plan": decided,
            "wrong": list(dict.fromkeys(seen.wrong)),
            "torch": computed,
            "not_asked": list(dict.fromkeys(seen.not_asked)),
        },
    }  # fmt: skip


def once(readings: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Each with how often: eight GPUs mostly say the same."""
    counted = Counter(tuple(row.items()) for row in readings)
    return [dict(row) | ({"times": n} if n > 1 else {}) for row, n in counted.items()]


def version(machine: Machine) -> str:
    from deeprig import __version__

    commit = machine.ask("git", "-C", str(ROOT), "describe", "--always", "--dirty=+").out.strip()
    return f"{__version__} {commit}".strip()


def outputs(machine: Machine) -> dict[str, str]:
    """What `deeprig verify --evidence` asks of a box, by the same table."""
    from deeprig import catalog

    found = {}
    for row in catalog.load("evidence")["output"]:
        words = row.get("program") or ["sh", "-c", row["command"]]
        if "nvidia-smi" in machine.silent and "nvidia-smi" in " ".join(words):
            found[row["name"]] = ""
            continue
        found[row["name"]] = machine.ask(*words).out.strip()[:20000]
    return found


def own_words() -> dict[str, str]:
    """What names this machine and its people, each with what stands for it."""
    names = {socket.gethostname(), socket.gethostname().partition(".")[0], platform.node()}
    found = {name: "<box>" for name in names if name and name != "localhost"}
    people = {getpass.getuser() if os.geteuid() else "", os.environ.get("SUDO_USER", "")}
    people |= {row.pw_name for row in pwd.getpwall() if row.pw_uid >= 1000}
    return found | {name: "<user>" for name in people - {"", "root", "nobody", "deeprig"}}


def clean(found: dict[str, Any]) -> dict[str, Any]:
    """Without what names a person, an address or a single device."""
    from deeprig_cli.verify import scrub

    made: dict[str, Any] = scrub.everywhere(found, own_words())
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write")
    parser.add_argument("--torch-with", metavar="PYTHON", help="a Python that has torch")
    parser.add_argument("--checks-into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--torch-into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--torch-device", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.torch_into:
        run_torch(asked.torch_into, asked.torch_device)
        return 0
    sys.path.insert(0, str(ROOT))
    if asked.checks_into:
        run_checks(asked.checks_into)
        return 0
    if not asked.out:
        parser.error("--out FILE names the file to write.")
    started = time.monotonic()
    machine = Machine(FAKE / "root" if (FAKE / "profile").exists() else Path("/"))
    if not machine.gpus() and not shutil.which("nvidia-smi"):
        print("There is no NVIDIA GPU on this machine's bus, and no nvidia-smi.", file=sys.stderr)
        return 2
    found = clean(look(machine, asked.torch_with))
    found["gpu"]["seconds"] = round(time.monotonic() - started)
    try:
        asked.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        print(f"{asked.out} cannot be written: {error.strerror}.", file=sys.stderr)
        return 2
    gpu = found["gpu"]
    print(f"Wrote {asked.out}: {gpu['counts']} readings, {len(gpu['wrong'])} wrong decisions.")
    print("Read it before you send it on.")
    return 0


if __name__ == "__main__":
    old = sys.version_info < (3, 11)  # whatever Python the machine has
    if old and "--torch-into" not in sys.argv:
        sys.exit("tools/gpu_evidence.py needs Python 3.11 or newer; run it with a newer one.")
    sys.exit(main())
