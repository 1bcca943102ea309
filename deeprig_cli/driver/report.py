"""What `deeprig driver status` prints for people."""

import time

import click

from deeprig.catalog import branches
from deeprig_cli.driver.status import Standing, Unasked


def page(standing: Standing | Unasked) -> str:
    """One box: what is wrong first, then how it stands, then what is to be known."""
    if isinstance(standing, Unasked):
        return click.style(f"{standing.host}: not asked: {standing.error}", fg="red")
    if not standing.driver:
        return click.style(f"{standing.host}: {standing.wrong[0]}", fg="red")
    verdict = f"{len(standing.wrong)} wrong" if standing.wrong else "all of one piece"
    lines = [click.style(f"{standing.host}: driver {standing.driver}, {verdict}", bold=True)]
    lines += [click.style(f"  !! {sentence}", fg="red") for sentence in standing.wrong]
    lines += [f"  {name:10} {sentence}" for name, sentence in rows(standing)]
    lines += [click.style(f"  {sentence}", fg="yellow") for sentence in standing.notes]
    return "\n".join(lines)


def rows(standing: Standing) -> list[tuple[str, str]]:
    facts = standing.facts
    plan, modules, holds = facts["plan"], facts["modules"], facts["holds"]
    loaded = facts["loaded"]["version"] or (
        "nothing" if facts["cards"] else "nothing, no card here"
    )
    kernels = ", ".join(
        f"{version or 'none'} for {kernel}{' (boots next)' if kernel == modules['next'] else ''}"
        for kernel, version in modules["versions"].items()
    )
    end = branches.end(plan["branch"])
    until = f", fixes until {end}" if end else ""
    return [
        ("plan", f"{plan['branch']} {plan['flavour']} from {plan['source']}{until}"),
        ("loaded", f"{loaded} {facts['loaded']['flavour']}".strip()),
        ("on disk", kernels or "no kernel is installed"),
        ("libraries", libraries(facts["libraries"])),
        ("packages", f"{len(facts['packages'])}, {len(holds['held'])} of them held"),
        ("index", f"{facts['index']['source']}, read {since(facts['index']['read'])}"),
        *last_move(standing),
    ]


def since(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) if moment else "never"


def libraries(found: list[dict[str, str]]) -> str:
    """The version, once where all are of one."""
    versions = {library["version"] or "none" for library in found}
    if len(versions) == 1:
        return versions.pop()
    return ", ".join(f"{each['name']} {each['version'] or 'none'}" for each in found)


def last_move(standing: Standing) -> list[tuple[str, str]]:
    move = standing.facts["move"]
    if not move["step"]:
        return []
    when = since(move["stepped"])
    to = f" to {move['after']}" if move["after"] else ""
    way = f"{move['kind']} from {move['before']}{to}"
    why = f" ({move['why']})" if move["why"] else ""
    checked = ", verified" if move["verified"] else ""
    return [("last move", f"{way}: {move['step']}{checked}, {when}{why}")]
