"""A box that needs a person says so: to a stand-in for an ntfy server, and by real mail."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from deeprig.operations import footprint
from deeprig.settings import Rig
from lab import boxes
from tasks import base, manifest, notify
from tests.lab.conftest import PYINFRA, ROOT, run_on
from tests.lab.receivers import Ntfy, mail_server

pytestmark = pytest.mark.lab

Login = Callable[..., str]
TOPIC = "topic-b3c1f0a9d2"
LOOK = f"sudo systemctl start {notify.SERVICE}"
TROUBLE = f'sudo python3 -c \'import json; print(json.load(open("{notify.STATE}"))["trouble"])\''
# Moves what the watch remembers into the past, by a number of days.
AGE = f"""sudo python3 -c '
import json, pathlib, sys
days = 86400 * int(sys.argv[1])
state = json.load(open("{notify.STATE}"))
for standing in state["standing"].values():
    standing["since"] -= days
    standing["told"] -= days
if "reboot" in state["memory"]:
    state["memory"]["reboot"]["since"] -= days
json.dump(state, open("{notify.STATE}", "w"))
seen = pathlib.Path("/var/lib/deeprig/driver-waiting.json")
if seen.exists():
    held = json.loads(seen.read_text())
    seen.write_text(json.dumps({{fix: since - days for fix, since in held.items()}}))
' """


def send_to(to: str | None, relay: str | None = None) -> Callable[[Rig], None]:
    """This part of deploy.py's order of work."""

    def build(rig: Rig) -> None:
        rig = replace(rig, notify=to, mail_relay=relay)
        survey = base.survey(rig=rig)
        if survey:
            base.have_program()
            if to is None:
                footprint.take_out("notify", notify.FOOTPRINT)
            else:
                notify.provide(to=to, relay=relay)
            kept = {"settings": manifest.settings_without_secrets(rig)}
            manifest.record(name="Write the manifest", decided=kept)

    return build


@contextmanager
def listening(box: boxes.Box) -> Iterator[Ntfy]:
    """A stand-in for an ntfy server that the box sends to, once its first word is through."""
    made = Ntfy()
    made.start()
    report = run_on(box, send_to(made.url("topic")))
    assert report.error is None, report.steps
    made.titles()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[Ntfy]:
    made = Ntfy()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def ntfy(box: boxes.Box, server: Ntfy) -> Ntfy:
    """The box sends to the stand-in, which takes what comes."""
    server.answer, server.delay = 200, 0
    server.start()
    report = run_on(box, send_to(server.url(TOPIC)))
    assert report.error is None, report.steps
    server.got.clear()
    return server


@pytest.fixture(autouse=True)
def by_hand(box: boxes.Box, login: Login) -> None:
    """Each look is ours: nothing comes in between. The timer has a test of its own."""
    login("sudo mkdir -p /run/systemd/system/deeprig-watch.timer.d")
    drop_in = "/run/systemd/system/deeprig-watch.timer.d/lab.conf"
    login(
        f"printf '[Timer]\\nOnBootSec=\\nOnUnitInactiveSec=\\nOnBootSec=1d\\n' | sudo tee {drop_in}"
    )
    login("sudo systemctl daemon-reload")


def as_root(script: str) -> str:
    quoted = script.replace("'", "'\\''")
    return f"sudo sh -c '{quoted}'"


def test_a_mail_address_without_a_way_for_mail_is_refused_before_anything_is_touched(
    box: boxes.Box,
) -> None:
    report = run_on(box, send_to("ann@example.org"))
    assert report.error is not None
    assert report.steps == []


def test_an_address_that_nobody_answers_fails_the_deploy_and_the_next_one_makes_it_good(
    box: boxes.Box, server: Ntfy, login: Login
) -> None:
    server.stop()
    report = run_on(box, send_to(server.url(TOPIC)))
    assert report.error is not None and report.error.endswith("Send a test message")
    [failed] = [step for step in report.steps if step.status == "failed"]
    assert failed.output == (
        f"The test message could not be sent: cannot reach 198.18.86.1:{server.port}: "
        "Connection refused."
    )
    server.start()
    assert run_on(box, send_to(server.url(TOPIC))).error is None
    assert server.titles() == ["notifications work"]
    assert run_on(box, send_to(server.url(TOPIC))).changes == []
    assert server.titles() == []
    assert run_on(box, send_to(server.url("another-topic"))).error is None
    assert [message.topic for message in server.got] == ["another-topic"]


class Trouble(NamedTuple):
    """How it is brought about and mended; what is told, and with which words."""

    breaks: str
    mends: str
    title: str
    priority: str
    words: str
    days: int = 0


FIX = """
cd /srv/rig; for v in 1 2; do mkdir -p p/DEBIAN
{ echo Package: nvidia-stand-in; echo Version: $v; echo Architecture: all
  echo 'Maintainer: lab <lab@lab>'; echo Description: a stand-in for a driver package, empty
} > p/DEBIAN/control; dpkg-deb -b p $v.deb; done
d=dists/rig-security/main/binary-amd64; mkdir -p $d
{ cat p/DEBIAN/control; echo Filename: 2.deb; echo Size: $(stat -c %s 2.deb)
  echo SHA256: $(sha256sum < 2.deb | cut -d' ' -f1); } > $d/Packages
dpkg -i 1.deb; apt-mark hold nvidia-stand-in
echo 'deb [trusted=yes] file:/srv/rig rig-security main' > /etc/apt/sources.list.d/rig.list
apt-get -q update
"""
TROUBLES = {
    "a full file system": Trouble(
        "mkdir -p /mnt/small; mount -t tmpfs -o size=10m none /mnt/small; "
        "head -c 9800000 /dev/zero > /mnt/small/x",
        "rm /mnt/small/x",
        "/mnt/small is nearly full",
        "high",
        "/mnt/small has used 93% of its space, 1 MB left",
    ),
    "a file system with too many files": Trouble(
        "mkdir -p /mnt/few; mount -t tmpfs -o size=10m,nr_inodes=40 none /mnt/few; "
        "for n in $(seq 37); do : > /mnt/few/$n; done",
        "umount /mnt/few",
        "/mnt/few has too many files",
        "high",
        "/mnt/few has used 95% of its inodes",
    ),
    "a failed unit": Trouble(
        "systemd-run --quiet --wait --unit=wn-broken false; true",
        "systemctl reset-failed wn-broken",
        "unit wn-broken.service has failed",
        "high",
        "`systemctl status wn-broken.service` says why.",
    ),
    "a disk that is not mounted": Trouble(
        "echo 'UUID=5b3c /mnt/missing ext4 nofail 0 2' >> /etc/fstab",
        "sed -i /missing/d /etc/fstab",
        "/mnt/missing is not mounted",
        "urgent",
        "what is written there now is not on its disk",
    ),
    "a reboot that is owed": Trouble(
        "touch /run/reboot-required",
        "rm /run/reboot-required",
        "updates wait for a reboot",
        "default",
        "Updates have waited for a reboot for 7 days",
        7,
    ),
    "a driver that lacks fixes": Trouble(
        f"mkdir -p /srv/rig; {FIX}",
        "apt-mark unhold nvidia-stand-in; rm /etc/apt/sources.list.d/rig.list; "
        "dpkg -r nvidia-stand-in",
        "the driver lacks security fixes",
        "default",
        "nvidia-stand-in 1 (2 for 31 days)",
        31,
    ),
}


@pytest.mark.parametrize("name", TROUBLES, ids=[name.replace(" ", "-") for name in TROUBLES])
def test_trouble_is_told_once_and_once_more_when_it_is_over(
    box: boxes.Box, login: Login, ntfy: Ntfy, name: str
) -> None:
    trouble = TROUBLES[name]
    login(LOOK)
    assert ntfy.titles() == []  # the control: all is well before
    login(as_root(trouble.breaks))
    try:
        login(LOOK)
        if trouble.days:
            assert ntfy.titles() == []  # not yet
            login(f"{AGE} {trouble.days}")
            login(LOOK)
        [message] = ntfy.got
        assert message.topic == TOPIC
        assert message.title == f"{box.name}: {trouble.title}"
        assert message.priority == trouble.priority
        assert trouble.words in message.text
        ntfy.got.clear()
        login(LOOK)
        assert ntfy.titles() == []
    finally:
        login(as_root(trouble.mends))
    login(LOOK)
    login(LOOK)
    assert ntfy.titles() == [f"over: {trouble.title}"]


def test_it_is_told_again_after_a_day(login: Login, ntfy: Ntfy) -> None:
    trouble = TROUBLES["a failed unit"]
    login(as_root(trouble.breaks))
    login(LOOK)
    login(f"{AGE} 1")
    login(LOOK)
    login(LOOK)
    assert "It has been so since" in ntfy.got[-1].text
    assert ntfy.titles() == [trouble.title] * 2
    login(as_root(trouble.mends))
    login(LOOK)


@pytest.mark.parametrize("way", ["gone", "refusing"])
def test_what_cannot_be_sent_is_kept_and_sent_later(login: Login, ntfy: Ntfy, way: str) -> None:
    unit, disk = TROUBLES["a failed unit"], TROUBLES["a disk that is not mounted"]
    if way == "gone":
        ntfy.stop()
    ntfy.answer = 503
    login(as_root(unit.breaks))
    login(LOOK)
    assert ("refused" if way == "gone" else "answers 503") in login(TROUBLE)
    login(as_root(unit.mends))
    login(as_root(disk.breaks))
    login(LOOK)  # nor does the look itself fail:
    assert login(f"systemctl is-failed {notify.SERVICE}", check=False).strip() == "inactive"
    assert ntfy.titles() == []

    ntfy.answer = 200
    if way == "gone":
        ntfy.start()
    login(LOOK)
    login(LOOK)
    assert ntfy.titles() == [unit.title, f"over: {unit.title}", disk.title]
    assert login(TROUBLE) == "\n"
    login(as_root(disk.mends))
    login(LOOK)


def test_the_timer_looks_soon_after_a_boot(box: boxes.Box, login: Login, ntfy: Ntfy) -> None:
    trouble = TROUBLES["a disk that is not mounted"]
    login(as_root(trouble.breaks))
    sooner = "/etc/systemd/system/deeprig-watch.timer.d/sooner.conf"  # the real one waits 2 min
    at_once = ["[Timer]", "OnBootSec=", "OnBootSec=10", "RandomizedDelaySec=0", "AccuracySec=1s"]
    login(
        f"sudo mkdir -p $(dirname {sooner}); printf '%s\\n' {' '.join(at_once)} | sudo tee {sooner}"
    )
    boxes.reboot(box.name)
    started = time.monotonic()
    while not ntfy.got and time.monotonic() - started < 60:
        time.sleep(0.5)
    assert ntfy.titles() == [trouble.title]
    login(as_root(f"rm -r $(dirname {sooner}); {trouble.mends}"))
    login(LOOK)


def test_the_address_is_on_no_command_line_and_in_no_output(
    box: boxes.Box, login: Login, ntfy: Ntfy, tmp_path: Path
) -> None:
    secret = "another-topic-77e1"
    pattern = "another-topic-77e[1]"  # sudo writes the command that looks for it into the journal
    inventory = tmp_path / "inventory.py"
    inventory.write_text(with_notify(box, ntfy.url(secret)))
    only_this = tmp_path / "only_notify.py"
    only_this.write_text(
        "from pyinfra.context import config, host\n"
        "from tests.lab.test_notify import send_to\n"
        "config.SUDO = True\n"
        "send_to(host.data.rig.notify)(host.data.rig)\n"
    )
    ntfy.delay = 3  # time to look at the processes while it is being sent
    seen = "/tmp/command-lines"
    login(
        f"sudo systemd-run --quiet --unit=spy sh -c 'while :; do cat /proc/[0-9]*/cmdline "
        f"/proc/[0-9]*/environ; sleep 0.2; done > {seen} 2>/dev/null'"
    )
    done = subprocess.run(
        [PYINFRA, "-y", "-vvv", str(inventory), str(only_this)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    login(LOOK)
    login("sudo systemctl stop spy")
    ntfy.delay = 0
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert secret in [message.topic for message in ntfy.got]  # the control: it was sent there
    assert (
        "/usr/local/lib/deeprig/current/deeprig-box watch --test" in said
    )  # the control: all of it is shown
    assert secret not in said
    control = f"sudo grep -c 'deeprig-box watch' {seen}"
    assert login(control, check=False).strip() != "0"
    assert login(f"sudo grep -c {pattern} {seen}", check=False).strip() == "0"
    assert (
        login(f"sudo rm {seen}; sudo journalctl -q -o export | grep -c {pattern}", check=False)
        == "0\n"
    )
    where = login(
        f"sudo grep -rlsI {pattern} /etc /var /usr/local /run /home /root /tmp", check=False
    )
    assert where.split() == [notify.CONF]
    assert login(f"stat -c '%U %a' {notify.CONF}") == "root 600\n"
    assert login(f"cat {notify.CONF} 2>&1", check=False).endswith("Permission denied\n")


def with_notify(box: boxes.Box, to: str) -> str:
    return box.inventory.read_text().replace("rig=Rig(", f'rig=Rig(notify="{to}",', 1)


def test_a_login_in_the_address_becomes_a_header(box: boxes.Box, server: Ntfy) -> None:
    address = server.url(TOPIC).replace("://", "://ann:pass@")
    server.got.clear()
    assert run_on(box, send_to(address)).error is None
    [message] = server.got
    assert (message.topic, message.login) == (TOPIC, "Basic YW5uOnBhc3M=")


def test_mail_goes_through_the_relay(box: boxes.Box, login: Login) -> None:
    with mail_server() as mailbox:
        assert run_on(box, send_to("ann@example.org", mailbox.server)).error is None
        trouble = TROUBLES["a failed unit"]
        login(as_root(trouble.breaks))
        login(LOOK)
        login(as_root(trouble.mends))
        login(LOOK)
    subjects = ["notifications work", trouble.title, f"over: {trouble.title}"]
    assert [letter["Subject"] for letter in mailbox.got] == [f"{box.name}: {s}" for s in subjects]
    assert set(mailbox.recipients) == {"ann@example.org"}
    letter = mailbox.got[1]
    assert letter["From"] == f"deeprig@{box.name}.localdomain"
    assert trouble.words in letter.get_content()


def test_mail_goes_by_the_boxs_own_sendmail(box: boxes.Box, login: Login) -> None:
    login(
        as_root("apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -qy install msmtp-mta")
    )
    with mail_server() as mailbox:
        host, _, port = mailbox.server.partition(":")
        account = f"account default\\nhost {host}\\nport {port}\\nfrom a@lab\\n"
        login(as_root(f"printf '{account}' > /etc/msmtprc"))
        assert run_on(box, send_to("ann@example.org")).error is None
        trouble = TROUBLES["a failed unit"]
        login(as_root(trouble.breaks))
        login(LOOK)
    login(as_root(trouble.mends))
    assert [letter["Subject"].partition(": ")[2] for letter in mailbox.got] == [
        "notifications work",
        trouble.title,
    ]
    login(LOOK)
    assert "/usr/sbin/sendmail does not take it" in login(TROUBLE)  # the server is gone by now


def test_the_checks_of_verify_agree(
    box: boxes.Box, ntfy: Ntfy, tmp_path: Path, login: Login
) -> None:
    login(LOOK)
    inventory = tmp_path / "inventory.py"
    inventory.write_text(with_notify(box, ntfy.url(TOPIC)))

    def check() -> str:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rf", "tests/host/test_notify.py",
             "--inventory", str(inventory)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        ).stdout  # fmt: skip

    assert "6 passed" in check()
    login(f"sudo chmod 644 {notify.CONF}")
    assert "1 failed, 5 passed" in check()
    login(f"sudo chmod 600 {notify.CONF}")
    ntfy.stop()
    login(as_root(TROUBLES["a failed unit"].breaks))
    login(LOOK)
    said = check()
    ntfy.start()
    login(as_root(TROUBLES["a failed unit"].mends))
    assert "1 failed, 5 passed" in said
    assert "test_no_message_waits_to_be_sent" in said


def test_it_is_taken_out(box: boxes.Box, login: Login, ntfy: Ntfy) -> None:
    there = f"sudo ls {notify.CONF} {notify.STATE} {notify.XIDS} 2>/dev/null | wc -l"
    assert login(there) == "3\n"
    assert run_on(box, send_to(None)).error is None
    assert login(there) == "0\n"
    assert login("ls /etc/systemd/system | grep watch", check=False) == ""
    assert login(f"systemctl is-active {notify.TIMER}", check=False) == "inactive\n"
    assert run_on(box, send_to(None)).changes == []
