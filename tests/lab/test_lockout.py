"""Whatever breaks the way in, the box opens the old door again by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deeprig.errors import DeeprigError
from deeprig.facts.survey import Survey
from deeprig.parsers.ssh_socket import Socket
from deeprig.settings import Rig, Ssh
from lab import boxes
from tasks import access, base, firewall, ssh
from tests.lab.conftest import run_on, wait_for
from tests.lab.test_bootstrap import inside

pytestmark = pytest.mark.lab

Login = Callable[..., str]
ALARM_SECONDS = 120


def usual(rig: Rig) -> None:
    survey = base.survey(rig=rig)
    assert survey is not None
    base.have_program()
    access.change(survey=survey, rig=rig)


def broken(sshd: str = "") -> Callable[[Rig], None]:
    """The usual way in with something in it that shuts us out."""

    def build(rig: Rig) -> None:
        survey = base.survey(rig=rig)
        assert survey is not None
        contents = ssh.contents(Ssh(), survey=survey, own={}, socket=Socket())
        contents[ssh.DROP_IN] = f"{sshd}\n{contents[ssh.DROP_IN]}"
        base.have_program()
        access.prove_or_take_back(
            name="Break the way in",
            contents=contents,
            wall=access.Wall({}),
            way=access.Way(port=22, dialled=22),
        )

    return build


@pytest.fixture(scope="module", autouse=True)
def usual_way_in(box: boxes.Box) -> None:
    report = run_on(box, usual)
    assert report.error is None, report.steps


@pytest.fixture
def before_and_after(login: Login) -> Iterator[None]:
    """The old door is open before, and its settings are the same afterwards."""
    look = (
        "sudo sh -c 'cat /etc/ssh/sshd_config.d/*; ufw show added; ufw status; "
        "ss -ltnH sport = 22; ls /var/lib/deeprig/access/pending 2>&1; "
        "systemctl is-active deeprig-access-revert.timer'"
    )
    before = login(look, check=False)
    assert "Status: active" in before
    assert "cannot access" in before
    yield
    # The door opens before the last of it is back.
    with suppress(AssertionError):
        wait_for(lambda: login(look, check=False) == before, 30, every=2)
    assert login(look, check=False) == before


@pytest.mark.usefixtures("before_and_after")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(broken("AllowUsers nobody"), id="nobody-may-log-in"),
        pytest.param(broken("ListenAddress 127.0.0.1"), id="listens-on-loopback-only"),
        pytest.param(broken("ForceCommand /bin/false"), id="logins-run-nothing"),
    ],
)
def test_a_way_in_that_nobody_can_use_is_taken_back(
    box: boxes.Box, login: Login, change: Callable[[Rig], None]
) -> None:
    started = time.monotonic()
    report = run_on(box, change)
    assert report.error is not None
    assert "Break the way in" in report.error
    assert time.monotonic() - started < ALARM_SECONDS
    assert login("echo in").strip() == "in"


@pytest.mark.usefixtures("before_and_after")
def test_a_firewall_that_shuts_us_out_is_taken_back(
    box: boxes.Box, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = firewall.on
    shut = "ufw insert 1 deny from 198.18.86.0/24 comment 'deeprig no'"
    monkeypatch.setattr(firewall, "on", lambda *of: [*real(*of), shut])
    report = run_on(box, broken())
    assert report.error is not None
    assert login("echo in").strip() == "in"


@pytest.mark.usefixtures("before_and_after")
def test_settings_that_sshd_refuses_never_reach_it(
    box: boxes.Box, caplog: pytest.LogCaptureFixture
) -> None:
    report = run_on(box, broken("NoSuchKeyword yes"))
    assert report.error is not None
    assert "/10-deeprig.conf: line 1: Bad configuration option: NoSuchKeyword" in caplog.text


@pytest.mark.usefixtures("before_and_after")
def test_the_box_takes_it_back_when_the_control_machine_is_gone(
    box: boxes.Box, login: Login
) -> None:
    break_and_leave(login)
    started = time.monotonic()
    with pytest.raises(DeeprigError):  # the control: the door really is shut
        login("true")
    while time.monotonic() - started < ALARM_SECONDS:
        time.sleep(5)
        try:
            login("true")
        except DeeprigError:
            continue
        return
    pytest.fail(f"no login {ALARM_SECONDS} s after a change that nobody proved")


@pytest.mark.usefixtures("before_and_after")
def test_the_box_takes_it_back_after_a_power_cut_before_the_proof(
    box: boxes.Box, login: Login
) -> None:
    break_and_leave(login)
    boxes.cut(box.name)
    assert login("echo in").strip() == "in"


def alarm(box: boxes.Box) -> None:
    """What its clock does after 100 s."""
    inside(box, "systemctl start deeprig-access-revert.service || true")


def test_a_firewall_that_does_not_load_keeps_nobody_out(box: boxes.Box, login: Login) -> None:
    """Its owner has made a mistake in it, which shows at the next boot, or when it is reloaded."""
    rules = "/etc/ufw/before.rules"
    inside(box, f"cp -p {rules} /root/before.rules; sed -i 's/^COMMIT/-A no -j NO\\n&/' {rules}")
    break_and_leave(login)
    alarm(box)
    assert login("echo in").strip() == "in"
    # The rest is still owed, and comes when it can.
    look = "cd /var/lib/deeprig/access; ls; systemctl is-active deeprig-access-revert.timer || true"
    assert {"pending", "active"} <= {*inside(box, look).split()}
    inside(box, f"mv /root/before.rules {rules}")
    alarm(box)
    assert {"pending", "active"}.isdisjoint(inside(box, look).split())
    assert "Status: active" in login("sudo ufw status")


def test_a_way_in_that_was_restarted_often_is_taken_back_too(box: boxes.Box, login: Login) -> None:
    """systemd starts a service no more that was started five times within ten seconds."""
    break_and_leave(login)
    often = "for n in 1 2 3 4 5 6 7 8; do systemctl restart ssh || echo too often; done"
    assert "too often" in inside(box, often)  # the control
    alarm(box)
    assert login("echo in").strip() == "in"


def test_a_folder_that_is_a_link_is_taken_back_too(box: boxes.Box, login: Login) -> None:
    folder, elsewhere = "/etc/ssh/sshd_config.d", "/etc/ssh/elsewhere"
    inside(box, f"mv {folder} {elsewhere}; ln -s elsewhere {folder}")
    try:
        before = inside(box, f"cat {folder}/*")
        break_and_leave(login)
        alarm(box)
        assert login("echo in").strip() == "in"
        assert inside(box, f"readlink {folder}; cat {folder}/*") == f"elsewhere\n{before}"
    finally:
        inside(box, f"rm -rf {folder}; mv {elsewhere} {folder}; systemctl restart ssh")


@pytest.mark.usefixtures("before_and_after")
def test_a_deploy_that_comes_after_its_alarm_writes_nothing_into_another_one(
    box: boxes.Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A held-up link: the box has taken the change back, and another deploy has begun."""
    real = access.may_stand

    def held_up(state: State, host: Host, *of: Any) -> bool:
        may = real(state, host, *of)
        alarm(box)
        inside(box, f"{access.GUARD} begin other")
        return may

    monkeypatch.setattr(access, "may_stand", held_up)
    report = run_on(box, broken("LogLevel VERBOSE"))
    assert report.error is not None
    assert "the box has taken the change back already" in report.steps[-1].output
    assert inside(box, f"grep -c VERBOSE {ssh.DROP_IN} || true") == "0"
    late = f"echo 'touch /root/late' | {access.GUARD} apply late 22 && echo applied"
    assert inside(box, f"{late} || ls /root/late 2>/dev/null || true") == ""
    # The other one goes on, undisturbed; its answer may be lost, and is asked for again.
    inside(box, f"echo true | {access.GUARD} apply other 22")
    for _ in range(2):
        inside(box, f"{access.GUARD} confirm other")


def test_a_new_port_is_proved_and_the_old_one_closed(box: boxes.Box, login: Login) -> None:
    def move(port: int | None) -> Callable[[Rig], None]:
        def build(rig: Rig) -> None:
            survey: Survey | None = base.survey(rig=rig)
            assert survey is not None
            base.have_program()
            access.change(survey=survey, rig=replace(rig, ssh=Ssh(port=port)))

        return build

    report = run_on(box, move(2222))
    assert report.error is None
    assert login("echo in", port=2222).strip() == "in"
    with pytest.raises(DeeprigError, match="does not answer"):
        login("echo in", port=22)
    assert "22/tcp" not in login("sudo ufw show added", port=2222).replace("2222/tcp", "")


def break_and_leave(login: Login) -> None:
    """Change the way in as deeprig does, so that nobody gets in, and vanish before the proof."""
    guard = access.GUARD
    login(
        f'sudo sh -c \'{guard} begin drill && sed -i "1i AllowUsers nobody" {ssh.DROP_IN} '
        f"&& echo true | {guard} apply drill 22'"
    )
