"""What `deeprig verify` prints for people: failures first, then each component's checks."""

from itertools import groupby

import click

from deeprig.checks import Check

MARKS = {"passed": ("ok", "green"), "warned": ("! ", "yellow"), "skipped": ("--", "yellow")}
ON_A_FAKE = " [fake GPU]"


def page(checks: list[Check], missing: dict[str, list[str]]) -> str:
    """All boxes, one after the other; `missing` says for each what was not checked enough."""
    hosts = list(dict.fromkeys(check.host for check in checks))
    return "\n\n".join(
        _box(host, [check for check in checks if check.host == host], missing.get(host, []))
        for host in hosts
    )


def _box(host: str, checks: list[Check], missing: list[str]) -> str:
    unasked = [check for check in checks if check.outcome == "unasked"]
    lines = [click.style(f"{host}: {_counts(checks)}", bold=True)]
    if unasked:
        lines.append(click.style(f"  not asked: {unasked[0].reason}", fg="red"))
    lines += [click.style(f"  too little was checked: {said}", fg="red") for said in missing]
    for check in checks:
        if check.outcome == "failed":
            lines += _failure(check)
    shown = sorted((check for check in checks if check.outcome in MARKS), key=_component)
    for component, group in groupby(shown, key=_component):
        lines += ["", f"  {component.replace('_', ' ')}", *map(_line, group)]
    return "\n".join(lines)


def _component(check: Check) -> str:
    return check.component


def _counts(checks: list[Check]) -> str:
    outcomes = [check.outcome for check in checks]
    words = ["failed", "unasked", "warned", "passed", "skipped"]
    counted = [f"{outcomes.count(word)} {word}" for word in words if word in outcomes]
    return f"{', '.join(counted)} in {sum(check.seconds for check in checks):.1f} s"


def _failure(check: Check) -> list[str]:
    where = ON_A_FAKE if check.fake else ""
    return [
        click.style(f"  !! {check.component.replace('_', ' ')}: {check.check}{where}", fg="red"),
        f"       it says: {check.reason}",
        f"       to do:   {check.remedy}",
    ]


def _line(check: Check) -> str:
    mark, colour = MARKS[check.outcome]
    where = ON_A_FAKE if check.fake else ""
    why = f" ({check.reason})" if check.reason else ""
    return f"    {click.style(mark, fg=colour)} {check.check}{where}{why}"
