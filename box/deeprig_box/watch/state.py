"""What the watch remembers from one look to the next: what stands, was told, is unsent."""

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

from deeprig_box.lib import files
from deeprig_box.watch.system import Finding

STATE = Path("/var/lib/deeprig/watch.json")
DAY = 24 * 3600
# Timers are a little early or late; a daily word must not skip a day for that.
DAILY = DAY - 1800


def fresh() -> dict[str, Any]:
    return {"standing": {}, "outbox": [], "memory": {}, "ran": "", "trouble": "", "proved": ""}


def load() -> dict[str, Any]:
    try:
        record = json.loads(STATE.read_text())
    except (OSError, ValueError):
        return fresh()
    return fresh() | record if isinstance(record, dict) else fresh()


def save(state: dict[str, Any]) -> None:
    files.write(STATE, json.dumps(state, indent=1))


def alone() -> contextlib.AbstractContextManager[None]:
    """One at a time: a deploy's --test must not lose what the timer's run writes down."""
    return files.alone(STATE.with_suffix(".lock"))


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def compare(state: dict[str, Any], before: set[str], found: dict[str, Finding], now: float) -> None:
    """Put into the outbox what is new, what has stood for a day since it was told, what is over."""
    standing, outbox = state["standing"], state["outbox"]
    for key, finding in found.items():
        old = standing.get(key)
        if old is None:
            standing[key] = {"subject": finding.subject, "since": now, "told": now}
        elif now - old["told"] < DAILY or any(m["key"] == key for m in outbox):
            continue
        else:
            old["told"] = now
        since = standing[key]["since"]
        still = f" It has been so since {moment(since)}." if old else ""
        text = f"{finding.text}{still}\nSeen {moment(now)}."
        outbox.append(entry(key, finding.subject, text, finding.priority, "warning"))
    for key in before - found.keys():
        gone = standing.pop(key)
        text = f"It was so from {moment(gone['since'])} to {moment(now)}."
        outbox.append(entry(key, f"over: {gone['subject']}", text, "low", "white_check_mark"))


def entry(key: str, subject: str, text: str, priority: str, tag: str) -> dict[str, str]:
    title = f"{socket.gethostname()}: {subject}"
    return {"key": key, "title": title, "text": text, "priority": priority, "tag": tag}
