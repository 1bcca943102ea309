"""The file of pinned host keys."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import paramiko
import pytest

from deeprig import local_files
from deeprig.errors import DeeprigError
from deeprig.ssh import known_hosts


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
    assert [one.seen for one in known_hosts.entries(file, "rig1", 22)] == ["2026-01-31"]
    known_hosts.pin(file, "rig1", 22, key)
    assert len(file.read_text().splitlines()) == 1
    assert [one.seen for one in known_hosts.entries(file, "rig1", 22)] == [str(date.today())]


def test_another_key_of_the_same_door_stays(file: Path) -> None:
    keys = [a_key(), a_key()]
    for key in keys:
        known_hosts.pin(file, "rig1", 22, key)
    assert known_hosts.keys_of(file, "rig1", 22) == keys


def test_a_box_that_is_forgotten_loses_every_door_and_no_other_box_does(file: Path) -> None:
    for name in ("rig1", "rig10"):
        known_hosts.pin(file, name, 22, a_key())
        known_hosts.pin(file, name, 2222, a_key(), instead_of=22)
    known_hosts.forget(file, "rig1", 22)
    assert known_hosts.entries(file, "rig1") == []
    assert len(known_hosts.entries(file, "rig10")) == 2


def test_two_boxes_behind_one_name_keep_their_own_doors(file: Path) -> None:
    """A router hands 2201 and 2202 on to two boxes; one of them moves, and is reinstalled."""
    first, second = a_key(), a_key()
    known_hosts.pin(file, "home.example", 2201, first)
    known_hosts.pin(file, "home.example", 2202, second)
    known_hosts.pin(file, "home.example", 2222, first, instead_of=2201)
    assert known_hosts.doors(file, "home.example", 2201) == (2222, 2201)
    assert known_hosts.doors(file, "home.example", 2202) == (2202,)
    known_hosts.forget(file, "home.example", 2201)
    assert known_hosts.doors(file, "home.example", 2201) == ()
    assert known_hosts.doors(file, "home.example", 2202) == (2202,)


def test_boxes_of_one_image_have_one_key_and_their_own_doors(file: Path) -> None:
    cloned = a_key()
    known_hosts.pin(file, "home.example", 2201, cloned)
    known_hosts.pin(file, "home.example", 2202, cloned)
    assert known_hosts.doors(file, "home.example", 2201) == (2201,)


def test_the_door_proved_last_comes_first(file: Path) -> None:
    key = a_key()
    known_hosts.pin(file, "rig1", 22, key)
    known_hosts.pin(file, "rig1", 2222, key, instead_of=22)
    assert known_hosts.doors(file, "rig1", 22) == (2222, 22)
    assert known_hosts.doors(file, "rig1", 2222) == (2222, 22)
    known_hosts.pin(file, "rig1", 22, key, instead_of=2222)
    assert known_hosts.doors(file, "rig1", 22) == (22, 2222)


def test_the_wanted_door_is_one_where_this_box_was_met_and_no_other(file: Path) -> None:
    key = a_key()
    known_hosts.pin(file, "rig1", 22, key)
    known_hosts.pin(file, "rig1", 2222, a_key())
    known_hosts.pin(file, "rig1", 2223, key)
    assert known_hosts.doors(file, "rig1", 22, wanted=2222) == (22,)
    assert known_hosts.doors(file, "rig1", 22, wanted=2223) == (2223, 22)


def test_those_who_write_at_once_lose_nothing(file: Path) -> None:
    key = a_key()
    with ThreadPoolExecutor(max_workers=8) as several:
        list(several.map(lambda port: known_hosts.pin(file, "rig1", port, key), range(30, 60)))
    assert len(known_hosts.entries(file, "rig1")) == 30


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("no folder")
    with pytest.raises(DeeprigError, match=r"^[^\n]*known_hosts cannot be written \([^\n]*$"):
        known_hosts.pin(tmp_path / "folder" / "known_hosts", "rig1", 22, a_key())


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


def test_a_disk_without_modes_takes_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /mnt/c in WSL: https://github.com/hashicorp/vagrant/issues/12077."""

    def refused(*asked: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    local_files.write(tmp_path / "known_hosts", b"rig1 ssh-ed25519 AAAA\n", mode=0o644)
    assert (tmp_path / "known_hosts").read_text() == "rig1 ssh-ed25519 AAAA\n"
