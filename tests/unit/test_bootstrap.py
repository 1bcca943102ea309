"""First contact, as far as it goes without a box."""

import re
import shutil
import subprocess
from pathlib import Path

import paramiko
import pytest
from click.testing import CliRunner

from deeprig.bootstrap.first_contact import SCRIPT
from deeprig.bootstrap.prompts import Answers
from deeprig.errors import DeeprigError
from deeprig.ssh import host_key_trust, key_pair, known_hosts
from deeprig.ssh.first_login import Target
from deeprig.ssh.host_key_trust import HostKeyChanged
from deeprig_cli.cli import main

RIG = Target("rig1.lan")


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    return tmp_path / "known_hosts"


def a_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


def yes(fingerprint: str) -> bool:
    return True


def no(fingerprint: str) -> bool:
    return False


def test_a_new_host_key_is_pinned_after_a_yes(pins: Path) -> None:
    key = a_key()
    assert host_key_trust.trust(RIG, pins, key, yes, False) == [f"host key in {pins}"]
    assert known_hosts.find(pins, "rig1.lan", 22) == key


def test_a_new_host_key_is_not_pinned_after_a_no(pins: Path) -> None:
    with pytest.raises(DeeprigError, match="was not accepted; nothing was changed"):
        host_key_trust.trust(RIG, pins, a_key(), no, False)
    assert not pins.exists()


def test_a_known_host_key_is_not_asked_about(pins: Path) -> None:
    key = a_key()
    known_hosts.pin(pins, "rig1.lan", 22, key)
    assert host_key_trust.trust(RIG, pins, key, no, False) == []


def test_the_same_key_behind_another_port_is_not_asked_about(pins: Path) -> None:
    key = a_key()
    known_hosts.pin(pins, "rig1.lan", 22, key)
    host_key_trust.trust(Target("rig1.lan", port=2222), pins, key, no, False)
    assert known_hosts.find(pins, "rig1.lan", 2222) == key


def test_a_changed_host_key_is_explained_and_kept_out(pins: Path) -> None:
    old, new = a_key(), a_key()
    known_hosts.pin(pins, "rig0", 22, a_key())
    known_hosts.pin(pins, "rig1.lan", 22, old)
    before = pins.read_text()
    with pytest.raises(HostKeyChanged) as error:
        host_key_trust.trust(RIG, pins, new, yes, False)
    said = str(error.value)
    [seen] = [one.seen for one in known_hosts.entries(pins, "rig1.lan", 22)]
    assert f"pinned: {old.fingerprint} in {pins} line 2, last seen {seen}\n" in said
    assert f"shown:  {new.fingerprint}\n" in said
    assert "--reinstalled" in said
    assert len(said.splitlines()) == 4
    assert pins.read_text() == before


def test_a_reinstalled_box_loses_all_its_old_doors(pins: Path) -> None:
    old, new = a_key(), a_key()
    known_hosts.pin(pins, "rig1.lan", 22, old)
    known_hosts.pin(pins, "rig1.lan", 2222, old, instead_of=22)
    host_key_trust.trust(RIG, pins, new, yes, True)
    assert [entry.key for entry in known_hosts.entries(pins, "rig1.lan")] == [new]


@pytest.mark.parametrize("prefix", ["", "SHA256:"])
def test_a_fingerprint_given_beforehand_decides(pins: Path, prefix: str) -> None:
    answers = Answers(fingerprint=f"{prefix}abc", yes=True, reinstalled=True, password_stdin=False)
    assert answers.is_the_box(RIG, "SHA256:abc", pins)
    with pytest.raises(DeeprigError, match="not what --fingerprint says; nothing was done"):
        answers.is_the_box(RIG, "SHA256:abd", pins)


def test_reinstalled_does_not_make_a_stranger_known(pins: Path) -> None:
    answers = Answers(fingerprint=None, yes=False, reinstalled=True, password_stdin=True)
    with pytest.raises(DeeprigError, match="is new here and there is no terminal to ask on"):
        answers.is_the_box(RIG, "SHA256:abc", pins)
    known_hosts.pin(pins, "rig1.lan", 22, a_key())
    assert answers.is_the_box(RIG, "SHA256:abc", pins)  # the control: it is known now


def make_key(file: Path, passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", file], check=True)
    return file


def test_a_key_is_read_with_the_comment_of_its_other_half(tmp_path: Path) -> None:
    file = make_key(tmp_path / "id")
    assert key_pair.read(file).public == file.with_suffix(".pub").read_text().strip()


def test_the_other_half_of_another_key_is_not_taken(tmp_path: Path) -> None:
    file, other = make_key(tmp_path / "id"), make_key(tmp_path / "other")
    shutil.copy(other.with_suffix(".pub"), file.with_suffix(".pub"))
    pair = key_pair.read(file)
    assert pair.public == f"ssh-ed25519 {pair.private.get_base64()} deeprig"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing", r"missing is not there; make it with `ssh-keygen -t ed25519 -f .*missing`"),
        ("locked", r"locked has a passphrase and no agent holds it; run `ssh-add .*locked` first"),
        ("locked.pub", r"is the public half; name .*locked with --key or box"),
        ("junk", r"junk is no private key that can be used"),
    ],
)
def test_a_key_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    make_key(tmp_path / "locked", passphrase="secret")
    (tmp_path / "junk").write_text("junk\n")
    with pytest.raises(DeeprigError, match=sentence) as error:
        key_pair.read(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["--key", "missing"], "", "missing is not there; make it with"),
        (["--key", "id", "--password-stdin"], "", "--password-stdin found no line on stdin"),
        (["--key", "id", "--inventory", "none.py"], "", "none.py is not there; name the inventory"),
        (["--key", "id", "--port", "1"], "", "port 1 refuses connections"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    stdin: str,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_key(tmp_path / "id")
    result = CliRunner().invoke(main, ["bootstrap", "127.0.0.1", *arguments], input=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_script_is_read_whole_before_it_runs() -> None:
    """A link that breaks while it is sent must not leave half of it done."""
    top = [line for line in SCRIPT.read_text().splitlines() if re.match(r"[a-z]", line)]
    commands = [line for line in top if not line.endswith("() {")]
    assert commands == ["set -eu", "umask 022", "all"]
    assert SCRIPT.read_text().endswith("\nall\n")


def test_the_help_of_all_verbs_fits_on_one_screen() -> None:
    result = CliRunner().invoke(main, ["--help"], terminal_width=80)
    assert result.exit_code == 0
    assert len(result.output.splitlines()) <= 24
