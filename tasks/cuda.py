"""The CUDA toolkit and NCCL from the distribution, which bring no kernel module along."""

from pyinfra.api.command import FunctionCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from deeprig.stack import Plan
from tasks import apt_components, operations, packages
from tasks.driver import COMPONENTS
from tasks.operations import Commands
from tasks.package_facts import InstalledPackages

# Debian's toolkit needs these libraries of a driver, also to compile; they fit their driver only.
LIBRARIES = ("libcuda1", "libnvidia-ml1")
DRIVERS = ("nvidia-driver", "nvidia-kernel-dkms", "nvidia-open-kernel-dkms", "xserver-xorg-core")


@deploy("CUDA")
def install(plan: Plan) -> None:
    """nvcc and the libraries, at the planned version, without recommends."""
    wanted = list(plan.cuda_packages)
    apt_components.enable(
        name="Have the archive's non-free parts for CUDA",
        components=COMPONENTS,
        package=wanted[0],
    )
    _brings_no_driver(name="See that no driver would come along", plan=plan)
    packages.install(name=f"Install CUDA {plan.cuda}", packages=wanted, watched=True)


class WouldInstall(FactBase[dict[str, str]]):
    """Name and version of what apt would install or upgrade for these packages; `loaded` is the
    version of the driver that runs now.
    """

    default = dict

    def command(self, packages: list[str]) -> str:
        return (
            f"apt-get -s --no-install-recommends install {' '.join(packages)} 2>/dev/null | "
            r"sed -nE 's/^Inst (\S+) (\[[^]]*\] )?\((\S+) .*/\1 \3/p'; "
            '! [ -r /sys/module/nvidia/version ] || echo "loaded $(cat /sys/module/nvidia/version)"'
        )

    def process(self, output: list[str]) -> dict[str, str]:
        return dict(line.split() for line in output if len(line.split()) == 2)


def unwelcome(would: dict[str, str], plan: Plan) -> str:
    """Why these packages must not come, in a sentence; empty if they may."""
    drivers = [name for name in DRIVERS if name in would and name not in plan.driver_packages]
    if drivers:
        return f"CUDA {plan.cuda} would bring {' and '.join(drivers)}, which the plan does not hold"
    loaded = would.get("loaded", "")
    for name in LIBRARIES:
        version = would.get(name, loaded).partition("-")[0]
        if loaded and version != loaded:
            return f"CUDA {plan.cuda} would bring {name} {version}, and driver {loaded} is loaded"
    return ""


@operation()
def _brings_no_driver(plan: Plan) -> Commands:
    """Fail before anything is installed where apt would bring a driver along."""
    wanted = list(plan.cuda_packages)
    if set(wanted) <= host.get_fact(InstalledPackages, packages=wanted):
        host.noop("CUDA is installed")
        return
    sentence = unwelcome(host.get_fact(WouldInstall, packages=wanted), plan)
    if sentence:
        yield FunctionCommand(_refuse, (f"{sentence}; Rig(cuda=None) leaves it out.",), {})
        return
    host.noop("no driver would come along")


def _refuse(state: State, host: Host, sentence: str) -> bool:
    operations.say(host, sentence, wrong=True)
    return False
