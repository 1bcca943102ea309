"""`deeprig verify --watch`: the checks again and again, and a line for each that changed."""

import time
from collections.abc import Callable
from datetime import datetime

import click

from deeprig.ui import screen
from deeprig_cli.verify.runner import Check

Key = tuple[str, str, str]
GOOD = ("passed", "warned", "skipped")


def keep(
    first: list[Check], again: Callable[[], list[Check]], seconds: float, *, as_json: bool
) -> list[Check]:
    """Look again every so many seconds, until Ctrl-C; the checks as they were last."""
    now = first
    try:
        while True:
            time.sleep(seconds)
            before, now = now, again()
            _say(changes(before, now), as_json=as_json)
    except KeyboardInterrupt:
        return now


def changes(before: list[Check], now: list[Check]) -> list[tuple[str, Check]]:
    """What each changed check was, and how it is now."""
    was = {_key(check): check.outcome for check in before}
    return [
        (was.get(_key(check), "not asked"), check)
        for check in now
        if was.get(_key(check), "not asked") != check.outcome
    ]


def _key(check: Check) -> Key:
    return (check.host, check.component, check.check)


def _say(changed: list[tuple[str, Check]], *, as_json: bool) -> None:
    hour = datetime.now().strftime("%H:%M:%S")
    if as_json:
        for was, check in changed:
            screen.as_json({"at": hour, "was": was, **check.to_json()})
        return
    if not changed:
        screen.echo(f"{hour} as before", err=True)
    for was, check in changed:
        good = check.outcome in GOOD
        subject = f"{check.host}: {check.component.replace('_', ' ')}: {check.check}"
        why = f": {check.reason}" if check.reason else ""
        todo = "" if good else f"; to do: {check.remedy}"
        line = f"{hour} {subject}: {was} -> {check.outcome}{why}{todo}"
        screen.echo(click.style(line, fg="green" if good else "red"))
