"""How a box's driver stands, judged from what its driver-move says; pure."""

import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from deeprig import catalog
from deeprig.catalog import branches, driver_parts, package_names
from deeprig.settings import Driver

OVERDUE_DAYS = 30
OLD_INDEX_DAYS = 7
LONGEST_COMMAND = 60
FLAVOURS = ("open", "proprietary")
UNFINISHED = ("asked", "installing", "going back")
GOES_BACK = "`deeprig driver rollback`"
Facts = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """`wrong` are sentences that need a person, `notes` those that one should know."""

    host: str
    driver: str
    wrong: tuple[str, ...]
    notes: tuple[str, ...]
    offered: dict[str, str]
    facts: Facts

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Unasked:
    """A box that could not say, and why."""

    host: str
    error: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def names_to_ask() -> list[str]:
    """The package that has a driver's version, for every branch of every source and system."""
    names = set()
    for row in catalog.load("driver_packages")["set"]:
        for name in branches.known():
            for flavour in FLAVOURS:
                if int(row["first"]) <= int(name) <= int(row.get("last", name)) and flavour in row:
                    names.add(row[flavour]["packages"][0].format(branch=name, kernel=""))
    return sorted(names)


def judge(host: str, facts: Facts, settings: Driver | None, today: date) -> Standing:
    """What is wrong and what is to be known, each a sentence."""
    if not facts["driver"]:
        return Standing(
            host=host, driver="", wrong=(f"{facts['state']}; a deploy installs it",), notes=(),
            offered={}, facts=facts,
        )  # fmt: skip
    offered = newer(facts)
    return Standing(
        host=host,
        driver=facts["driver"],
        wrong=tuple([*of_the_move(facts), *mismatches(facts), *of_holds(facts), *overdue(facts)]),
        notes=tuple(notes(facts, offered, settings, today)),
        offered=offered,
        facts=facts,
    )


def mismatches(facts: Facts) -> Iterable[str]:
    """Loaded, on disk, library and package must be one version."""
    version, loaded, modules = facts["driver"], facts["loaded"], facts["modules"]
    moved = moved_by(facts)
    for library in facts["libraries"]:
        if library["version"] != version:
            yield f"programs get {wrong_library(library, version, moved)}"
    if facts["in_use"].startswith("reboot: "):
        why = facts["in_use"].removeprefix("reboot: ")
        yield f"a reboot is owed: {why}{moved if loaded['version'] != version else ''}"
    elif facts["in_use"].startswith("wrong: "):
        yield facts["in_use"].removeprefix("wrong: ")
    elif facts["in_use"] == "load":
        yield "no module is loaded, though there is a card; `sudo modprobe nvidia` says why"
    elif loaded["version"] and loaded["version"] != version:
        yield f"driver {loaded['version']} is loaded, {version} is installed{moved}; reboot"
    flavour = facts["plan"]["flavour"]
    if loaded["flavour"] and loaded["flavour"] != flavour:
        yield f"the {loaded['flavour']} modules are loaded, the plan is the {flavour} ones; reboot"
    for kernel, on_disk in modules["versions"].items():
        if on_disk != version:
            which = "runs" if kernel == modules["running"] else "boots next"
            has = on_disk or "(none)"
            yield f"kernel {kernel}, which {which}, has the module {has}, not {version}"
    for other in driver_parts.of_another_version(facts["packages"], version):
        yield (
            f"{other}, the driver is {version}, and until they are one CUDA says 802 (system not "
            "yet initialized); `deeprig driver upgrade` moves both where the archive has both"
        )
    if not facts["state"].startswith("ok "):
        yield f"{facts['state']}; a deploy mends it, or {GOES_BACK}"


def wrong_library(library: Facts, version: str, moved: str) -> str:
    """Which library is not the driver's, whose it is, and what takes it away."""
    file, owner = library["file"], library["owner"]
    got = f"{library['name']} {library['version'] or '(none)'}, the packages are {version}"
    if not file:
        return f"{got}; a deploy mends it, or {GOES_BACK}"
    if not owner:
        return (
            f"{got}: {file} belongs to no package, and no reboot mends that; "
            f"`sudo rm {shlex.quote(file)} && sudo ldconfig`"
        )
    if "compat" in owner or library["named_in"]:
        where = library["named_in"] or "/etc/ld.so.conf"
        return (
            f"{got}: {file}, of the package {owner}, comes first by {where}; take its folder out "
            "of there, then `sudo ldconfig`"
        )
    return f"{got}: {file}, of the package {owner}{moved}"


def moved_by(facts: Facts) -> str:
    """The last line of a log that moved one of the packages to what is installed now."""
    versions = facts["packages"]
    own = [m for m in facts["moves"] if m["new"] and versions.get(m["name"]) == m["new"]]
    if not own:
        return ""
    last = own[-1]
    by = f" by `{shortened(last['by'])}`" if last["by"] else ""
    return f"; moved{by}, {last['log']}: {last['line']}"


def shortened(command: str) -> str:
    return command if len(command) <= LONGEST_COMMAND else f"{command[:LONGEST_COMMAND]}..."


def of_holds(facts: Facts) -> Iterable[str]:
    loose, free = facts["holds"]["loose"], facts["holds"]["not_excluded"]
    if loose:
        yield f"not held: {' '.join(loose)}; a deploy holds them"
    if free:
        yield f"automatic updates may move {' '.join(free)}; a deploy excludes them"


def of_the_move(facts: Facts) -> Iterable[str]:
    """A move that has not come to a good end."""
    move = facts["move"]
    if move["step"] == "stuck":
        yield f"the last {move['kind']} is stuck: {move['why']}; {GOES_BACK} tries again"
    elif move["step"] == "reboot owed":
        yield (
            f"driver {move['after']} was installed and a reboot is owed; it is proved at the next "
            f"boot, and taken back if it does not load; {GOES_BACK} takes it back now"
        )
    elif move["step"] in UNFINISHED and not move["active"]:
        yield (
            f"the last {move['kind']} was cut off at {move['step']!r}; the next boot goes on with "
            f"it, or {GOES_BACK} goes back now"
        )
    elif move["step"] in ("rebooting", "rebooting back") and not move["active"]:
        yield f"the last {move['kind']} waits for the box to be up, or for its reboot"


def overdue(facts: Facts) -> Iterable[str]:
    for fix in facts["waiting"]:
        days = int((facts["now"] - fix["since"]) / 86400)
        if days > OVERDUE_DAYS:
            yield (
                f"{fix['name']} {fix['version']} has waited for {days} days; "
                "`deeprig driver upgrade` moves it"
            )


def waits(facts: Facts) -> Iterable[str]:
    """Since when which versions wait, each once."""
    fixes: dict[tuple[str, date], list[str]] = {}
    for fix in facts["waiting"]:
        since = datetime.fromtimestamp(fix["since"], UTC).date()
        fixes.setdefault((driver_parts.upstream(fix["version"]), since), []).append(fix["name"])
    for (version, since), names in fixes.items():
        who = names[0] if len(names) == 1 else f"{len(names)} packages"
        yield f"{version} waits for you since {since} ({who})"


def newer(facts: Facts) -> dict[str, str]:
    """Branch -> the newest version offered, for the same branch and for newer ones."""
    plan, own = facts["plan"], branches.of_version(facts["driver"])
    versions_by_branch = {}
    for branch in sorted(branches.known(), key=int):
        row = package_names.driver_set(facts["system"], plan["source"], branch, plan["modules"])
        if row is None or plan["flavour"] not in row or int(branch) < int(own):
            continue
        first = row[plan["flavour"]]["packages"][0].format(branch=branch, kernel="")
        versions = [driver_parts.upstream(version) for version in facts["offers"].get(first, [])]
        best = max((v for v in versions if branches.of_version(v) == branch), key=branches.number,
                   default="")  # fmt: skip
        if branches.number(best) > branches.number(facts["driver"]):
            versions_by_branch[branch] = best
    return versions_by_branch


def notes(
    facts: Facts, offered: dict[str, str], settings: Driver | None, today: date
) -> Iterable[str]:
    branch = branches.of_version(facts["driver"])
    end = branches.end(branch)
    if end and end < today:
        yield f"NVIDIA's fixes for branch {branch} ended on {end}"
    index = facts["index"]
    days = int((facts["now"] - index["read"]) / 86400)
    if index["read"] and days > OLD_INDEX_DAYS:
        yield (
            f"apt has not read {index['source']} for {days} days, so that nothing newer is known; "
            "`sudo apt update` says why"
        )
    for name, version in offered.items():
        options = "" if name == branch else f" --branch {name}"
        until = f", with fixes until {branches.end(name)}" if branches.end(name) else ""
        yield f"{version} is offered{until}; `deeprig driver upgrade{options}` moves to it"
    yield from waits(facts)
    if facts["holds"]["needless"]:
        yield f"held beside the driver: {' '.join(facts['holds']['needless'])}"
    for field in ("branch", "flavour", "source"):
        value = getattr(settings, field, None)
        if value and value != facts["plan"][field]:
            yield f"Driver({field}=) asks for {value}; `deeprig driver upgrade` moves to it"
    back = facts["way_back"]
    if back:
        lacking = f", but no .deb of {' '.join(back['lacking'])}" if back["lacking"] else ""
        yield f"{GOES_BACK} brings {back['version']} back, without a network{lacking}"
