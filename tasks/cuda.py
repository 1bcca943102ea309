"""The CUDA toolkit, cuDNN and NCCL of the plan, which bring no kernel module along."""

import re
import shlex

from pyinfra.api.deploy import deploy
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from deeprig import operations
from deeprig.operations import apt_components, apt_repositories, packages
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.core import Commands
from deeprig.operations.footprint import Footprint
from deeprig.operations.package_facts import PackageVersions
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig
from deeprig.ssh import as_user
from tasks import cuda_path, nvidia_repository

# Debian's toolkit needs these libraries of a driver, also to compile; they fit their driver only.
LIBRARIES = ("libcuda1", "libnvidia-ml1")
DRIVERS = re.compile(
    r"^(nvidia-driver(-cuda|-\d+.*)?|nvidia-(open-)?kernel(-open)?-(dkms|source)|nvidia-dkms.*"
    r"|nvidia-open(-\d+)?|nvidia-headless.*|libnvidia-compute.*|linux-modules-nvidia.*"
    r"|cuda-drivers.*|cuda(-runtime)?(-\d+-\d+)?|xserver-xorg-core)$"
)


def footprint(*, repository_stays: bool) -> Footprint:
    """What CUDA leaves; NVIDIA's repository stays where the driver comes from there too."""
    return Footprint(
        files=cuda_path.FILES,
        packages=(
            *("cuda-.*", "libcudnn.*", "libnccl.*", "nvidia-cuda-toolkit.*"),
            *("lib(cu|np|nv).*",),
        ),
        before=(cuda_path.removal(),)
        + (() if repository_stays else (apt_repositories.removal(nvidia_repository.NAME),)),
        after=(as_user.of_each_manager("daemon-reload"),),
        residue_check=f"grep -s {cuda_path.PROGRAMS} {cuda_path.PAM}",
    )


@deploy("CUDA")
def install(plan: StackPlan, rig: Rig) -> None:
    """nvcc and the libraries, at the planned version, without recommends, on everybody's PATH."""
    if not plan.cuda_packages:
        operations.say(host, f"No CUDA: {plan.reasons['cuda']}.")
        return
    if plan.cuda_source == "distro":
        apt_components.enable(
            name="Have the archive's parts for CUDA",
            package=plan.cuda_packages[0],
        )
    elif plan.driver_source != "nvidia" or rig.driver is None:
        nvidia_repository.provide(plan=plan, driver=None, cuda=rig.cuda)
    _brings_no_driver(name="See that no driver would come along", plan=plan)
    packages.install(
        name=f"Install CUDA {plan.cuda}", packages=list(plan.cuda_packages), watched=True
    )
    if plan.cuda_source == "nvidia":
        cuda_path.provide()


class WouldInstall(BoxFact[dict[str, str]]):
    """Name and version of what apt would install or upgrade for these packages; `loaded` is the
    version of the driver that runs now.
    """

    default = dict

    def command(self, packages: list[str]) -> str:
        return (
            f"apt-get -s --no-install-recommends install {shlex.join(packages)} 2>/dev/null | "
            r"sed -nE 's/^Inst (\S+) (\[[^]]*\] )?\((\S+) .*/\1 \3/p'; "
            '! [ -r /sys/module/nvidia/version ] || echo "loaded $(cat /sys/module/nvidia/version)"'
        )

    def process(self, output: list[str]) -> dict[str, str]:
        return dict(line.split() for line in output if len(line.split()) == 2)


def unwelcome(would: dict[str, str], plan: StackPlan) -> str:
    """Why these packages must not come, in a sentence; empty if they may."""
    drivers = [name for name in would if DRIVERS.match(name) and name not in plan.driver_packages]
    if drivers:
        return f"CUDA {plan.cuda} would bring {' and '.join(drivers)}, which the plan does not hold"
    loaded = would.get("loaded", "")
    for name in LIBRARIES:
        version = would.get(name, loaded).partition("-")[0]
        if loaded and version != loaded:
            return f"CUDA {plan.cuda} would bring {name} {version}, and driver {loaded} is loaded"
    return ""


@operation()
def _brings_no_driver(plan: StackPlan) -> Commands:
    """Fail before anything is installed where apt would bring a driver along."""
    names = list(plan.cuda_packages)
    if not packages.lacking(names, host.get_fact(PackageVersions, packages=names)):
        host.noop("CUDA is installed")
        return
    sentence = unwelcome(host.get_fact(WouldInstall, packages=names), plan)
    if sentence:
        yield operations.Step(_refuse, f"{sentence}; Rig(cuda=None) leaves it out.")
        return
    host.noop("no driver would come along")


def _refuse(state: State, host: Host, sentence: str) -> bool:
    operations.say(host, sentence, wrong=True)
    return False
