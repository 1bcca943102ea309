"""The order of work, asked of pyinfra without a machine."""

from typing import Any

import pytest

from deeprig.facts.survey import read
from deeprig.parsers import ufw
from deeprig.runner import runs
from deeprig.runner.runs import Report
from deeprig.settings import Firewall, Notebook, Python, Rig, User
from deploy import build
from tasks import firewall
from tests.unit.recorded import DEBIAN_13
from tests.unit.test_survey import KEY


def plan(rig: Rig, survey: list[str] = DEBIAN_13) -> Report:
    """What a run would do to a box that answers the survey like this, and everything else empty."""
    answers = {"USERS=": "\n".join(survey), "sudo -n true": "yes"}
    data: dict[str, Any] = {
        "rig": rig,
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": answers,
    }
    return runs.run("@fake/rig1", data, build, dry=True)


def components(report: Report) -> list[str]:
    return list(dict.fromkeys(step.name.partition(" | ")[0] for step in report.steps))


def test_the_order_of_work() -> None:
    assert components(plan(Rig())) == [
        "One at a time",
        "Network access",
        "Program",
        "apt",
        "Python tools, begun",
        "Base",
        "Data folder",
        "Sessions",
        "Python environments, begun",
        "SSH and firewall",
        "Python tools",
        "Notebook server",
        "Jobs",
        "Python environments",
        "Manifest",
    ]


def test_a_part_that_is_none_is_left_alone() -> None:
    report = plan(Rig(notebook=None, python=None, firewall=None, storage=None))
    assert components(report) == [
        "One at a time",
        "Network access",
        "Program",
        "apt",
        "Base",
        "SSH and firewall",
        "Manifest",
    ]
    assert not any("ufw" in step.name for step in report.steps)


def test_every_part_that_is_none_is_left_alone_and_an_absent_one_goes() -> None:
    given = [*DEBIAN_13, "passthrough_was_in=yes"]
    assert not {"Passthrough", "Notifications", "Absent"} & {*components(plan(Rig(), given))}
    rig = Rig(absent={"passthrough", "notify"})  # type: ignore[arg-type]
    assert (rig.passthrough, rig.notify) == (None, None)
    assert "Passthrough" in components(plan(rig, given))


def test_a_refused_box_gets_no_operations() -> None:
    report = plan(Rig(), [*DEBIAN_13, "root_group=ai|docker"])
    assert report.steps == []
    assert report.error is not None


def test_every_operation_has_a_name_of_its_own_and_none_shows_its_arguments() -> None:
    rig = Rig(
        users=(User(name="anna", keys=(KEY,), sudo=True), User(name="otto", present=False)),
        notebook=Notebook(password_hash="argon2:$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA"),
        python=Python(python="system"),
    )
    names = [step.name for step in plan(rig).steps]
    assert len(names) > 40
    assert len(set(names)) == len(names)
    assert not any("=" in name or "argon2" in name or "ssh-ed25519" in name for name in names)


def test_ssh_is_let_in_before_the_firewall_is_switched_on() -> None:
    nothing = firewall.Now((), (), firewall_on=False, before=None)
    commands = firewall.on(firewall.ssh_rules([2222]), nothing)
    assert commands[0] == (
        "ufw allow in proto tcp from any to any port 2222 comment 'deeprig ssh 2222/tcp'"
    )
    assert commands[-1] == "ufw --force enable"


@pytest.mark.parametrize(
    ("rule", "command"),
    [
        ("8080/tcp", "ufw allow in proto tcp from any to any port 8080"),
        ("60000:61000/udp", "ufw allow in proto udp from any to any port 60000:61000"),
        (
            "9100/tcp from 192.168.1.7/24",
            "ufw allow in proto tcp from 192.168.1.0/24 to 0.0.0.0/0 port 9100",
        ),
    ],
)
def test_each_kind_of_rule_is_one_ufw_command(rule: str, command: str) -> None:
    [wanted] = firewall.rules(Firewall(allow=(rule,)), survey=read(DEBIAN_13)).items()
    assert ufw.missing(*wanted, []) == [f"{command} comment 'deeprig {rule}'"]


def test_a_wireguard_link_in_use_is_let_in() -> None:
    survey = read([*DEBIAN_13, "wireguard=51820", "wireguard=0"])
    assert list(firewall.rules(Firewall(), survey=survey)) == ["wireguard 51820/udp"]
