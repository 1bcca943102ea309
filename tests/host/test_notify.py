"""Somebody is told when the box needs a person."""

import json
import time
from typing import Any

import pytest
from testinfra.host import Host

from deeprig.settings import Rig
from tasks.notify import CONF, SERVICE, STATE, TIMER, WATCH

# The timer waits a quarter of an hour, and a little more at random.
LATE_SECONDS = 40 * 60


@pytest.fixture
def to(rig: Rig) -> str:
    if rig.notify is None:
        pytest.skip("nobody is to be told (Rig.notify names no address)")
    return rig.notify


@pytest.fixture
def record(host: Host, to: str) -> dict[str, Any]:
    with host.sudo():
        found: dict[str, Any] = json.loads(host.file(STATE).content_string)
    return found


def test_the_box_is_looked_after_now_and_after_a_boot(host: Host, to: str) -> None:
    assert host.service(TIMER).is_enabled
    assert host.service(TIMER).is_running


def test_the_address_is_roots_alone(host: Host, to: str) -> None:
    file = host.file(CONF)
    assert (file.user, file.mode) == ("root", 0o600)


def test_word_goes_where_the_settings_say(host: Host, rig: Rig, to: str) -> None:
    with host.sudo():
        lines = host.file(CONF).content_string.splitlines()
    same = f"to={to}" in lines and ((f"relay={rig.mail_relay}" in lines) == bool(rig.mail_relay))
    assert same, f"{CONF} is not as the settings say"  # without the address


def test_the_last_look_went_well(host: Host, record: dict[str, Any]) -> None:
    assert host.check_output("systemctl show -P Result %s", SERVICE) == "success"
    ran = time.mktime(time.strptime(record["ran"], "%Y-%m-%d %H:%M UTC")) - time.timezone
    now, uptime = float(host.check_output("date +%s")), host.check_output("cat /proc/uptime")
    late = min(now - ran, float(uptime.split()[0]))
    assert late < LATE_SECONDS, f"the last look was at {record['ran']}"


def test_a_test_message_went_there(host: Host, to: str) -> None:
    with host.sudo():
        assert host.check_output(f"{WATCH} --check") == "ok"


def test_no_message_waits_to_be_sent(record: dict[str, Any]) -> None:
    assert (record["trouble"], len(record["outbox"])) == ("", 0)
