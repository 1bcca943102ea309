"""`make bench`: seconds, channels, round trips and bytes, side by side in one run."""

import argparse
import compileall
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import contenders, first, measure, page
from bench.contenders import ROOT, WORK, Contender
from lab import boxes, root

Sets = dict[str, Callable[[boxes.Box, tuple[str, int]], list[Contender]]]
SETS: Sets = {
    "30 operations, nothing to change": contenders.thirty,
    "deploy.py, nothing to change": contenders.whole,
    "deploy.py, several boxes (one under many names)": contenders.sixteen,
    "deeprig verify": contenders.verify,
    "30 operations, many boxes (pretended)": contenders.fleet,
}


def main() -> None:
    asked = _options()
    root.become()  # the box is a container, the link makes devices
    # As where pip installed it: nothing is compiled anew at each run.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(ROOT / "fast_ssh", quiet=1)
    WORK.mkdir(parents=True, exist_ok=True)
    if asked.first:
        rows = first.measure(asked.os, asked.times, asked.without)
        (WORK.parent / "bench-first.json").write_text(json.dumps(rows, indent=1) + "\n")
        for row in rows:
            ratio = row["seconds"] / rows[0]["seconds"]
            print(f"{row['way']}: {row['seconds']} s, {ratio:.2f} {row['runs']}")
        return
    box = _box(asked.box, asked.os)
    try:
        contenders.settle(box)
        if not asked.box:
            contenders.let_many_in(box)
        found = {
            "machine": _machine(),
            "os": box.os,
            "results": [
                row
                for name, make in SETS.items()
                if asked.only in name
                for row in _measure(name, make, box, asked)
            ],
        }
    finally:
        if not asked.box:
            boxes.down(box.name)
    (WORK.parent / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    (WORK.parent / "bench.svg").write_text(page.plot(found))
    print(page.table(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--box", help="a lab box to use, and to leave; else one is made")
    parser.add_argument("--os", default="debian-13")
    parser.add_argument("--rtt", type=float, nargs="+", default=[0, 20, 50, 150], metavar="MS")
    parser.add_argument("--times", type=int, default=5, help="runs of each, interleaved")
    parser.add_argument("--only", default="", help="measure what has this in its name")
    parser.add_argument("--without", help="but not by ways that have this in theirs")
    parser.add_argument("--first", action="store_true", help="first runs only, a fresh box each")
    return parser.parse_args()


def _box(name: str | None, os: str) -> boxes.Box:
    if name:
        return next(box for box in boxes.every() if box.name == name)
    print("Making a box (a minute)", file=sys.stderr)
    return boxes.up("bench", os=os, kind="container")


def _measure(
    name: str,
    make: Callable[[boxes.Box, tuple[str, int]], list[Contender]],
    box: boxes.Box,
    asked: argparse.Namespace,
) -> list[dict[str, Any]]:
    """A row for each contender and each distance. The first run of each is not counted."""
    rows = []
    for rtt in asked.rtt:
        with measure.link(rtt, box.host, box.port) as through:
            ways = make(box, through.door)
            if asked.without:
                ways = [way for way in ways if asked.without not in way.name]
            samples = _in_turns(name, ways, through, asked.times)
            rows += [
                {"what": name, "asked_ms": rtt, "rtt_ms": through.rtt_ms, "way": way}
                | measure.summary(found)
                for way, found in samples.items()
            ]
    return rows


def _in_turns(
    name: str, ways: list[Contender], through: measure.Link, times: int
) -> dict[str, list[measure.Sample]]:
    """The samples of each way; one that fails is told, and left out with all that it had."""
    samples: dict[str, list[measure.Sample]] = {way.name: [] for way in ways}
    for turn in range(times + 1):
        for way in [way for way in ways if way.name in samples]:
            try:
                sample = measure.once(way, through)
            except RuntimeError as failed:
                print(failed, file=sys.stderr, flush=True)
                del samples[way.name]
                continue
            where = f"{name}, {through.rtt_ms} ms, {way.name}"
            print(f"{where}: {sample}", file=sys.stderr, flush=True)
            if turn:
                samples[way.name].append(sample)
    return samples


def _machine() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "cores": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "commit": commit.stdout.strip(),
        "python": sys.version.split()[0],
        "kernel": Path("/proc/sys/kernel/osrelease").read_text().strip(),
    }


if __name__ == "__main__":
    main()
