"""`deeprig verify`: the proof, on the live boxes, that they are what the inventory says."""

import sys
from pathlib import Path

import click

from deeprig import inventories
from deeprig.inventories import Box
from deeprig.settings import Rig
from deeprig.ui import screen
from deeprig.ui.options import inventory_option, json_option, limit_option
from deeprig_cli.verify import runner
from deeprig_cli.verify.report import page
from deeprig_cli.verify.runner import TIERS, Check
from deeprig_cli.verify.watch import keep

# How many checks of a component must really have run (passed or failed, not skipped) before
# nothing failed means anything. Fewer than there are, since some cannot be asked of every box.
REQUIRED = {
    "base": 6,
    "users": 4,
    "ssh": 4,
    "firewall": 2,
    "storage": 1,
    "driver": 4,
    "gpu_settings": 3,
    "gpu_live": 6,
    "cuda": 4,
    "containers": 5,
    "python_env": 2,
    "frameworks": 1,
    "notebook": 4,
    "jobs": 2,
    "notify": 3,
}
RAN = ("passed", "warned", "failed")


@click.command()
@inventory_option
@limit_option
@click.option(
    "--tier",
    type=click.Choice(TIERS),
    default="functional",
    show_default=True,
    help="How far to go; each includes those before it.",
)
@click.option("--all", "every", is_flag=True, help="List every check, not only what is wrong.")
@click.option(
    "--watch",
    type=click.IntRange(10),
    metavar="SECONDS",
    help="Look again every so often until Ctrl-C; say what changed.",
)
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what was seen, to be sent on; names and addresses are left out.",
)
@json_option
def verify(
    inventory: Path,
    limit: tuple[str, ...],
    tier: str,
    every: bool,
    watch: int | None,
    evidence: Path | None,
    as_json: bool,
) -> None:
    """Prove that boxes are what the inventory says, by tests on the live machines.

    Exits 0 where nothing failed and enough was checked, 1 where a check failed, 2 where a box did
    not answer or too little was checked; with --watch as it was last.
    """
    boxes = inventories.load(inventory, limit)

    def look() -> list[Check]:
        seen = runner.run(inventories.load(inventory, limit), tier, _progress)
        if sys.stderr.isatty():
            screen.rewrite()  # the line of the last check
        return seen

    checks = look()
    lacking = missing(checks, boxes, tier)
    if as_json:
        screen.as_json([check.to_json() for check in checks], indent=2)
        for host, reasons in lacking.items():
            screen.echo(f"{host}: too little was checked: {'; '.join(reasons)}", err=True)
    else:
        screen.echo(page(checks, lacking, every=every))
    if evidence:
        _write_evidence(evidence, boxes, checks, tier)
    if watch:
        checks = keep(checks, look, watch, as_json=as_json)
    sys.exit(verdict(checks, missing(checks, boxes, tier)))


def _write_evidence(file: Path, boxes: list[Box], found: list[Check], tier: str) -> None:
    from deeprig_cli.verify import evidence

    evidence.write(file, evidence.collect(boxes, found, tier))
    screen.echo(f"Wrote {file}; read it before you send it on.", err=True)


def verdict(checks: list[Check], lacking: dict[str, list[str]]) -> int:
    """0 where nothing failed and enough ran, 1 where a check failed, 2 where too little ran.

    A warning is for a person to read; it changes no exit code.
    """
    outcomes = {check.outcome for check in checks}
    if "failed" in outcomes:
        return 1
    return 2 if lacking or "unasked" in outcomes or not checks else 0


def missing(checks: list[Check], boxes: list[Box], tier: str) -> dict[str, list[str]]:
    """For each box that answered, the components of which fewer checks ran than must."""
    lacking: dict[str, list[str]] = {}
    for host, data in boxes:
        here = [c for c in checks if c.host == host]
        real = [c for c in here if c.outcome in RAN and not c.fake]
        # A check that is repeated over files or ports counts once.
        ran = [
            component for component, _ in {(c.component, c.check.partition(": ")[0]) for c in real}
        ]
        if any(c.host == host and c.outcome == "unasked" for c in checks):
            continue  # it did not answer: that is said already
        pretended = sum(c.fake and c.outcome in RAN for c in here)
        if pretended:
            sentence = f"{pretended} ran on a fake GPU, which proves nothing of a real one"
            lacking.setdefault(host, []).append(sentence)
        for component, least in required(data["rig"], tier).items():
            if ran.count(component) + _nothing_to_look_at(component, here) < least:
                sentence = f"{component}: {ran.count(component)} ran, at least {least} must"
                lacking.setdefault(host, []).append(sentence)
    return lacking


def _nothing_to_look_at(component: str, checks: list[Check]) -> int:
    """How many different checks of it have no card, or no toolkit, on that box.

    A box that has a card has no such check of it, so that its live checks must really run.
    """
    own = [c for c in checks if c.component == component and c.nothing_there]
    return len({c.check.partition(": ")[0] for c in own})


def required(rig: Rig, tier: str) -> dict[str, int]:
    """The least number of checks for each component that this rig has.

    The tiers below the default leave most checks out: there it is only that the login is right,
    and that a card was asked.
    """
    parts = {
        "firewall": rig.firewall,
        "storage": rig.storage,
        "driver": rig.driver,
        "gpu_settings": rig.driver,
        "gpu_live": rig.driver,
        "cuda": rig.cuda,
        "containers": rig.containers,
        "python_env": rig.python,
        "frameworks": rig.python and rig.notebook and rig.python.frameworks,
        "notebook": rig.notebook,
        "jobs": rig.notebook,
        "notify": rig.notify,
    }
    least_of = {name: least for name, least in REQUIRED.items() if parts.get(name, True)}
    if TIERS.index(tier) >= TIERS.index("functional"):
        return least_of
    live = {"gpu_live": REQUIRED["gpu_live"]} if "gpu_live" in least_of and tier == "live" else {}
    return {"users": 1, **live}


def _progress(check: Check) -> None:
    if sys.stderr.isatty():
        screen.rewrite(f"{check.host}: {check.check}")
