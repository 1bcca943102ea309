"""What is good to know of a driver that was chosen."""

from deeprig import catalog
from deeprig.catalog import tables
from deeprig.catalog.gpus import Gpu, is_one_of, whole_system
from deeprig.facts.gpus import GpuFacts
from deeprig.resolver import apt_index
from deeprig.resolver.driver_choice import Choice
from deeprig.resolver.request import Request, join_cards
from deeprig.ui.words import join_words


def of(request: Request, found: Choice) -> tuple[str, ...]:
    """A sentence for each thing."""
    sentences = (*_whole_systems(request), *_switches(request, found))
    return (*(f"{sentence}." for sentence in sentences), *new(request.graphics))


def new(graphics: GpuFacts) -> tuple[str, ...]:
    """What the box's apt has and no table knows."""
    drivers = [f"driver {name}" for name in apt_index.new_branches(graphics)]
    toolkits = [f"CUDA {version}" for version in apt_index.new_toolkits(graphics)]
    names = [*drivers, *toolkits]
    return (tables.unknown(join_words(names)),) if names else ()


def _whole_systems(request: Request) -> list[str]:
    rows = {str(card): row for card in request.cards if (row := whole_system(card))}
    return [
        f"{card} is {row['is']}; Rig(driver=None) leaves that driver alone"
        for card, row in rows.items()
    ]


def _switches(request: Request, found: Choice) -> list[str]:
    if not request.subnet_manager:
        return []
    return [
        f"{join_cards(_those(request, 'boards'))} comes on an HGX board whose NVSwitches are "
        f"reached through InfiniBand: the fabric manager of driver {found.branch} and nvlsm come "
        "with it; until they run, with the kernel's modules mlx5_ib and ib_umad, CUDA says 802 "
        "(system not yet initialized); how NVIDIA's repository numbers nvlsm is not "
        "known to deeprig"
    ]


def _those(request: Request, key: str) -> list[Gpu]:
    ids = catalog.load("gpus")["nvswitch"][key]
    return [card for card in request.cards if is_one_of(card, ids)]
