"""The box's own way back, on this machine, with a state folder and an /etc of the test's.

systemctl, sshd and ufw are stand-ins; the real ones are in lane lockout.
"""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "box/bin/access-guard"
PROGRAMS = {"systemctl": "exit 0", "sshd": "exit 0", "ufw": 'case "$*" in *reload*) exit 1 ;; esac'}


@pytest.fixture
def guard(tmp_path: Path) -> list[str]:
    """access-guard on a box whose ufw does not load."""
    for name in ("bin", "etc/ssh/sshd_config.d", "etc/ufw", "state"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in PROGRAMS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "etc/ssh/sshd_config").write_text("Port 22\n")
    (tmp_path / "etc/ufw/ufw.conf").write_text("ENABLED=yes\n")
    text = SCRIPT.read_text().replace("/etc/", f"{tmp_path}/etc/").replace("/dev/kmsg", "/dev/null")
    text = text.replace("/var/lib/deeprig/access", f"{tmp_path}/state")
    text = text.replace("/var/lib/deeprig/firewall-before", f"{tmp_path}/firewall-before")
    (tmp_path / "guard").write_text(
        text.replace("set -eu\n", f"set -eu; PATH={tmp_path}/bin:$PATH\n", 1)
    )
    return ["sh", str(tmp_path / "guard")]


def ends(guard: list[str], *words: str) -> int:
    return subprocess.run([*guard, *words], capture_output=True, timeout=60).returncode


def test_what_was_taken_back_in_part_is_no_deploys_any_more(
    guard: list[str], tmp_path: Path
) -> None:
    """Its old files are gone by then: what it wrote now, nothing would take back."""
    assert ends(guard, "begin", "first") == 0
    assert ends(guard, "mine", "first") == 0  # the control
    assert ends(guard, "revert") == 1  # the alarm; the firewall does not load
    assert (tmp_path / "state/pending").exists()  # it is tried again
    assert ends(guard, "mine", "first") == 1
    assert ends(guard, "confirm", "first") == 1
    assert ends(guard, "revert") == 1
    (tmp_path / "bin/ufw").write_text("#!/bin/sh\n")  # its owner has mended it
    assert ends(guard, "begin", "second") == 0
    assert ends(guard, "mine", "second") == 0


def test_the_host_key_that_strict_makes_anew_comes_back_with_the_rest(
    guard: list[str], tmp_path: Path
) -> None:
    """A box may be known by that one alone."""
    key = tmp_path / "etc/ssh/ssh_host_rsa_key"
    halves = (key, key.with_suffix(".pub"))
    for half in halves:
        half.write_text("old\n")
    (tmp_path / "bin/ufw").write_text("#!/bin/sh\n")
    assert ends(guard, "begin", "first") == 0
    for half in halves:
        half.write_text("new\n")
    assert ends(guard, "revert") == 0
    assert [half.read_text() for half in halves] == ["old\n", "old\n"]
