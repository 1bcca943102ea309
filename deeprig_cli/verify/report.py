"""What `deeprig verify` prints for people: failures first with what to do, then each component."""

from collections import Counter
from itertools import groupby

import click

from deeprig.ui import summary
from deeprig.ui.summary import Line
from deeprig_cli.verify.runner import Check

MARKS = {"passed": ("ok", "green"), "warned": ("! ", "yellow"), "skipped": ("--", "yellow")}
WORDS = ("failed", "unasked", "warned", "passed", "skipped")
ON_A_FAKE = " [fake GPU]"


def page(checks: list[Check], missing: dict[str, list[str]], *, every: bool = False) -> str:
    """All boxes, one after the other; `missing` says for each what was not checked enough.

    A component is a line with the reasons of what was skipped, or with `every` all of its checks.
    """
    hosts = list(dict.fromkeys(check.host for check in checks))
    shown = [
        _box(
            host,
            [check for check in checks if check.host == host],
            missing.get(host, []),
            every=every,
        )
        for host in hosts
    ]
    last = summary.table([_line_of(host, checks, missing.get(host, [])) for host in hosts])
    return "\n\n".join([*shown, *([last] if last else [])])


def _box(host: str, checks: list[Check], missing: list[str], *, every: bool) -> str:
    unasked = [check for check in checks if check.outcome == "unasked"]
    lines = [click.style(f"{host}: {_counts(checks)}", bold=True)]
    if unasked:
        lines.append(click.style(f"  not asked: {unasked[0].reason}", fg="red"))
    lines += [click.style(f"  too little was checked: {text}", fg="red") for text in missing]
    failed = [check for check in checks if check.outcome == "failed"]
    for check in sorted(failed, key=lambda check: check.component != "manifest"):
        lines += _failure(check)  # first that no deploy came to its end: the others come of it
    shown = sorted((check for check in checks if check.outcome in MARKS), key=_component)
    if every:
        for component, group in groupby(shown, key=_component):
            lines += ["", f"  {component.replace('_', ' ')}", *map(_line, group)]
        return "\n".join(lines)
    lines += [_warning(check) for check in shown if check.outcome == "warned"]
    width = max((len(check.component) for check in shown), default=0)
    lines += [""] if shown else []
    for component, group in groupby(shown, key=_component):
        lines += _in_short(component.replace("_", " "), list(group), width)
    return "\n".join(lines)


def _in_short(component: str, checks: list[Check], width: int) -> list[str]:
    """One line, and one for each reason of what was skipped."""
    outcomes = [check.outcome for check in checks]
    best = "passed" if "passed" in outcomes or "warned" in outcomes else "skipped"
    mark, colour = MARKS["warned" if "warned" in outcomes else best]
    counts = ", ".join(f"{outcomes.count(word)} {word}" for word in WORDS if word in outcomes)
    fake = ON_A_FAKE if any(check.fake for check in checks) else ""
    skipped = Counter(check.reason for check in checks if check.outcome == "skipped")
    return [
        f"  {click.style(mark, fg=colour)} {component:{width}}  {counts}{fake}",
        *(
            f"     {'':{width}}  {MARKS['skipped'][0]} {f'{number} x ' if number > 1 else ''}{why}"
            for why, number in skipped.items()
        ),
    ]


def _line_of(host: str, checks: list[Check], missing: list[str]) -> Line:
    """The box in the summary of several."""
    own = [check for check in checks if check.host == host]
    outcomes = {check.outcome for check in own}
    code = 1 if "failed" in outcomes else 2 if missing or "unasked" in outcomes else 0
    sentence = next((c.reason for c in own if c.outcome == "unasked"), "") or _counts(own)
    return Line(host, code, sentence)


def _component(check: Check) -> str:
    return check.component


def _counts(checks: list[Check]) -> str:
    outcomes = [check.outcome for check in checks]
    counted = [f"{outcomes.count(word)} {word}" for word in WORDS if word in outcomes]
    return f"{', '.join(counted)} in {sum(check.seconds for check in checks):.1f} s"


def _warning(check: Check) -> str:
    where = ON_A_FAKE if check.fake else ""
    text = f"  !  {check.component.replace('_', ' ')}: {check.check}{where}: {check.reason}"
    return click.style(text, fg="yellow")


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
