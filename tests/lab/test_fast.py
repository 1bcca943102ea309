"""The whole deploy over both connectors: the same facts, the same plans, the same box."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.host import Host

from deeprig import inventories
from deeprig.runner import runs
from deeprig.runner.runs import Report
from deploy import build
from lab import boxes
from tests.lab.conftest import variant

pytestmark = pytest.mark.lab

# Broken one after the other by hand; a deploy has to mend each, whichever way it comes.
DRIFT = (
    "rm /etc/deeprig/tmux.conf",
    "chmod 600 /etc/deeprig/notebook.conf",
    "echo '# somebody was here' >> /usr/local/lib/deeprig/current/bin/notebook-window",
    "systemctl disable -q apt-daily-upgrade.timer",
    "systemctl unmask -q suspend.target",
    "ln -sfn /nowhere /etc/environment.d/50-deeprig-proxy.conf",
    "ufw allow 8080/tcp comment 'deeprig 8080/tcp' >/dev/null",
    # Their systemd goes 10 s later, which must not be between two looks.
    "loginctl disable-linger ai; for i in $(seq 60); do "
    "systemctl is-active -q user@$(id -u ai) || break; sleep 0.5; done",
)
# Whatever is ours on a box, and what the system makes of it.
STATE = r"""
find /etc/deeprig /etc/ssh /etc/apt /etc/systemd /etc/profile.d /etc/environment.d /etc/pip.conf \
  /etc/uv /etc/ufw /usr/local/lib/deeprig/current/ /usr/local/share/ca-certificates /opt/deeprig \
  -maxdepth 3 ! -name '*.lck' ! -path '*__pycache__*' ! -path '/etc/ufw*.20*' \
  -printf '%p %y %m %u %g %l\n' | sort
find /etc/deeprig /etc/ssh /etc/pip.conf /etc/uv /usr/local/lib/deeprig/current/ \
  /etc/systemd/system  -type f ! -path '*/__pycache__/*' -exec sha256sum {} + | sort
ufw status verbose; ufw show added
dpkg-query -W; apt-mark showmanual
systemctl list-unit-files --no-legend 'apt-daily*' 'deeprig*' '*suspend*' ssh.service ssh.socket
ls /var/lib/systemd/linger
"""
# What is different at each look, whoever looks: free bytes, ages, the clock.
MOVING = ("HostSurvey",)


@pytest.fixture(scope="module")
def both(box: boxes.Box, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The box's inventory, for each way to reach it."""
    plain = tmp_path_factory.mktemp("plain") / "inventory.py"
    variant(box, plain, ("rig=Rig(", 'rig=Rig(\n            connection="ssh",'))
    return {"ssh": plain, "fast": box.inventory}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every fact that a run asks, with its answer."""
    said: list[str] = []
    get_fact = Host.get_fact

    def listen(self: Host, fact: Any, *args: Any, **arguments: Any) -> Any:
        answer = get_fact(self, fact, *args, **arguments)
        shown = "" if fact.__name__ in MOVING else repr(answer)
        said.append(f"{self.state.current_stage} {fact.__name__} {arguments} {shown}")
        return answer

    monkeypatch.setattr(Host, "get_fact", listen)
    yield said


def run(inventory: Path, *, dry: bool = False) -> Report:
    [(name, data)] = inventories.load(inventory)
    return runs.run(name, data, build, dry=dry)


def steps(report: Report) -> list[tuple[str, str, bool, bool]]:
    return [(s.name, s.status, s.would_change, s.conditional) for s in report.steps]


def test_a_first_deploy_over_the_fast_one_leaves_nothing_to_do_for_the_plain_one(
    both: dict[str, Path], asked: list[str]
) -> None:
    first = run(both["fast"])
    assert first.error is None
    assert len(first.changes) > 30
    asked.clear()
    plain = run(both["ssh"])
    facts = list(asked)
    asked.clear()
    fast = run(both["fast"])
    assert (plain.error, fast.error, plain.changes, fast.changes) == (None, None, [], [])
    assert steps(fast) == steps(plain)
    assert asked == facts
    assert len(facts) > 100


def test_after_each_kind_of_drift_both_plan_the_same_and_mend_it_to_the_same_end(
    both: dict[str, Path], asked: list[str], login: Callable[..., str]
) -> None:
    sound = state_of(login)
    ends = {}
    for way in ("ssh", "fast"):
        root(login, "\n".join(DRIFT))
        assert state_of(login) != sound  # the control: it is broken
        plans = {}
        for looking in ("ssh", "fast"):
            asked.clear()
            report = run(both[looking], dry=True)
            plans[looking] = (steps(report), list(asked), report.error)
        assert plans["fast"] == plans["ssh"]
        assert plans["ssh"][2] is None
        mended = run(both[way])
        assert mended.error is None
        ends[way] = (mended.changes, state_of(login))
        assert len(mended.changes) >= 6
    assert ends["fast"][0] == ends["ssh"][0]
    for way, (_, state) in ends.items():
        assert set(state) ^ set(sound) == set(), way


def root(login: Callable[..., str], script: str) -> str:
    return login(f"sudo sh <<'END'\n{script}\nEND")


def state_of(login: Callable[..., str]) -> list[str]:
    return root(login, STATE).splitlines()


def test_what_somebody_changes_between_batch_and_use_is_mended_by_this_run_or_the_next(
    both: dict[str, Path], login: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound: a run may miss what changed in the seconds after its batch; never for good."""
    conf = "/etc/deeprig/tmux.conf"
    sound = login(f"sha256sum {conf}")
    [(name, data)] = inventories.load(both["fast"])

    def change_behind_its_back(rig: Any) -> None:
        build(rig)
        login(f"sudo rm {conf}")

    early = runs.run(name, data | {"fast_answer_seconds": 600.0}, change_behind_its_back)
    assert early.changes == []  # within the bound: the answer from before was used
    late = runs.run(name, data | {"fast_answer_seconds": 0.0}, build)
    assert any(conf in change for change in late.changes)
    assert login(f"sha256sum {conf}") == sound

    def change_and_wait(rig: Any) -> None:
        change_behind_its_back(rig)
        time.sleep(1)

    waited = runs.run(name, data | {"fast_answer_seconds": 0.5}, change_and_wait)
    assert any(conf in change for change in waited.changes)  # beyond it: the run saw it
    assert login(f"sha256sum {conf}") == sound


def test_the_record_is_beside_the_pins_and_its_owners_alone(
    box: boxes.Box, both: dict[str, Path]
) -> None:
    [(name, data)] = inventories.load(both["fast"])
    record = Path(data["fast_questions"]) / f"{name}.json"
    assert record.parent.parent == box.known_hosts.parent
    assert record.stat().st_mode & 0o777 == 0o600
    rows = json.loads(record.read_text())["questions"]
    assert len(rows) > 30
