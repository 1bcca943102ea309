"""The toolkit compiles, is the planned one, and brought no driver along."""

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Any

import pytest
from testinfra.host import Host

from deeprig.catalog.gpus import identify
from deeprig.facts.survey import Survey
from deeprig.operations import box_program
from deeprig.parsers import untrusted
from deeprig.resolver import resolve
from deeprig.settings import Rig
from deeprig_cli.verify.runner import NothingThere
from tasks.cuda import DRIVERS
from tasks.cuda_path import PROGRAMS
from tests.host import sessions

PROGRAM = r"""
#include <cuda_runtime.h>
#include <cstdio>
__global__ void add(int *a, int b) { *a += b; }
int main() {
  int cards = 0, here = 40, *there;
  cudaError_t error = cudaGetDeviceCount(&cards);
  if (error || !cards) { printf("no card: %s\n", cudaGetErrorString(error)); return 0; }
  cudaMalloc(&there, sizeof here);
  cudaMemcpy(there, &here, sizeof here, cudaMemcpyHostToDevice);
  add<<<1, 1>>>(there, 2);
  cudaMemcpy(&here, there, sizeof here, cudaMemcpyDeviceToHost);
  printf("%d: %s\n", here, cudaGetErrorString(cudaGetLastError()));
}
"""
# Where nvcc puts a program's code for cards, and the machine that its object files are for (ELF).
FOR_CARDS = re.compile(r"\.nv_fatbin +PROGBITS +[0-9a-f]+ +[0-9a-f]+ +([0-9a-f]+)")
EM_CUDA = 190
STAND_IN = "the lab's stand-in of nvcc makes nothing for a card"
Say = Callable[[str], None]
DRIVER_SET = box_program.command(
    "from deeprig_box.nvidia import driver; print(*driver.driver_set())"
)
IN_A_FOLDER = 'd=$(mktemp -d) && cd "$d" && {{ {}; }}; s=$?; rm -r "$d"; exit $s'


@pytest.fixture(scope="module")
def plan(stack_plan: resolve.StackPlan, rig: Rig) -> resolve.StackPlan:
    if rig.cuda is None:
        pytest.skip("Rig.cuda is None: no toolkit is wanted")
    if not stack_plan.cuda_packages:
        raise NothingThere(f"there is no CUDA in the plan: {stack_plan.reasons['cuda']}")
    return stack_plan


@pytest.fixture(scope="module")
def cards(survey: Survey, rig: Rig) -> list[str]:
    """The compute capabilities of the cards in the box, and of those to prepare for."""
    expected = [identify(pci_id) for pci_id in (rig.driver.gpus if rig.driver else ())]
    return sorted({card.compute_capability for card in (*survey.graphics.gpus, *expected)} - {""})


@pytest.fixture(scope="module")
def stand_in(host: Host, plan: resolve.StackPlan) -> bool:
    """Whether the compiler is the lab's, which hands kernels to g++ as plain functions."""
    return "stand-in made by deeprig's lab" in host.check_output("nvcc --version")


def compiled(host: Host, source: str, command: str) -> str:
    """What a command prints in a folder of its own, beside the source as a.cu."""
    steps = f"cat > a.cu <<'END'\n{source}\nEND\n{command}"
    return str(host.check_output("sh -c %s", IN_A_FOLDER.format(steps)))


def test_the_toolkit_is_the_planned_one(host: Host, plan: resolve.StackPlan) -> None:
    said = host.check_output("nvcc --version")
    found = re.search(r"release (\d+\.\d+)", said)
    assert found and found[1] == plan.cuda


def test_every_planned_package_is_there(host: Host, plan: resolve.StackPlan) -> None:
    names = plan.names(plan.cuda_packages)
    assert [name for name in names if not host.package(name).is_installed] == []


def test_every_package_is_of_the_planned_version(host: Host, plan: resolve.StackPlan) -> None:
    asked = dict(entry.split("=", 1) for entry in plan.cuda_packages if "=" in entry)
    if not asked:
        pytest.skip("the plan names no versions: the archive has one")
    found = {name: str(host.package(name).version) for name in asked}
    assert [name for name in asked if not fnmatchcase(found[name], asked[name])] == []


def test_an_upgrade_keeps_the_libraries_at_their_cuda(host: Host, plan: resolve.StackPlan) -> None:
    if plan.cuda_source != "nvidia":
        pytest.skip("the archive has one CUDA")
    said = host.check_output("apt-get -s -o Debug::NoLocking=true dist-upgrade")
    coming = dict(re.findall(r"^Inst (libcudnn\S*|libnccl\S*) .*?\((\S+) ", said, re.MULTILINE))
    pins = [(glob, version) for glob, version in plan.pins if coming]
    for name, version in coming.items():
        for globs, pattern in pins:
            if any(fnmatchcase(name, glob) for glob in globs.split()):
                assert fnmatchcase(version, pattern), name


def test_the_toolkit_brought_no_driver_along(host: Host, plan: resolve.StackPlan) -> None:
    said = host.check_output("dpkg-query -W -f '${db:Status-Status} ${Package}\\n'")
    there = [line.split()[1] for line in said.splitlines() if line.startswith("installed ")]
    drivers = [name for name in there if DRIVERS.match(name)]
    if plan.driver_packages:
        with host.sudo():
            own = host.check_output("sh -c %s", DRIVER_SET).split()
        drivers = [name for name in drivers if name not in own]
    assert drivers == []


def test_no_metapackage_is_there_that_replaces_drivers(host: Host, plan: resolve.StackPlan) -> None:
    assert not host.package("cuda").is_installed


def test_nccl_is_as_planned(host: Host, plan: resolve.StackPlan) -> None:
    header = host.file("/usr/include/nccl.h")
    if plan.nccl == resolve.NONE:
        assert not header.exists
        return
    numbers = dict(re.findall(r"#define NCCL_(MAJOR|MINOR|PATCH) (\d+)", header.content_string))
    there = f"{numbers['MAJOR']}.{numbers['MINOR']}.{numbers['PATCH']}"
    assert fnmatchcase(there, plan.nccl.partition("+")[0])


@pytest.mark.parametrize("kind", [*sessions.SESSIONS, "user unit"])
def test_the_compiler_is_found_and_no_library_path_set(
    host: Host, plan: resolve.StackPlan, rig: Rig, data: dict[str, Any], login: Any, kind: str
) -> None:
    if kind == "notebook" and rig.notebook is None:
        pytest.skip("Rig.notebook is None: there is no notebook server")
    user = rig.notebook.user if rig.notebook else str(data["ssh_user"])
    expected = f"{PROGRAMS}/nvcc" if plan.cuda_source == "nvidia" else "/usr/bin/nvcc"
    if kind == "user unit":
        unit = sessions.environment(kind, host=host, user=user, login=login)
        found = host.check_output("env PATH=%s sh -c 'command -v nvcc'", unit["PATH"])
        said = [found, f"library path:{unit.get('LD_LIBRARY_PATH', '')}", unit["PATH"]]
    else:
        sessions.needs_profile(kind, host, user)
        command = 'command -v nvcc; echo "library path:$LD_LIBRARY_PATH"; echo "$PATH"'
        said = sessions.run(kind, command, host=host, user=user, login=login).splitlines()
    assert said[0] == expected
    assert said[1] == "library path:"
    assert "/usr/bin" in said[2].split(":")  # the control: what was there before still is


def test_the_libraries_are_not_loaded_before_everybody_elses(
    host: Host, plan: resolve.StackPlan
) -> None:
    """/etc/environment and profile.d are where instructions tell people to put it."""
    said = host.run("grep -rs LD_LIBRARY_PATH= /etc/environment /etc/profile.d /etc/environment.d")
    assert said.stdout == ""


@pytest.mark.tier("functional")
@pytest.mark.parametrize(
    ("library", "function", "scale"),
    [("libcudnn.so.9", "cudnnGetVersion", (10000, 100)), ("libnccl.so.2", "ncclGetVersion", ())],
)
def test_the_library_loads_and_gives_its_version(
    host: Host, plan: resolve.StackPlan, library: str, function: str, scale: tuple[int, ...]
) -> None:
    planned = plan.cudnn if scale else plan.nccl
    if planned == resolve.NONE:
        pytest.skip(f"the plan for {plan.cuda} has no {library}")
    ask = f"import ctypes; l = ctypes.CDLL('{library}'); "
    ask += (
        f"print(l.{function}())" if scale
        else f"v = ctypes.c_int(); l.{function}(ctypes.byref(v)); print(v.value)"
    )  # fmt: skip
    number = int(host.check_output("python3 -I -c %s", ask))
    parts = (number // 10000, number // 100 % 100, number % 100)
    wanted = [int(part) for part in takewhile(str.isdigit, planned.split("."))][:3]
    assert list(parts[: len(wanted)]) == wanted


@pytest.mark.tier("functional")
def test_a_program_that_nvcc_compiled_runs(
    host: Host, plan: resolve.StackPlan, survey: Survey, stand_in: bool, note: Say
) -> None:
    """On a card, where there is one; else up to where it would need one."""
    said = compiled(host, PROGRAM, "nvcc -o a a.cu && ./a").strip()
    if stand_in:
        note(f"{STAND_IN}; the program itself runs")
    if survey.graphics.gpus and not survey.graphics.fake:
        assert said == "42: no error"
    else:
        assert said.startswith("no card: ")


@pytest.mark.tier("functional")
def test_the_program_holds_code_for_a_card(
    host: Host, plan: resolve.StackPlan, stand_in: bool
) -> None:
    if stand_in:
        pytest.skip(STAND_IN)
    said = compiled(host, PROGRAM, "nvcc -o a a.cu && readelf --wide --sections a")
    found = FOR_CARDS.search(said)
    assert found and int(found[1], 16) > 0


@pytest.mark.tier("functional")
def test_nvcc_compiles_for_the_cards(
    host: Host, plan: resolve.StackPlan, cards: list[str], stand_in: bool, note: Say
) -> None:
    if stand_in:
        note(f"{STAND_IN}; it knows their architecture")
    if not cards:
        raise NothingThere("there is no NVIDIA card in the box, and none to prepare for")
    for capability in cards:
        name = f"sm_{untrusted.number(capability.replace('.', ''))}"
        command = f"nvcc -arch={name} -cubin -o a.cubin a.cu && od -An -tu2 -j18 -N2 a.cubin"
        machine = int(compiled(host, PROGRAM, command))
        assert (machine == EM_CUDA) != stand_in, name


@pytest.mark.tier("functional")
def test_a_broken_kernel_does_not_compile(host: Host, plan: resolve.StackPlan) -> None:
    """The control: the compiler does look at what it is given."""
    said = compiled(host, "__global__ void f() { nothing; }", "nvcc -c a.cu 2>&1 || echo refused")
    assert said.endswith("refused")
    assert re.search("error: .*nothing", said)


@pytest.mark.tier("functional")
def test_a_program_links_with_nccl(host: Host, plan: resolve.StackPlan) -> None:
    if plan.nccl == resolve.NONE:
        pytest.skip(f"the plan for {plan.cuda} has no NCCL")
    source = (
        "#include <nccl.h>\n#include <cstdio>\nint main() { int v; ncclGetVersion(&v); "
        'printf("%d", v); }'
    )
    major, rest = divmod(int(compiled(host, source, "nvcc -o a a.cu -lnccl && ./a")), 10000)
    found = f"{major}.{rest // 100}.{rest % 100}"
    assert fnmatchcase(found, plan.nccl.partition("+")[0])
