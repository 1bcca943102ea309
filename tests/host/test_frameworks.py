"""Each framework asked for computes, in an environment and a notebook kernel of its own."""

import shlex

import pytest
from packaging.requirements import Requirement
from testinfra.host import Host

from deeprig.facts.survey import Survey
from deeprig.resolver import environments
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig
from tests.host.computing import CUDNN_IN_USE, GPUS_SEEN, MULTIPLIES, NEAR
from tests.host.kernels import compute
from tests.host.sessions import login_shell


@pytest.fixture
def user(rig: Rig, framework: str) -> str:
    assert rig.notebook
    return rig.notebook.user


@pytest.fixture(params=["torch", "jax", "tensorflow"])
def framework(request: pytest.FixtureRequest, rig: Rig) -> str:
    name: str = request.param
    if rig.python is None or rig.notebook is None or name not in rig.python.frameworks:
        pytest.skip(f"this box was not asked for it (Python.frameworks has no {name!r})")
    return name


def test_the_framework_has_the_version_asked_for(
    host: Host, user: str, stack_plan: StackPlan, framework: str
) -> None:
    wanted = Requirement(environments.environment(framework, stack_plan).requirements[0])
    with host.sudo(user):
        installed = host.check_output(
            f"~/envs/{shlex.quote(framework)}/bin/python -c %s",
            f"import {framework}; print({framework}.__version__)",
        )
    assert wanted.specifier.contains(installed.splitlines()[-1], prereleases=True)


def test_the_frameworks_environment_has_all_it_needs(host: Host, user: str, framework: str) -> None:
    with host.sudo(user):
        assert "No broken requirements" in host.check_output(
            f"~/envs/{shlex.quote(framework)}/bin/pip check"
        )


def test_the_framework_multiplies_matrices_in_its_own_kernel(
    host: Host, rig: Rig, framework: str
) -> None:
    assert rig.notebook
    code = f"{MULTIPLIES[framework]}; {NEAR}"
    assert compute(host, rig.notebook, code, kernel=f"deeprig-{framework}") == "True"


def test_the_framework_computes_on_every_gpu(
    host: Host, rig: Rig, survey: Survey, framework: str
) -> None:
    gpus = survey.graphics.gpus
    if not gpus or survey.graphics.fake:
        pytest.skip("a fake GPU computes nothing" if gpus else "no NVIDIA GPU in this box")
    assert rig.notebook
    said = compute(host, rig.notebook, GPUS_SEEN[framework], kernel=f"deeprig-{framework}")
    assert said == f"3.0 {len(gpus)}"


@pytest.mark.remedy("take LD_LIBRARY_PATH out of the session, or the system's cuDNN off the box")
@pytest.mark.parametrize("where", ["notebook", "login shell"])
def test_torch_finds_its_own_cudnn(host: Host, rig: Rig, where: str) -> None:
    if rig.python is None or rig.notebook is None or "torch" not in rig.python.frameworks:
        pytest.skip("this box was not asked for torch (Python.frameworks)")
    if where == "notebook":
        said = compute(host, rig.notebook, CUDNN_IN_USE, kernel="deeprig-torch")
    else:
        program = f"~/envs/torch/bin/python -c {shlex.quote(CUDNN_IN_USE)}"
        said = login_shell(host, rig.notebook.user, program)
    if said == "no CUDA":
        pytest.skip("this torch is built without CUDA")
    version, *paths = said.split()
    assert version.isdigit() and paths, f"torch loads no cuDNN: {said}"
    outside = [path for path in paths if "/site-packages/" not in path]
    assert not outside, f"torch takes the system's cuDNN: {', '.join(outside)}"
