"""The number that a new account gets: nobody's whose files are still there."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from deeprig.facts import people
from deeprig.preflight import disks
from tests.unit.box_scripts import loaded


def added(tmp_path: Path, accounts: dict[str, int], folders: dict[str, int]) -> str:
    """How useradd is called for carl, where these folders bear these numbers."""
    (tmp_path / "bin").mkdir()
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    lines = "".join(f"{name}:x:{number}:{number}::/:/bin/sh\n" for name, number in accounts.items())
    owners = " ".join(f"{tmp_path}/{folder}) echo {n};;" for folder, n in folders.items())
    for name, body in {
        "getent": f"printf '{lines}' | awk -F: -v n=\"$2\" "
        "'n == \"\" || $1 == n || $3 == n { print; f = 1 } END { exit !f }'",
        "useradd": f'[ "$1" != -D ] || {{ echo HOME={tmp_path}/home; exit; }}; echo "$@"',
        "stat": f'shift 2; for f; do case $f in {owners} *) r=1;; esac; done; exit "${{r-0}}"',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    script = f"{people.SCRIPT}\nmake_account carl {tmp_path}/data/carl"
    return subprocess.run(
        ["sh", "-euc", script], env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


@pytest.mark.parametrize(
    ("accounts", "folders", "number"),
    [
        ({"root": 0, "ai": 1000}, {"home/ai": 1000}, ""),  # useradd's own choice
        ({"root": 0, "ai": 1000}, {}, ""),
        # anna was taken away and her home stays: useradd would take her number.
        ({"root": 0, "ai": 1000}, {"home/ai": 1000, "home/anna": 1001}, "1002"),
        ({"root": 0, "ai": 1000}, {"home/anna": 1001, "data/anna": 1002}, "1003"),
        ({"root": 0, "ai": 1000}, {"data/anna": 1001}, "1002"),
        ({"root": 0}, {"home/anna": 1000, "home/bob": 1001}, "1002"),
        ({"ai": 1000, "max": 1002}, {"home/anna": 1001, "home/bob": 1003}, "1004"),
        ({"ai": 1000}, {"home/far": 50001, "home/lost+found": 0}, "1001"),
        # carl's own folder from before.
        ({"ai": 1000}, {"home/anna": 1001, "data/carl": 1002}, "1002"),
        ({"ai": 1000}, {"home/anna": 1001, "home/carl": 1001}, "1001"),
    ],
)
def test_nobody_gets_the_number_of_somebody_who_is_gone(
    tmp_path: Path, accounts: dict[str, int], folders: dict[str, int], number: str
) -> None:
    """What is left would be theirs: homes, programs that run as their owner, jobs of atd's."""
    said = f"--uid {number} " if number else ""
    assert added(tmp_path, accounts, folders) == (f"--create-home --shell /bin/bash {said}carl")


@pytest.mark.parametrize("home", ["/", "/root", "/usr/games", "/var/lib/x", "//etc/"])
def test_no_folder_of_the_systems_is_to_be_given_away(home: str) -> None:
    said = people.sentence("carl", home, "others")
    assert "chown" not in said and "usermod --home FOLDER carl" in said
    assert "chown -R carl: /srv/carl" in people.sentence("carl", "/srv/carl", "others")


@pytest.mark.parametrize(
    ("above", "closed"), [("/tmp", False), ("/dev/shm/x", False), ("/srv", True)]
)
def test_what_is_everybodys_is_not_to_be_closed(above: str, closed: bool) -> None:
    said = disks._loose("/tmp/data", above)
    assert ("chmod go-w" in said) is closed
    assert said.endswith("name another place in Storage.")


@pytest.mark.parametrize(("mode", "closed"), [(0o1777, False), (0o777, True)])
def test_a_folder_for_everybody_is_not_to_be_closed(
    tmp_path: Path, mode: int, closed: bool
) -> None:
    tmp_path.chmod(mode)
    with loaded("lib.root_only") as root_only, pytest.raises(SystemExit) as refused:
        root_only._refuse_loose(os.open(tmp_path, os.O_RDONLY), tmp_path)
    assert ("chmod go-w" in str(refused.value)) is closed


@pytest.mark.parametrize(("folder", "word"), [("closed", "closed"), ("open", "absent")])
def test_a_home_that_root_may_not_look_at_is_not_taken_for_a_missing_one(
    folder: str, word: str
) -> None:
    """As FUSE closes a mount to root, a folder is closed to whoever asks here."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        Path(place, folder).mkdir()
        Path(place, folder).chmod(0o000 if folder == "closed" else 0o755)
        script = f"home_of() {{ echo {place}/{folder}/anna; }}\n{people.SCRIPT}"
        script = script.replace('home_of() { getent passwd "$1" | cut -d: -f6; }', "")
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        done = subprocess.run(
            [*(nobody if os.geteuid() == 0 else []), "sh", "-c", f"{script}\nhome_is anna"],
            capture_output=True, text=True, check=True, cwd="/",
        )  # fmt: skip
        Path(place, folder).chmod(0o755)
    assert done.stdout.strip() == word
    said = people.sentence("anna", "/home/anna", "closed")
    assert "`sudo umount -l /home/anna`" in said
