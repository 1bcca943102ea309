"""What holds for any cards, systems, settings and indexes: found by trying many."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from deeprig import catalog
from deeprig.catalog import branches, gpu_limits, package_names
from deeprig.catalog.branches import number
from deeprig.catalog.gpus import identify
from deeprig.facts.gpus import GpuFacts
from deeprig.resolver.refusal import Refusal
from deeprig.resolver.resolve import StackPlan, resolve
from deeprig.settings import Cuda, Driver

SYSTEMS = [f"{row['id']}-{row['version']}" for row in catalog.load("systems")["system"]]
IDS = [
    *sorted(catalog.load("gpus")["ids"]["names"]),
    "3000",
    "3200",
    "3340",
    "06d8",
    "1eb4",
    "2b00",
    "0000",
]
RANGES = catalog.load("gpus")["ids"]["ranges"]
BRANCHES = [*branches.known(), "470", "640"]
CUDAS = [row["version"] for row in catalog.load("cuda")["toolkit"]]
TORCHES = [
    *(row["torch"] for row in catalog.load("torch")["build"]),
    *catalog.load("torch")["releases"]["versions"],
]
NAMES = sorted(
    name for system in SYSTEMS for source in ("distro", "nvidia")
    for name in package_names.of(system, source)
)  # fmt: skip

ids = some.one_of(
    some.sampled_from(IDS).map(lambda device: f"10de:{device}"),
    some.integers(0, 0xFFFF).map(lambda device: f"10de:{device:04x}"),
)
anything = some.one_of(ids, some.text(max_size=12))
drivers = some.builds(
    Driver,
    source=some.sampled_from([None, "distro", "nvidia"]),
    branch=some.one_of(some.none(), some.sampled_from(BRANCHES)),
    flavour=some.sampled_from([None, "open", "proprietary"]),
    gpus=some.lists(ids, max_size=2).map(tuple),
    desktop=some.sampled_from([None, "keep", "off"]),
)
toolkits = some.builds(
    Cuda,
    source=some.sampled_from(["distro", "nvidia"]),
    version=some.one_of(some.none(), some.sampled_from(CUDAS)),
    parts=some.sampled_from(["build", "full", "none"]),
)
versions = some.lists(
    some.sampled_from(["580.178.04-0ubuntu1", "595.71.05-1", "2.28.9-1+cuda13.0", "9.10.2.21-1"]),
    max_size=2,
).map(tuple)
offered = some.one_of(
    some.none(), some.dictionaries(some.sampled_from(NAMES), versions, max_size=40)
)


def boxes(cards: some.SearchStrategy[str]) -> some.SearchStrategy[GpuFacts]:
    return some.builds(
        GpuFacts,
        gpus=some.lists(cards, max_size=3).map(lambda found: tuple(map(identify, found))),
        kernels=some.sampled_from([None, (), ("6.8.0-142-generic",), ("6.1.0-56-amd64",)]),
        secure_boot=some.booleans(),
        loaded_driver=some.one_of(some.sampled_from(["", "580.178.04"]), some.text(max_size=8)),
        kernel_packages=some.sampled_from([(), ("linux-image-generic",), ("linux-image-amd64",)]),
        desktop=some.sampled_from(["", "gdm.service"]),
        module_key_enrolled=some.booleans(),
        modaliases=some.lists(some.text(max_size=60), max_size=2).map(tuple),
        offers=offered,
        nvswitch=some.booleans(),
    )


Asked = dict[str, Any]
questions = some.fixed_dictionaries(
    {
        "system": some.sampled_from(SYSTEMS),
        "graphics": boxes(ids),
        "driver": some.one_of(some.none(), drivers),
        "cuda": some.one_of(some.none(), toolkits),
        "torch": some.one_of(some.none(), some.sampled_from(TORCHES)),
        "architecture": some.sampled_from(["amd64", "arm64"]),
        "today": some.dates(date(2026, 11, 1), date(2029, 12, 1)),
    }
)
RTX_3090 = GpuFacts(gpus=(identify("10de:2204"),), kernels=None)


def answer(asked: Asked) -> StackPlan | Refusal:
    return resolve(
        asked["system"],
        asked["graphics"],
        driver=asked["driver"],
        cuda=asked["cuda"],
        torch=asked["torch"],
        architecture=asked["architecture"],
        today=asked["today"],
    )


def cards(asked: Asked) -> list[gpu_limits.Limits]:
    expected = asked["driver"].gpus if asked["driver"] else ()
    there = [*asked["graphics"].gpus, *map(identify, expected)]
    return [gpu_limits.of(card) for card in there if card.is_known]


@settings(max_examples=400, deadline=None)
@example("debian-12", GpuFacts(gpus=(identify("10de:2204"),)), Driver(), Cuda(), None, "").via(
    "no name"
)
@given(
    system=some.one_of(some.sampled_from(SYSTEMS), some.text(max_size=20)),
    graphics=boxes(anything),
    driver=some.one_of(some.none(), drivers),
    cuda=some.one_of(some.none(), toolkits),
    torch=some.one_of(some.none(), some.text(max_size=6)),
    architecture=some.one_of(some.sampled_from(["amd64", "arm64"]), some.text(max_size=6)),
)
def test_there_is_always_a_plan_or_a_refusal(
    system: str,
    graphics: GpuFacts,
    driver: Driver | None,
    cuda: Cuda | None,
    torch: str | None,
    architecture: str,
) -> None:
    found = resolve(
        system, graphics, driver=driver, cuda=cuda, torch=torch, architecture=architecture
    )
    if isinstance(found, Refusal):
        assert found.refusal.strip() and found.instead.strip()
    else:
        assert found.to_json()["reasons"]


@settings(max_examples=400, deadline=None)
@given(questions)
@example({"system": "ubuntu-24.04", "graphics": RTX_3090, "driver": Driver(), "cuda": Cuda(),
          "torch": None, "architecture": "amd64", "today": date(2026, 11, 30)})  # fmt: skip
def test_a_plans_driver_drives_every_card(asked: Asked) -> None:
    plan = answer(asked)
    if isinstance(plan, Refusal) or not plan.driver_packages:
        return
    assert plan.module_flavour in branches.known()[plan.driver_branch]["flavours"]
    for able in cards(asked):
        assert able.drives(plan.driver_branch)
        assert plan.module_flavour in able.flavours


@settings(max_examples=400, deadline=None)
@given(questions)
def test_a_plans_toolkit_compiles_for_every_card_and_is_of_a_major_that_the_driver_runs(
    asked: Asked,
) -> None:
    plan = answer(asked)
    if isinstance(plan, Refusal) or plan.cuda == "none":
        return
    for able in cards(asked):
        assert not able.cuda_border(plan.cuda)
    if plan.driver_packages:
        own = number(branches.cuda(plan.driver_branch))
        assert number(plan.cuda)[0] <= own[0]
        assert bool([note for note in plan.notes if "error 222" in note]) is (
            number(plan.cuda) > own
        )


@settings(max_examples=300, deadline=None)
@given(questions)
def test_no_plan_is_for_two_cards_that_one_module_cannot_drive(asked: Asked) -> None:
    plan, able = answer(asked), cards(asked)
    if not any("open" not in each.flavours for each in able):
        return
    if any("proprietary" not in each.flavours for each in able) and asked["driver"]:
        assert isinstance(plan, Refusal)


@settings(max_examples=300, deadline=None)
@given(questions)
def test_a_young_or_ended_branch_is_taken_only_where_nothing_else_would_do(asked: Asked) -> None:
    plan = answer(asked)
    if isinstance(plan, Refusal) or not plan.driver_packages or asked["driver"].branch:
        return
    day, source = asked["today"], plan.driver_source
    poor = branches.is_young(plan.driver_branch, day) or branches.has_ended(plan.driver_branch, day)
    for other in branches.at(asked["system"], source, asked["architecture"]) if poor else ():
        if not branches.is_young(other, day) and not branches.has_ended(other, day):
            named = replace(asked["driver"], source=source, branch=other)
            assert isinstance(answer({**asked, "driver": named, "cuda": None}), Refusal)


REMEDY = re.compile(r"(?:Driver|Cuda|Python|Rig)\([^()]*\)")
TAKEN_OUT = re.compile(r"take (?P<cards>.*) out of the box")


def remedied(asked: Asked, refusal: Refusal) -> Asked | None:
    """The question with the first thing done that a refusal names; None where it names something
    that is done outside of deeprig.
    """
    said = refusal.instead
    if match := TAKEN_OUT.search(said):
        gone = re.findall(r"10de:[0-9a-f]{4}", match["cards"])
        gpus = tuple(card for card in asked["graphics"].gpus if card.id not in gone)
        expected = tuple(one for one in asked["driver"].gpus if one not in gone)
        return {
            **asked,
            "graphics": replace(asked["graphics"], gpus=gpus),
            "driver": replace(asked["driver"], gpus=expected),
        }
    named = REMEDY.search(said)
    if named is None:
        return None
    kind, _, inside = named[0].partition("(")
    values = eval(f"dict({inside}", {"dict": dict, "None": None})
    if kind == "Rig":
        return {**asked, **values}
    if kind == "Python":
        return {**asked, "torch": values["torch"]}
    if kind == "Cuda":
        return {
            **asked,
            "cuda": replace(asked["cuda"], **({"source": "nvidia", "version": None} | values)),
        }
    driver = asked["driver"]
    kept = {} if "desktop" in values else {"branch": None, "flavour": None}
    graphics = asked["graphics"]
    if "with linux-image-generic" in said:
        graphics = replace(graphics, kernel_packages=("linux-image-generic",))
    return {**asked, "graphics": graphics, "driver": replace(driver, **(kept | values))}


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(questions)
def test_what_every_refusal_names_instead_is_accepted(asked: Asked) -> None:
    said = []
    for _ in range(12):
        found = answer(asked)
        if isinstance(found, StackPlan):
            return
        assert found.sentence not in said, (said, found)
        said.append(found.sentence)
        better = remedied(asked, found)
        if better is None:
            return
        asked = better
    raise AssertionError(said)


@settings(max_examples=400, deadline=None)
@given(questions)
def test_a_plan_takes_from_a_source_only_what_it_has(asked: Asked) -> None:
    plan = answer(asked)
    if isinstance(plan, Refusal):
        return
    pin = (plan.pin,) if plan.pin else ()
    of_driver = package_names.of(asked["system"], plan.driver_source)
    assert set(plan.names((*plan.driver_packages, *pin))) <= of_driver
    of_cuda = package_names.of(asked["system"], plan.cuda_source)
    assert set(plan.names(plan.cuda_packages)) <= of_cuda
    assert not forbidden(plan.names())


def forbidden(names: Iterable[str]) -> list[str]:
    """The metapackages that replace drivers, but for what keeps a desktop."""
    return [name for name in names if name == "cuda" or fnmatchcase(name, "cuda-1[0-9]-*")]


@settings(max_examples=300, deadline=None)
@given(questions)
def test_a_plan_made_without_the_index_holds_once_the_index_has_all_of_it(asked: Asked) -> None:
    asked["graphics"] = GpuFacts(
        gpus=asked["graphics"].gpus, kernels=asked["graphics"].kernels,
        kernel_packages=asked["graphics"].kernel_packages, nvswitch=asked["graphics"].nvswitch,
    )  # fmt: skip
    plan = answer(asked)
    if isinstance(plan, Refusal):
        return
    there = {name: (f"{plan.driver_branch}.1-1",) for name in plan.names()}
    for package in plan.cuda_packages:
        name, _, version = package.partition("=")
        there[name] = (re.sub(r"\[(.).*\]", r"\1", version.replace("*", "9.9-1")),)
    full = GpuFacts(
        gpus=asked["graphics"].gpus, kernels=asked["graphics"].kernels,
        kernel_packages=asked["graphics"].kernel_packages, nvswitch=asked["graphics"].nvswitch,
        offers=there,
    )  # fmt: skip
    assert answer({**asked, "graphics": full}) == plan


def test_the_table_of_ids_has_no_overlap() -> None:
    ordered = sorted(RANGES)
    assert all(one[1] < two[0] for one, two in pairwise(ordered))
