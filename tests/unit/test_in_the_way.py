"""What a run would meet, and what happened since the last one: said in sentences."""

import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deeprig.facts import changes as since
from deeprig.facts.survey import read
from deeprig.preflight import conditions
from deeprig.preflight.conditions import Conditions
from deeprig.settings import Python, Rig
from tests.unit.recorded import DEBIAN_13

FINE = Conditions({"/": 500 * 10**9}, 0.0, [], [])
LAST = 1_780_000_000


def said(now: Conditions, rig: Rig | None = None, *, first: bool = True) -> list[str]:
    quiet = rig or Rig(driver=None, cuda=None, wake_on_lan=None)
    return conditions.problems(now, read(DEBIAN_13), quiet, None, first=first)


def test_a_box_as_it_should_be_has_nothing_in_the_way() -> None:
    assert said(FINE) == []


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (FINE._replace(unreachable=["http://deb.lan/"]), "http://deb.lan/ cannot be reached from"),
        (
            FINE._replace(room={"/": 10**9}),
            "/ has 1.0 GB free, and this takes about 1.2; make room",
        ),
        (FINE._replace(room={"/": 10**12, "/boot": 10**8}), "/boot has 100 MB free, and a kernel"),
        (FINE._replace(seconds_off=-7200.0), "Its clock is 7200 s behind this machine's, and apt"),
        (FINE._replace(holders=["123 apt-get"]), "apt is in use by 123 apt-get; a run waits for"),
    ],
)
def test_each_has_a_sentence_of_its_own(now: Conditions, sentence: str) -> None:
    [found] = said(now)
    assert found.startswith(sentence)


def test_what_ends_a_run_comes_first() -> None:
    all_of_it = Conditions({"/": 0, "/boot": 0}, 999.0, ["1 apt"], ["http://deb.lan/"])
    starts = ("http://deb.lan/", "/ has", "/boot has", "Its clock", "apt is in use")
    found = said(all_of_it)
    assert [line.startswith(start) for line, start in zip(found, starts, strict=True)] == [True] * 5


def test_room_is_asked_for_by_what_is_asked_for() -> None:
    bare = conditions.room_needed(Rig(notebook=None, python=None), None)
    whole = conditions.room_needed(Rig(python=Python(frameworks=("torch", "jax"))), None)
    assert whole - bare == pytest.approx(12.7)
    assert said(FINE._replace(room={"/": 10**8}), first=False) == []  # it is all there already


def test_what_the_box_prints_is_read() -> None:
    its = int(time.time()) - 100
    lines = ["room=/ 123", "room=/boot 45", f"now={its}", "holder=7 dpkg", "unreachable=http://x/"]
    now = conditions.read(lines)
    assert now.room == {"/": 123, "/boot": 45}
    assert now.seconds_off == pytest.approx(-100, abs=2)
    assert (now.holders, now.unreachable) == (["7 dpkg"], ["http://x/"])


SINCE = since.read(
    [
        f"last={LAST}",
        f"file={LAST + 600} /etc/ssh/sshd_config.d/10-deeprig.conf",
        f"file={LAST + 700} /etc/other",
        "apt=2026-05-29 06:12:01||/usr/bin/unattended-upgrade|Upgrade: tmux:amd64 (3.3, 3.4)",
        f"sudo={LAST + 500}|anna|/usr/bin/vim /etc/ssh/sshd_config.d/10-deeprig.conf",
        f"sudo={LAST + 9000}|ben|/usr/bin/apt remove ufw | true",
    ]
)


def test_a_changed_file_has_its_hour_and_who_opened_it() -> None:
    changes = ["SSH | Change the way in", "Base | Install"]
    head, file, moved, told = since.sentences(SINCE, changes)
    hour = datetime.fromtimestamp(LAST + 600).strftime("%H:%M")
    assert head.startswith("since the last run, 20")
    assert f"{hour} /etc/ssh/sshd_config.d/10-deeprig.conf was written, by anna: sudo /usr" in file
    assert moved == (
        "  2026-05-29 06:12:01 /usr/bin/unattended-upgrade: Upgrade: tmux:amd64 (3.3, 3.4)"
    )
    assert told.endswith("ben: sudo /usr/bin/apt ...")


def test_a_password_in_a_command_is_not_shown() -> None:
    line = f"sudo={LAST + 1}|anna|/usr/bin/mysql -psecret secret /etc/my.cnf KEY=secret"
    [_, told] = since.sentences(since.read([f"last={LAST}", line]), ["Base | Install"])
    assert told.endswith("anna: sudo /usr/bin/mysql ... /etc/my.cnf ...")


@pytest.mark.parametrize(
    ("settings", "door"),
    [
        ({"apt_proxy": "http://u:secret@proxy.lan:3128"}, "http://proxy.lan:3128"),
        ({"proxy": "http://proxy.lan:1", "apt_proxy": "http://cache.lan:3142"}, "cache.lan:3142"),
        ({}, "PROXY=''"),
        ({"pypi_index": "https://index.lan/simple"}, "INDEX=https://index.lan"),
        ({"pypi_index": "https://index.lan", "python": None, "notebook": None}, "INDEX=''"),
        ({"pypi_index": "https://index.lan", "proxy": "http://proxy.lan:1"}, "INDEX=''"),
    ],
)
def test_the_box_tries_the_proxy_of_the_settings_without_its_password(
    settings: dict[str, Any], door: str
) -> None:
    head = conditions.script(Rig(**settings)).partition("\n")[0]
    assert door in head and "secret" not in head


def test_a_proxy_of_the_boxs_own_is_named_without_its_password(tmp_path: Path) -> None:
    """By the script itself, with an apt that has such a proxy, at a port that is closed."""
    apt = tmp_path / "apt-config"
    apt.write_text("#!/bin/sh\necho \"P='http://u:secret@127.0.0.1:9'\"\n")
    apt.chmod(0o755)
    said = subprocess.run(
        ["sh", "-c", conditions.script(Rig())],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert conditions.read(said.splitlines()).unreachable == ["http://127.0.0.1:9"]


def test_nobody_is_named_where_nothing_would_change_or_nobody_was_there() -> None:
    assert since.sentences(SINCE, []) == []
    assert since.sentences(since.read([]), ["Base | Install"]) == []


def test_a_package_index_that_cannot_be_reached_is_told_of() -> None:
    """By the script itself, at a port that is closed."""
    script = conditions.script(Rig(pypi_index="https://127.0.0.1:9/simple"))
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert "https://127.0.0.1:9" in conditions.read(said.splitlines()).unreachable
