"""The file of pinned host keys."""

import subprocess
from datetime import date
from pathlib import Path

import paramiko
import pytest

from deeprig import known_hosts
from deeprig.errors import DeeprigError


def a_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "known_hosts"


@pytest.mark.parametrize(("port", "name"), [(22, "rig1"), (2222, "[rig1]:2222")])
def test_a_door_is_named_as_ssh_names_it(port: int, name: str) -> None:
    assert known_hosts.label("rig1", port) == name


def test_a_pinned_key_is_found_by_us_and_by_openssh(file: Path) -> None:
    key = a_key()
    known_hosts.pin(file, "rig1", 2222, key)
    assert known_hosts.find(file, "rig1", 2222) == key
    found = subprocess.run(
        ["ssh-keygen", "-l", "-F", "[rig1]:2222", "-f", file], capture_output=True, text=True
    )
    assert key.fingerprint in found.stdout
    assert known_hosts.find(file, "rig1", 22) is None


def test_a_key_pinned_again_stays_one_line_with_today_on_it(file: Path) -> None:
    key = a_key()
    known_hosts.pin(file, "rig1", 22, key)
    file.write_text(file.read_text().replace(str(date.today()), "2026-01-31"))
    assert known_hosts.last_seen(file, "rig1", 22) == "2026-01-31"
    known_hosts.pin(file, "rig1", 22, key)
    assert len(file.read_text().splitlines()) == 1
    assert known_hosts.last_seen(file, "rig1", 22) == str(date.today())


def test_another_key_of_the_same_door_stays(file: Path) -> None:
    keys = [a_key(), a_key()]
    for key in keys:
        known_hosts.pin(file, "rig1", 22, key)
    assert known_hosts.keys_of(file, "rig1", 22) == keys


def test_a_box_that_is_forgotten_loses_every_door_and_no_other_box_does(file: Path) -> None:
    for name, port in [("rig1", 22), ("rig1", 2222), ("rig10", 22), ("rig10", 2222)]:
        known_hosts.pin(file, name, port, a_key())
    known_hosts.forget(file, "rig1")
    assert known_hosts.entries(file, "rig1") == []
    assert len(known_hosts.entries(file, "rig10")) == 2


def test_an_entry_says_where_it_stands(file: Path) -> None:
    known_hosts.pin(file, "rig1", 22, a_key())
    known_hosts.pin(file, "rig2", 22, a_key())
    [entry] = known_hosts.entries(file, "rig2")
    assert (entry.file, entry.line, entry.seen) == (file, 2, str(date.today()))


@pytest.mark.parametrize("line", ["rig1", "rig1 ssh-ed25519 AAAA!", "rig1 ssh-nonsense AAAAB3Nz"])
def test_a_line_that_cannot_be_read_is_named(file: Path, line: str) -> None:
    file.parent.mkdir()
    file.write_text(f"# ours\n{line}\n")
    with pytest.raises(DeeprigError, match=r"known_hosts line 2 holds no host key"):
        known_hosts.find(file, "rig1", 22)


def test_a_broken_line_of_another_box_is_no_matter(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("rig2 ssh-ed25519 AAAA!\n")
    assert known_hosts.find(file, "rig1", 22) is None
