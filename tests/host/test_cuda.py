"""The toolkit compiles, is the planned one, and brought no driver along."""

import re

import pytest
from testinfra.host import Host

from deeprig import stack
from deeprig.gpus import identify
from deeprig.settings import Rig
from deeprig.survey import Survey
from tasks.cuda import DRIVERS

PROGRAM = r"""
#include <cuda_runtime.h>
#include <cstdio>
__global__ void add(int *a, int b) { *a += b; }
int main() { int *a; if (cudaMalloc(&a, 4)) return 0; add<<<1, 1>>>(a, 2); return 0; }
"""
IN_A_FOLDER = 'd=$(mktemp -d) && cd "$d" && {{ {}; }}; s=$?; rm -r "$d"; exit $s'


@pytest.fixture(scope="module")
def plan(stack_plan: stack.Plan, rig: Rig) -> stack.Plan:
    if rig.cuda is None:
        pytest.skip("Rig.cuda is None: no toolkit is wanted")
    return stack_plan


@pytest.fixture(scope="module")
def cards(survey: Survey, rig: Rig) -> list[str]:
    """The compute capabilities of the cards in the box, and of those to prepare for."""
    expected = [identify(pci_id) for pci_id in (rig.driver.gpus if rig.driver else ())]
    return sorted({card.compute_capability for card in (*survey.graphics.gpus, *expected)} - {""})


def compiled(host: Host, source: str, command: str) -> str:
    """What a command prints in a folder of its own, beside the source as a.cu."""
    steps = f"cat > a.cu <<'END'\n{source}\nEND\n{command}"
    return str(host.check_output("sh -c %s", IN_A_FOLDER.format(steps)))


def test_the_toolkit_is_the_planned_one(host: Host, plan: stack.Plan) -> None:
    said = host.check_output("nvcc --version")
    found = re.search(r"release (\d+\.\d+)", said)
    assert found and found[1] == plan.cuda


def test_every_planned_package_is_there(host: Host, plan: stack.Plan) -> None:
    missing = [name for name in plan.cuda_packages if not host.package(name).is_installed]
    assert missing == []


def test_the_toolkit_brought_no_driver_along(host: Host, plan: stack.Plan) -> None:
    there = [name for name in DRIVERS if host.package(name).is_installed]
    assert [name for name in there if name not in plan.driver_packages] == []


def test_no_metapackage_is_there_that_replaces_drivers(host: Host, plan: stack.Plan) -> None:
    assert not host.package("cuda").is_installed


def test_nccl_is_as_planned(host: Host, plan: stack.Plan) -> None:
    header = host.file("/usr/include/nccl.h")
    if plan.nccl == stack.NONE:
        assert not header.exists
        return
    numbers = dict(re.findall(r"#define NCCL_(MAJOR|MINOR|PATCH) (\d+)", header.content_string))
    assert f"{numbers['MAJOR']}.{numbers['MINOR']}.{numbers['PATCH']}" == plan.nccl


def test_no_library_path_is_set_for_everybody(host: Host, plan: stack.Plan) -> None:
    assert host.check_output("bash -lc 'echo $LD_LIBRARY_PATH'") == ""


@pytest.mark.tier("functional")
def test_nvcc_compiles_a_kernel(host: Host, plan: stack.Plan) -> None:
    said = compiled(host, PROGRAM, "nvcc -o a a.cu && test -x a && cuobjdump -lelf a")
    assert "sm_" in said


@pytest.mark.tier("functional")
def test_nvcc_compiles_for_the_cards(host: Host, plan: stack.Plan, cards: list[str]) -> None:
    if not cards:
        pytest.skip("there is no NVIDIA card in the box, and none to prepare for")
    for capability in cards:
        name = f"sm_{capability.replace('.', '')}"
        said = compiled(host, PROGRAM, f"nvcc -arch={name} -cubin -o a.cubin a.cu && echo made")
        assert said == "made", name


@pytest.mark.tier("functional")
def test_a_broken_kernel_does_not_compile(host: Host, plan: stack.Plan) -> None:
    """The control: the compiler does look at what it is given."""
    said = compiled(host, "__global__ void f() { nothing; }", "nvcc -c a.cu 2>&1 || echo refused")
    assert said.endswith("refused")
    assert 'identifier "nothing" is undefined' in said


@pytest.mark.tier("functional")
def test_a_program_links_with_nccl(host: Host, plan: stack.Plan) -> None:
    if plan.nccl == stack.NONE:
        pytest.skip(f"the plan for {plan.cuda} has no NCCL")
    source = (
        "#include <nccl.h>\n#include <cstdio>\nint main() { int v; ncclGetVersion(&v); "
        'printf("%d", v); }'
    )
    major, minor, patch = (int(part) for part in plan.nccl.split("."))
    said = compiled(host, source, "nvcc -o a a.cu -lnccl && ./a")
    assert int(said) == major * 10000 + minor * 100 + patch
