"""The cards answer, one by one, with the driver that was planned and the settings asked for."""

import re
import shlex
from collections.abc import Callable
from datetime import date

import pytest
from testinfra.host import Host

from deeprig.catalog import driver_parts
from deeprig.catalog.gpus import Gpu, hidden_switches
from deeprig.facts import gpu_failures
from deeprig.facts.survey import Survey
from deeprig.parsers import cuda_versions, kernel_modules, nvidia_smi, topology
from deeprig.parsers.nvidia_smi import FIELDS, QUERY, Card
from deeprig.resolver import resolve
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig
from deeprig.ssh import bounded
from deeprig_cli.verify.runner import NothingThere
from tasks.gpu_settings import FABRIC_MANAGER
from tests.host.computing import ON_EVERY_CARD, TOGETHER
from tests.host.kernels import compute
from tests.host.programs import Answer, ask

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
COMPILE_SECONDS = 300
COMPILE_AND_RUN = (
    'd=$(mktemp -d) && cd "$d" && cat > a.cu && '
    'PATH=/usr/local/cuda/bin:$PATH nvcc "$@" -o a a.cu && ./a; s=$?; rm -r "$d"; exit $s'
)
LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1")
# The file that a program gets for this name ($1), or what a pretended card ($2) has.
FIRST_LIBRARY = """
[ "$2" ] || f=$(PATH=/usr/sbin:/sbin:$PATH ldconfig -p |
  sed -nE "/x86-64|AArch64/s|^[[:space:]]+$1 .* => ||p" | head -n 1)
readlink -e "${f:-$2/usr/lib/$(uname -m)-linux-gnu/$1}"
"""
# N/A: the driver knows of no fabric for it.
FABRIC_WELL = ("Completed", "N/A", "[N/A]")
RESEAT = pytest.mark.remedy("power off; look at the card's seat, its riser and power cables")
REBOOT = pytest.mark.remedy("reboot; if it stays, `deeprig driver status` says what moved")

Say = Callable[[str], None]


@pytest.fixture(scope="module")
def plan(stack_plan: StackPlan, rig: Rig) -> StackPlan:
    if rig.driver is None:
        pytest.skip("Rig.driver is None: the driver is left to its owner")
    return stack_plan


@pytest.fixture(scope="module")
def present(plan: StackPlan, survey: Survey) -> tuple[Gpu, ...]:
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
    return ask(host, *QUERY)


@pytest.fixture(scope="module")
def cards(answer: Answer) -> tuple[Card, ...]:
    """The cards as nvidia-smi has them."""
    if gpu_failures.failure(answer.text, answer.status):
        pytest.skip("nvidia-smi does not answer whole: the check that it answers says why")
    return nvidia_smi.cards(answer.text, FIELDS)


@pytest.fixture
def kernel_log(host: Host, root: str) -> str:
    """What the driver has written into the kernel's log since the boot."""
    with host.sudo():
        return ask(host, *(["cat", f"{root}/kernel.log"] if root else gpu_failures.KERNEL_LOG)).out


@REBOOT
def test_nvidia_smi_answers(answer: Answer, kernel_log: str) -> None:
    failure = gpu_failures.failure(answer.text, answer.status, kernel_log)
    assert not failure, failure


@RESEAT
def test_no_card_has_failed_since_the_boot(kernel_log: str, warn: Say) -> None:
    """It may work on after an Xid, or seem to."""
    if said := gpu_failures.xids(kernel_log):
        warn("; ".join(said))


def test_every_card_says_what_it_is_asked(
    answer: Answer, cards: tuple[Card, ...], warn: Say
) -> None:
    """What cannot be read is no word for what is not there."""
    told = [f"{card} cannot tell {', '.join(card.unreadable)}" for card in cards if card.unreadable]
    told += gpu_failures.warnings(answer.text)
    if told:
        warn("; ".join(told))


@RESEAT
def test_every_card_on_the_bus_is_driven(present: tuple[Gpu, ...], cards: tuple[Card, ...]) -> None:
    missing = {gpu.address for gpu in present} - {card.address for card in cards}
    assert not missing, f"on the bus, and not with the driver: {', '.join(sorted(missing))}"
    assert len(cards) == len(present), (
        f"nvidia-smi tells of {len(cards)} cards, and {len(present)} are on the bus"
    )


@REBOOT
def test_no_other_driver_holds_a_card(host: Host, present: tuple[Gpu, ...], root: str) -> None:
    """nouveau and nova_core take a card at boot, vfio-pci takes one for a guest."""
    holders = {
        gpu.address: host.run(
            "readlink %s", f"{root}/sys/bus/pci/devices/{gpu.address}/driver"
        ).stdout
        for gpu in present
    }
    names = {address: way.strip().rpartition("/")[2] for address, way in holders.items()}
    others = [f"{address} by {name or 'nothing'}" for address, name in names.items()]
    assert set(names.values()) == {"nvidia"}, f"the cards are held: {', '.join(others)}"


@REBOOT
def test_module_library_and_plan_are_one_version(host: Host, plan: StackPlan, root: str) -> None:
    loaded = host.run(f"cat {root}/sys/module/nvidia/version").stdout.strip() or "none"
    for name in LIBRARIES:
        file = host.run("sh -c %s sh %s %s", FIRST_LIBRARY, name, root).stdout.strip()
        library = file.rpartition(".so.")[2] or "none"
        assert loaded == library, (
            f"the module that is loaded is {loaded}, {name} is {library} ({file or 'not there'}); "
            "`deeprig driver status` says whose it is"
        )
    assert loaded.startswith(f"{plan.driver_branch}."), (
        f"driver {loaded} is loaded, and the plan is {plan.driver_branch}"
    )


@REBOOT
def test_the_loaded_module_is_of_the_planned_flavour(
    host: Host, plan: StackPlan, root: str
) -> None:
    running = kernel_modules.running(host.run(f"cat {root}/proc/driver/nvidia/version").stdout)
    assert running, "no NVIDIA module is loaded"
    assert running.flavour == plan.module_flavour, (
        f"the {running.flavour} modules are loaded, the plan is the {plan.module_flavour} ones"
    )


def test_every_card_says_the_same_driver(plan: StackPlan, cards: tuple[Card, ...]) -> None:
    others = [
        f"{card} says {card.driver or 'no driver'}"
        for card in cards
        if (card.driver or "").partition(".")[0] != plan.driver_branch
    ]
    assert not others, f"the plan is {plan.driver_branch}: {', '.join(others)}"
    assert cards, "nvidia-smi tells of no card"


def test_the_cards_are_what_the_table_says(
    present: tuple[Gpu, ...], cards: tuple[Card, ...]
) -> None:
    table = {gpu.address: gpu.compute_capability for gpu in present if gpu.compute_capability}
    others = [
        f"{card} says compute capability {card.compute_capability}, deeprig's table {table[there]}"
        for card in cards
        if (there := card.address or "") in table
        and card.compute_capability not in (None, table[there])
    ]
    assert not others, "; ".join(others)


def test_persistence_is_on(cards: tuple[Card, ...], warn: Say) -> None:
    off = [str(card) for card in cards if card.persistence is False]
    assert not off, f"persistence is off: {', '.join(off)}"
    if unknown := [str(card) for card in cards if card.persistence is None]:
        warn(f"nvidia-smi does not say whether persistence is on: {', '.join(unknown)}")


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
        assert card.power_limit is not None, (
            f"{card} does not say its power limit, which is to be {limit.watts} W"
        )
        assert card.power_limit == limit.watts, (
            f"{card} is at {card.power_limit} W, not at {limit.watts} W; it takes "
            f"{card.power_min} to {card.power_max} W"
        )


def test_the_modules_options_are_in_force(host: Host, rig: Rig, root: str) -> None:
    assert rig.driver
    if not rig.driver.module_options:
        pytest.skip("Driver.module_options is empty")
    loaded = kernel_modules.parameters(host.run(f"cat {root}{kernel_modules.PARAMETERS}").stdout)
    waiting = kernel_modules.pending_options(rig.driver.module_options, loaded)
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
        if card.link_width is not None and card.link_width < wide:
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
        if card.link_generation and card.link_generation < (card.link_generation_max or 0)
    ]
    if slow:
        warn(f"{', '.join(slow)}; look at its riser and the slot's setting in the firmware.")


def test_cuda_is_of_no_newer_major_than_the_driver(
    host: Host, plan: StackPlan, cards: tuple[Card, ...], note: Say
) -> None:
    """A driver runs every toolkit of its own major: NVIDIA's minor-version compatibility."""
    if plan.cuda == resolve.NONE:
        pytest.skip(f"no toolkit is planned: {plan.reasons.get('cuda', 'Rig.cuda is None')}")
    said = host.run("/usr/local/cuda/bin/nvcc --version || nvcc --version").stdout
    release, _ = cuda_versions.nvcc(said) or (plan.cuda, "")
    answer = ask(host, "nvidia-smi")
    banner = nvidia_smi.banner(answer.out)
    failure = gpu_failures.failure(answer.text, answer.status)
    assert banner, failure or "nvidia-smi does not say up to which CUDA its driver goes"
    assert number(release)[:1] <= number(banner.cuda)[:1], (
        f"CUDA {release} is of a newer major than driver {banner.driver}, which is of CUDA "
        f"{banner.cuda}"
    )
    if number(release) > number(banner.cuda):
        note(f"CUDA {release} is newer than the driver's own, {banner.cuda}")


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_mig_ecc_and_compute_mode_are_as_their_owner_left_them(
    cards: tuple[Card, ...], note: Say
) -> None:
    """They are reported and never touched."""
    said = [
        f"{card}: MIG {card.mig or 'n/a'}, ECC {card.ecc or 'n/a'}, {card.compute_mode or 'n/a'}"
        for card in cards
    ]
    note("; ".join(dict.fromkeys(said)))


def test_the_driver_still_gets_fixes(plan: StackPlan, present: tuple[Gpu, ...], warn: Say) -> None:
    if said := resolve.dated(plan, date.today()):
        warn("; ".join(said))


def test_nothing_is_wanting_in_the_plan(
    plan: StackPlan, present: tuple[Gpu, ...], warn: Say
) -> None:
    if plan.warnings:
        warn("; ".join(plan.warnings))


@pytest.fixture
def fabric(present: tuple[Gpu, ...], survey: Survey) -> str:
    """Why the cards compute nothing without a fabric manager."""
    if survey.graphics.nvswitch:
        return "there are NVSwitches"
    if board := hidden_switches(present):
        return f"this is {board['means']}, which needs {board['needs']}"
    pytest.skip("there is no NVSwitch, and no board that hides them")


@pytest.mark.remedy("`journalctl -u nvidia-fabricmanager` says why; its version is the driver's")
def test_the_fabric_manager_runs(host: Host, fabric: str) -> None:
    """Without it cards behind an NVSwitch compute nothing."""
    assert host.service(FABRIC_MANAGER).is_running, f"{fabric}, and {FABRIC_MANAGER} does not run"


@pytest.mark.remedy(
    "`sudo modprobe ib_umad`; where there is none, on Ubuntu `sudo apt install "
    "linux-modules-extra-$(uname -r)` brings it; then restart nvidia-fabricmanager"
)
def test_the_subnet_manager_reaches_the_switches(
    host: Host, plan: StackPlan, fabric: str, root: str
) -> None:
    """Those of NVLink 5 are spoken with through InfiniBand's ib_umad, which nothing loads."""
    if "nvlsm" not in plan.driver_packages:
        pytest.skip("its NVSwitches need no subnet manager here")
    where = "sys/class/infiniband_mad/abi_version"
    assert host.file(f"{root}/{where}").exists, f"{fabric}, and /{where} is not there"


@pytest.mark.remedy("`deeprig driver upgrade` moves the driver and what belongs to it together")
def test_the_fabric_managers_version_is_the_drivers(
    host: Host, fabric: str, cards: tuple[Card, ...]
) -> None:
    """Another build, if only of the same branch, leaves CUDA with error 802."""
    loaded = next((card.driver for card in cards if card.driver), "")
    said = host.check_output("dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n'")
    rows = [line.split() for line in said.splitlines()]
    others = driver_parts.of_another_version(
        {name: version for state, name, version in rows if state == "installed"}, loaded
    )
    assert not others, f"driver {loaded} is loaded, and {', '.join(others)}"


@pytest.mark.remedy("`journalctl -u nvidia-fabricmanager` says why; until then CUDA says 802")
def test_the_cards_are_in_their_fabric(host: Host, fabric: str, cards: tuple[Card, ...]) -> None:
    """nvidia-smi looks well while a card still waits for its fabric."""
    said = ask(host, "nvidia-smi", "--query-gpu=pci.bus_id,fabric.state", "--format=csv,noheader")
    if "not a valid field" in said.text:
        pytest.skip("this driver does not tell of its fabric")
    rows = [line.split(", ") for line in said.out.splitlines() if ", " in line]
    waits = [f"{card} is {state}" for card, state in rows if state not in FABRIC_WELL]
    assert not waits, f"{fabric}: {', '.join(waits)}"


def test_how_the_cards_are_joined(host: Host, cards: tuple[Card, ...], note: Say) -> None:
    if len(cards) < 2:
        pytest.skip("there is one card")
    answer = ask(host, "nvidia-smi", "topo", "-m")
    found = topology.read(answer.out)
    failure = gpu_failures.failure(answer.text, answer.status)
    assert len(found.gpus) == len(cards), (
        failure or f"`nvidia-smi topo -m` tells of {len(found.gpus)} cards of {len(cards)}"
    )
    kinds = sorted({link for (a, b), link in found.links.items() if a < b and b in found.gpus})
    note(f"between the cards: {', '.join(kinds)}")


def test_no_bridge_sends_traffic_between_cards_through_the_processor(
    host: Host, root: str, cards: tuple[Card, ...], warn: Say
) -> None:
    if len(cards) < 2:
        pytest.skip("there is one card")
    with host.sudo():
        said = ask(host, *(["cat", f"{root}/lspci"] if root else ["lspci", "-Dnnvvv"]))
    if said.status == bounded.MISSING:
        pytest.skip("lspci is not installed (package pciutils)")
    found = topology.devices(said.out)
    assert found, f"lspci does not say what is on the bus: {said.err.strip() or 'it says nothing'}"
    bad = [device.address for device in found if device.bridge and device.redirects]
    if bad:
        warn(
            f"ACS is on at the bridges {', '.join(bad)}: NCCL may hang or be slow between cards; "
            "`NCCL_P2P_DISABLE=1` avoids it; turning ACS off in the firmware mends it."
        )


@pytest.fixture
def torch(rig: Rig, plan: StackPlan) -> None:
    if rig.python is None or rig.notebook is None or "torch" not in rig.python.frameworks:
        pytest.skip("this box was not asked for torch (Python.frameworks)")


@pytest.mark.tier("functional")
def test_torch_computes_on_every_card(
    host: Host, rig: Rig, torch: None, cards: tuple[Card, ...], root: str
) -> None:
    if root:
        pytest.skip("a fake GPU computes nothing")
    assert rig.notebook
    shown = shown_devices(host, cards)
    said = compute(host, rig.notebook, ON_EVERY_CARD, kernel="deeprig-torch").splitlines()
    assert len(said) in shown, f"torch has {len(said)} cards of {len(cards)}: {'; '.join(said)}"
    wrong = [line for line in said if not line.endswith(" True")]
    assert not wrong, f"torch computes wrongly: {'; '.join(wrong)}"


def shown_devices(host: Host, cards: tuple[Card, ...]) -> range:
    """How many devices CUDA may show; where that is none by MIG there is nothing to compute on."""
    shown = nvidia_smi.devices(cards, ask(host, "nvidia-smi", "-L").out)
    if not max(shown):
        pytest.skip("MIG is on and no instance is made: `sudo nvidia-smi mig -cgi PROFILE -C`")
    return shown


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
    if any(card.mig == "Enabled" for card in cards):
        pytest.skip("MIG is on, and NCCL does not go between its instances")
    assert rig.notebook
    said = compute(host, rig.notebook, TOGETHER, kernel="deeprig-torch")
    right, _, speed = said.partition(" ")
    assert right == "True", f"NCCL's sum is wrong: {said}"
    note(f"NCCL between the {len(cards)} cards: {speed} GB/s")


@pytest.mark.tier("functional")
def test_a_kernel_from_nvcc_runs_on_every_card(
    host: Host, plan: StackPlan, cards: tuple[Card, ...], root: str
) -> None:
    if plan.cuda == resolve.NONE:
        pytest.skip(f"no toolkit is planned: {plan.reasons.get('cuda', 'Rig.cuda is None')}")
    if root:
        pytest.skip("a fake GPU computes nothing")
    shown = shown_devices(host, cards)
    script = f"printf %s {shlex.quote(PROGRAM)} | {{ {COMPILE_AND_RUN}; }}"
    done = ask(host, "sh", "-c", script, "sh", *nvidia_smi.code(cards), seconds=COMPILE_SECONDS)
    said = done.out.splitlines()
    told = (done.err.strip() or done.out.strip() or "nothing").splitlines()[-1]
    assert done.status == 0, f"a kernel from nvcc does not run: {told}"
    assert len(said) in shown, f"CUDA has {len(said)} cards of {len(cards)}: {'; '.join(said)}"
    wrong = [line for n, line in enumerate(said) if line != f"{n} 42 no error"]
    assert not wrong, f"a kernel from nvcc computes wrongly: {'; '.join(wrong)}"
