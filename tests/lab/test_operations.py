"""The operations that must not go wrong on a box without a screen, on a real one."""

from collections.abc import Callable
from typing import Any

import pytest

from deeprig import operations
from deeprig.operations import files, packages
from deeprig.runner.runs import Report
from deeprig.settings import Rig
from lab import boxes
from tests.lab.conftest import run_on

pytestmark = pytest.mark.lab

SECRET = "s3cr3t-" + "x" * 40
# Prints a line whenever others can read the secret in a file, or an argv shows it.
WATCH = (
    "import glob, os, time\n"
    "end = time.time() + 4\n"
    "while time.time() < end:\n"
    "    for path in glob.glob('/etc/watched*') + glob.glob('/tmp/*'):\n"
    "        try:\n"
    "            if os.stat(path).st_mode & 0o077 and 's3cr3t' in open(path).read(): print(path)\n"
    "        except OSError: pass\n"
    "    for path in glob.glob('/proc/[0-9]*/cmdline'):\n"
    "        try:\n"
    "            if b's3cr3t-' in open(path, 'rb').read(): print('argv', path)\n"
    "        except OSError: pass\n"
)


def once(operation: Callable[..., Any], **arguments: Any) -> Callable[[Rig], None]:
    def build(rig: Rig) -> None:
        operation(name="The operation", **arguments)

    return build


def status(report: Report) -> str:
    return report.steps[-1].status


def test_a_file_lands_whole_with_its_owner_and_then_stays(
    box: boxes.Box, login: Callable[..., str]
) -> None:
    content = "quotes ' \" ` $HOME ünïcode\n"
    build = once(files.put, dest="/etc/new/dir/file", content=content, mode="640", group="adm")
    assert status(run_on(box, build)) == "changed"
    assert login("sudo cat /etc/new/dir/file") == content
    assert login("sudo stat -c '%U %G %a' /etc/new/dir/file").strip() == "root adm 640"
    assert status(run_on(box, build)) == "unchanged"
    login("sudo chmod 644 /etc/new/dir/file")
    assert status(run_on(box, build)) == "changed"


def test_what_its_validator_refuses_replaces_nothing(
    box: boxes.Box, login: Callable[..., str]
) -> None:
    file: dict[str, Any] = {"dest": "/etc/sudoers.d/t", "mode": "440", "validate": "visudo -cf %s"}
    good = once(files.put, content="Defaults lecture=never", **file)
    bad = once(files.put, content="not sudo at all", **file)
    assert status(run_on(box, good)) == "changed"
    assert run_on(box, bad).error is not None
    assert login("sudo cat /etc/sudoers.d/t").strip() == "Defaults lecture=never"
    assert login("sudo sh -c 'ls /etc/sudoers.d/t*'").split() == ["/etc/sudoers.d/t"]


def test_a_secret_is_never_in_argv_nor_readable_by_others(
    box: boxes.Box, login: Callable[..., str]
) -> None:
    login(f'echo "{WATCH}" > watch.py; sudo systemd-run --quiet --unit=watch python3 $PWD/watch.py')
    build = once(files.put, dest="/etc/watched", content=SECRET * 2000, mode="600")
    assert status(run_on(box, build)) == "changed"
    login("sleep 4")
    seen = login("sudo journalctl -u watch -o cat; sudo cat /etc/watched | head -c 7")
    assert seen.endswith("s3cr3t-")  # the control: it is there
    assert "/etc/watched" not in seen
    assert "argv" not in seen


def test_a_package_is_held(box: boxes.Box, login: Callable[..., str]) -> None:
    assert status(run_on(box, once(packages.hold, packages=["nano"]))) == "changed"
    assert login("apt-mark showhold").split() == ["nano"]
    assert status(run_on(box, once(packages.hold, packages=["nano"]))) == "unchanged"
    login("sudo apt-mark unhold nano")


def test_a_reboot_is_proved_by_another_boot_id(box: boxes.Box, login: Callable[..., str]) -> None:
    before = login("cat /proc/sys/kernel/random/boot_id")

    def build(rig: Rig) -> None:
        operations.reboot(name="Reboot")
        files.put(name="Go on", dest="/etc/after-reboot", content="here")

    report = run_on(box, build)
    assert [step.status for step in report.steps] == ["changed", "changed"]
    assert login("cat /proc/sys/kernel/random/boot_id") != before
    assert login("cat /etc/after-reboot").strip() == "here"


def test_a_box_that_does_not_come_back_is_an_error(box: boxes.Box) -> None:
    """The control: the reboot command does nothing there, so the boot_id stays."""

    def build(rig: Rig) -> None:
        operations.reboot(name="Reboot", timeout=6)

    def blind(rig: Rig) -> None:
        files.put(
            name="No reboots", dest="/usr/local/bin/systemctl", content="#!/bin/sh\n", mode="755"
        )

    assert run_on(box, blind).error is None
    try:
        report = run_on(box, build)
        assert report.error is not None
    finally:
        run_on(box, once(files.remove, path="/usr/local/bin/systemctl"))
