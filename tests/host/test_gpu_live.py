"""The cards answer, one by one, with the driver that was planned and the settings asked for."""

import re
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

import pytest
from testinfra.host import Host

from deeprig import gpu_failures, modules, nvidia_smi, stack, toolkit_versions, topology
from deeprig.checks import NothingThere
from deeprig.gpus import Gpu
from deeprig.nvidia_smi import FIELDS, QUERY, Card
from deeprig.settings import Rig
from deeprig.stack import Plan
from deeprig.survey import Survey
from tasks.gpu_settings import FABRIC_MANAGER
from tests.host.kernels import compute

# A lab's pretended cards bring what else is only to be had from a module: /proc and /sys.
FAKE_ROOT = "/etc/deeprig-lab-gpu/root"
# So small a program needs no more than a driver, a card and a compiler that fit each other.
PROGRAM = r"""
#include <cstdio>
__global__ void add(int *a, int b) { *a += b; }
int main() {
  int cards = 0;
  cudaGetDeviceCount(&cards);
  for (int n = 0; n < cards; n++) {
    int *there, here = 40;
    cudaSetDevice(n);
    cudaMalloc(&there, sizeof here);
    cudaMemcpy(there, &here, sizeof here, cudaMemcpyHostToDevice);
    add<<<1, 1>>>(there, 2);
    cudaMemcpy(&here, there, sizeof here, cudaMemcpyDeviceToHost);
    printf("%d %d %s\n", n, here, cudaGetErrorString(cudaGetLastError()));
  }
}
"""
COMPILE_AND_RUN = (
    'd=$(mktemp -d) && cd "$d" && cat > a.cu && PATH=/usr/local/cuda/bin:$PATH nvcc -o a a.cu && '
    './a; s=$?; rm -r "$d"; exit $s'
)
RESEAT = pytest.mark.remedy("power off; look at the card's seat, its riser and power cables")
REBOOT = pytest.mark.remedy("reboot; if it stays, `deeprig driver status` says what moved")

Say = Callable[[str], None]


class Answer(NamedTuple):
    """What nvidia-smi said, and how it ended."""

    text: str
    status: int


@pytest.fixture(scope="module")
def plan(stack_plan: Plan, rig: Rig) -> Plan:
    if rig.driver is None:
        pytest.skip("Rig.driver is None: the driver is left to its owner")
    return stack_plan


@pytest.fixture(scope="module")
def present(plan: Plan, survey: Survey) -> tuple[Gpu, ...]:
    """The cards on the bus."""
    if not survey.graphics.gpus:
        raise NothingThere("there is no NVIDIA card in the box")
    return survey.graphics.gpus


@pytest.fixture(scope="module")
def root(present: tuple[Gpu, ...], survey: Survey) -> str:
    """Where /proc and /sys are: empty but for a lab's pretended cards."""
    return FAKE_ROOT if survey.graphics.fake else ""


@pytest.fixture(scope="module")
def answer(host: Host, present: tuple[Gpu, ...]) -> Answer:
    done = host.run(QUERY)
    return Answer(f"{done.stdout}\n{done.stderr}", done.rc)


@pytest.fixture(scope="module")
def cards(answer: Answer) -> tuple[Card, ...]:
    """The cards as nvidia-smi has them."""
    if gpu_failures.failure(*answer):
        pytest.skip("nvidia-smi does not answer whole: the check that it answers says why")
    return nvidia_smi.cards(answer.text, FIELDS)


@REBOOT
def test_nvidia_smi_answers(answer: Answer) -> None:
    failure = gpu_failures.failure(*answer)
    assert not failure, failure


@RESEAT
def test_every_card_on_the_bus_is_driven(present: tuple[Gpu, ...], cards: tuple[Card, ...]) -> None:
    missing = {gpu.address for gpu in present} - {card.address for card in cards}
    assert not missing, f"on the bus, and not with the driver: {', '.join(sorted(missing))}"
    assert len(cards) == len(present)


@REBOOT
def test_no_other_driver_holds_a_card(host: Host, present: tuple[Gpu, ...], root: str) -> None:
    """nouveau and nova_core take a card at boot, vfio-pci takes one for a guest."""
    holders = {
        gpu.address: host.run(
            "readlink %s", f"{root}/sys/bus/pci/devices/{gpu.address}/driver"
        ).stdout
        for gpu in present
    }
    names = {address: way.stdout.strip().rpartition("/")[2] for address, way in holders.items()}
    others = [f"{address} by {name or 'nothing'}" for address, name in names.items()]
    assert set(names.values()) == {"nvidia"}, f"the cards are held: {', '.join(others)}"


@REBOOT
def test_module_library_and_plan_are_one_version(host: Host, plan: Plan, root: str) -> None:
    loaded = host.run(f"cat {root}/sys/module/nvidia/version").stdout.strip() or "none"
    link = f"{root}/usr/lib/$(uname -m)-linux-gnu/libcuda.so.1"
    library = host.run(f"readlink -f {link}").stdout.strip().rpartition(".so.")[2]
    assert loaded == library, f"the module that is loaded is {loaded}, the library is {library}"
    assert loaded.startswith(f"{plan.driver_branch}."), (
        f"driver {loaded} is loaded, and the plan is {plan.driver_branch}"
    )


@REBOOT
def test_the_loaded_module_is_of_the_planned_flavour(host: Host, plan: Plan, root: str) -> None:
    running = modules.running(host.run(f"cat {root}/proc/driver/nvidia/version").stdout)
    assert running, "no NVIDIA module is loaded"
    assert running.flavour == plan.module_flavour


def test_every_card_says_the_same_driver(plan: Plan, cards: tuple[Card, ...]) -> None:
    assert {(card.driver or "").partition(".")[0] for card in cards} == {plan.driver_branch}


def test_the_cards_are_what_the_table_says(
    present: tuple[Gpu, ...], cards: tuple[Card, ...]
) -> None:
    table = {gpu.address: gpu.compute_capability for gpu in present if gpu.compute_capability}
    said = {card.address: card.compute_capability for card in cards if card.address in table}
    assert said == {address: table[address] for address in said}


def test_persistence_is_on(cards: tuple[Card, ...]) -> None:
    off = [str(card) for card in cards if not card.persistence]
    assert not off, f"persistence is off: {', '.join(off)}"


@RESEAT
def test_no_card_needs_a_reset(cards: tuple[Card, ...]) -> None:
    stuck = [str(card) for card in cards if card.requires_reset]
    assert not stuck, f"GPU requires reset: {', '.join(stuck)}"


def test_the_power_limits_are_in_force(rig: Rig, cards: tuple[Card, ...]) -> None:
    assert rig.driver
    if not rig.driver.power_limits:
        pytest.skip("Driver.power_limits is empty: each card keeps its own")
    here = {(card.uuid or "").lower(): card for card in cards}
    for limit in rig.driver.power_limits:
        card = here.get(limit.gpu.lower())
        assert card, f"no card has the UUID {limit.gpu}; here: {', '.join(here)}"
        assert card.power_limit == limit.watts, (
            f"{card} is at {card.power_limit} W, not at {limit.watts} W; it takes "
            f"{card.power_min} to {card.power_max} W"
        )


def test_the_modules_options_are_in_force(host: Host, rig: Rig, root: str) -> None:
    assert rig.driver
    if not rig.driver.module_options:
        pytest.skip("Driver.module_options is empty")
    loaded = modules.parameters(host.run(f"cat {root}{modules.PARAMETERS}").stdout)
    waiting = modules.not_in_force(rig.driver.module_options, loaded)
    assert not waiting, f"from the next load of the module on: {', '.join(waiting)}"


def test_each_card_has_the_lanes_that_its_slot_gives(
    host: Host, root: str, cards: tuple[Card, ...], warn: Say
) -> None:
    """A loose card or a riser loses lanes; it works on, slower, so it is a warning."""
    narrow = []
    for card in cards:
        folder = f"{root}/sys/bus/pci/devices/{card.address}"
        said = host.run('cat "$(readlink -f %s)/../max_link_width"', folder).stdout.strip()
        wide = min(card.link_width_max or 0, int(said) if said.isdigit() else 32)
        if (card.link_width or 0) < wide:
            narrow.append(f"{card} runs on {card.link_width} lanes of {wide}")
    if narrow:
        warn(f"{', '.join(narrow)}; look at its seat, its riser and the board's manual.")


def test_a_busy_cards_link_is_as_fast_as_it_can_be(cards: tuple[Card, ...], warn: Say) -> None:
    busy = [card for card in cards if card.performance_state in ("P0", "P1", "P2")]
    if not busy:
        pytest.skip("every card is idle, and an idle card's link is slow on purpose")
    slow = [
        f"{card} runs at PCIe {card.link_generation} of {card.link_generation_max}"
        for card in busy
        if (card.link_generation or 0) < (card.link_generation_max or 0)
    ]
    if slow:
        warn(f"{', '.join(slow)}; look at its riser and the slot's setting in the firmware.")


def test_cuda_is_not_newer_than_the_driver(
    host: Host, plan: Plan, cards: tuple[Card, ...], rig: Rig
) -> None:
    if plan.cuda == stack.NONE:
        pytest.skip(f"no toolkit is planned: {plan.reasons.get('cuda', 'Rig.cuda is None')}")
    said = host.run("/usr/local/cuda/bin/nvcc --version || nvcc --version").stdout
    release, _ = toolkit_versions.nvcc(said) or (plan.cuda, "")
    banner = nvidia_smi.banner(host.run("nvidia-smi").stdout)
    assert banner, "nvidia-smi does not say up to which CUDA its driver goes"
    assert number(release) <= number(banner.cuda), (
        f"CUDA {release} is newer than driver {banner.driver}, which goes up to CUDA {banner.cuda}"
    )


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_mig_ecc_and_compute_mode_are_as_their_owner_left_them(
    cards: tuple[Card, ...], note: Say
) -> None:
    """They are reported and never touched."""
    said = [
        f"{card}: MIG {card.mig or 'n/a'}, ECC {card.ecc or 'n/a'}, {card.compute_mode}"
        for card in cards
    ]
    note("; ".join(dict.fromkeys(said)))
    assert all(card.compute_mode for card in cards)


def test_the_driver_still_gets_fixes(plan: Plan, present: tuple[Gpu, ...], warn: Say) -> None:
    if said := stack.ended(plan, date.today()):
        warn("; ".join(said))


def test_nothing_is_wanting_in_the_plan(plan: Plan, present: tuple[Gpu, ...], warn: Say) -> None:
    if plan.warnings:
        warn("; ".join(plan.warnings))


@pytest.mark.remedy("`journalctl -u nvidia-fabricmanager` says why; its version is the driver's")
def test_the_fabric_manager_runs(host: Host, present: tuple[Gpu, ...], survey: Survey) -> None:
    """Without it cards behind an NVSwitch compute nothing."""
    if not survey.graphics.nvswitch:
        pytest.skip("there is no NVSwitch")
    assert host.service(FABRIC_MANAGER).is_running


def test_how_the_cards_are_joined(host: Host, cards: tuple[Card, ...], note: Say) -> None:
    if len(cards) < 2:
        pytest.skip("there is one card")
    found = topology.read(host.run("nvidia-smi topo -m").stdout)
    assert len(found.gpus) == len(cards)
    kinds = sorted({link for (a, b), link in found.links.items() if a < b and b in found.gpus})
    note(f"between the cards: {', '.join(kinds)}")


def test_no_bridge_sends_traffic_between_cards_through_the_processor(
    host: Host, root: str, cards: tuple[Card, ...], warn: Say
) -> None:
    if len(cards) < 2:
        pytest.skip("there is one card")
    with host.sudo():
        said = host.run(f"cat {root}/lspci" if root else "lspci -Dnnvvv").stdout
    found = topology.devices(said)
    if not found:
        pytest.skip("lspci is not installed (package pciutils)")
    bad = [device.address for device in found if device.bridge and device.redirects]
    if bad:
        warn(
            f"ACS is on at the bridges {', '.join(bad)}: NCCL may hang or be slow between cards; "
            "`NCCL_P2P_DISABLE=1` avoids it; turning ACS off in the firmware mends it."
        )


ON_EVERY_CARD = """
import torch
for n in range(torch.cuda.device_count()):
    a, b = torch.randn(2, 512, 512, device=f'cuda:{n}')
    near = (a @ b).cpu().sub(a.cpu() @ b.cpu()).abs().max().item() < 0.5
    convolved = torch.nn.functional.conv2d(a[None, None], b[None, None, :3, :3]).isfinite().all()
    print(n, near and bool(convolved))
"""


# 256 MiB from each card added up on all of them, by NCCL in one process: right or not, and GB/s as
# nccl-tests count them on the bus.
TOGETHER = """
import time, torch
cards = range(torch.cuda.device_count())
parts = [torch.full((1 << 26,), float(n), device=f'cuda:{n}') for n in cards]
torch.cuda.nccl.all_reduce(parts)
right = all(bool((part == sum(cards)).all()) for part in parts)
started = time.perf_counter()
for _ in range(5):
    torch.cuda.nccl.all_reduce(parts)
for n in cards:
    torch.cuda.synchronize(n)
seconds = (time.perf_counter() - started) / 5
moved = 2 * (len(cards) - 1) / len(cards) * parts[0].nbytes
print(right, f'{moved / seconds / 1e9:.1f}')
"""


@pytest.fixture
def torch(rig: Rig, plan: Plan) -> None:
    if rig.python is None or rig.notebook is None or "torch" not in rig.python.frameworks:
        pytest.skip("this box was not asked for torch (Python.frameworks)")


@pytest.mark.tier("functional")
def test_torch_computes_on_every_card(
    host: Host, rig: Rig, torch: None, cards: tuple[Card, ...], root: str
) -> None:
    if root:
        pytest.skip("a fake GPU computes nothing")
    assert rig.notebook
    said = compute(host, rig.notebook, ON_EVERY_CARD, kernel="deeprig-torch")
    assert said.splitlines() == [f"{n} True" for n in range(len(cards))]


@pytest.mark.tier("functional")
@pytest.mark.remedy("an IOMMU or ACS in between may be why; see whether `NCCL_P2P_DISABLE=1` helps")
def test_nccl_adds_up_over_all_cards(
    host: Host, rig: Rig, torch: None, cards: tuple[Card, ...], root: str, note: Say
) -> None:
    """Between those that stay, where others were given to a guest; one that hangs ends after 300 s.

    What speed is good depends on how the cards are joined, so it is noted, not judged.
    """
    if root:
        pytest.skip("a fake GPU computes nothing")
    if len(cards) < 2:
        pytest.skip("there is one card")
    assert rig.notebook
    said = compute(host, rig.notebook, TOGETHER, kernel="deeprig-torch")
    right, _, speed = said.partition(" ")
    assert right == "True", f"NCCL's sum is wrong: {said}"
    note(f"NCCL between the {len(cards)} cards: {speed} GB/s")


@pytest.mark.tier("functional")
def test_a_kernel_from_nvcc_runs_on_every_card(
    host: Host, plan: Plan, cards: tuple[Card, ...], root: str
) -> None:
    if plan.cuda == stack.NONE:
        pytest.skip(f"no toolkit is planned: {plan.reasons.get('cuda', 'Rig.cuda is None')}")
    if root:
        pytest.skip("a fake GPU computes nothing")
    said = host.check_output("printf %%s %s | sh -c %s", PROGRAM, COMPILE_AND_RUN)
    assert said.splitlines() == [f"{n} 42 no error" for n in range(len(cards))]
