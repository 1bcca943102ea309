"""What a reinstall would erase, in words, from what the box counted."""

import re
import subprocess
from pathlib import Path

from deeprig.facts.reinstall import SCRIPT, read

ONE_DISK = """\
erased=/data
size=1200000000 /data/anna/notebooks
size=1700000000 /data/anna
size=500000000 /data/otto/cache
size=7500000000 /data/ai/cache
size=3000000000 /data/ai/runs
size=100000000 /data/ai/notebooks
size=10600000000 /data/ai
size=12300000000 /data
erased=/home
size=5000000000 /home
""".splitlines()


def test_with_one_disk_it_is_all_gone() -> None:
    said = "/data 12.3 GB (notebooks 1.3 GB, runs 3.0 GB, caches 8.0 GB), /home 5.0 GB"
    assert str(read(ONE_DISK)) == f"a reinstall would erase {said}"
    assert read(ONE_DISK).to_json()[1] == {"path": "/home", "bytes": 5_000_000_000, "parts": {}}


def test_a_disk_of_its_own_stays() -> None:
    found = read(["kept=/data", "erased=/home", "size=450000000 /home"])
    assert str(found) == "a reinstall would erase /home 450 MB; /data is on another disk"


def test_what_takes_too_long_to_count_is_said_without_a_size() -> None:
    found = read(["erased=/data", "size=12 /data/ai/runs", "erased=/home", "size=1 /home"])
    assert str(found).startswith("a reinstall would erase /data (not counted within 20 s), /home")
    assert found.to_json()[0]["bytes"] is None


def test_a_box_that_said_nothing_gets_no_sentence() -> None:
    assert str(read([])) == ""


def test_what_else_people_keep_is_told_where_there_is_something() -> None:
    found = read(
        [*ONE_DISK, "erased=/srv", "size=4096 /srv", "erased=/root", "size=12000000 /root",
         "erased=/var/lib/docker", "size=2000000000 /var/lib/docker/volumes",
         "size=30000000000 /var/lib/docker", "erased=/var/lib/mysql", "kept=/opt/models"]
    )  # fmt: skip
    assert str(found).endswith(
        "/home 5.0 GB, /root 12 MB, /var/lib/docker 30.0 GB (volumes 2.0 GB), "
        "/var/lib/mysql (not counted within 20 s); /opt/models is on another disk"
    )


def counted(box: Path, homes: list[tuple[str, int, str]]) -> list[str]:
    """What the script itself prints, with the places in a folder; dpkg owns what is `pkg`."""
    (box / "bin").mkdir()
    passwd = "".join(
        f"{name}:x:{number}:100::{box}/{home}:/bin/sh\n" for name, number, home in homes
    )
    for name, body in {
        "getent": f"cat <<'END'\n{passwd}END\n",
        "lsblk": "echo sda disk",
        "findmnt": "echo /dev/sda1",
        "dpkg": 'case $2 in */pkg) exit 0 ;; esac; exit 1',
    }.items():  # fmt: skip
        (box / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (box / "bin" / name).chmod(0o755)
    script = SCRIPT
    for place in ("/home", "/root", "/opt/"):
        script = re.sub(rf"(?<=[ =]){place}", f"{box}{place}", script)
    done = subprocess.run(
        ["sh", "-c", f"FOLDER={box}/data SECONDS_EACH=20 PLACES='{box}/srv /nowhere'\n{script}"],
        env={"PATH": f"{box}/bin:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_each_place_is_counted_once_and_no_link_is_followed(tmp_path: Path) -> None:
    for name, size in {
        "data/ai/notebooks": 2, "home/ai": 3, "srv/homes/anna": 4, "srv/www": 5, "root": 6,
        "opt/conda": 7, "opt/pkg": 8, "opt/deeprig": 9, "elsewhere/bea": 10,
    }.items():  # fmt: skip
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(b"x" * size * 1_000_000)
    (tmp_path / "srv/in").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere/bea")
    said = counted(
        tmp_path,
        [("ai", 1000, "home/ai"), ("anna", 1001, "srv/homes/anna"), ("bea", 1002, "linked"),
         ("www", 33, "data"), ("nobody", 65534, "data"), ("gone", 1003, "nowhere")],
    )  # fmt: skip
    erased = read(said).erased
    found = {
        place.path.removeprefix(f"{tmp_path}/"): (place.size or 0) // 1_000_000 for place in erased
    }
    assert found == {
        "data": 2, "home": 3, "srv/homes/anna": 4, "elsewhere/bea": 10, "root": 6, "srv": 5,
        "opt/conda": 7,
    }  # fmt: skip
    assert {name: size // 1_000_000 for name, size in erased[0].parts.items()} == {"notebooks": 2}


def test_folders_without_number_make_no_answer_without_end(tmp_path: Path) -> None:
    """Anybody may have as many as they like, and `deeprig plan` believes no answer of 8 MiB."""
    for home in ("home/bob", "srv/homes/eve"):
        for number in range(500):
            (tmp_path / home / f"{number}-{'x' * 200}/notebooks").mkdir(parents=True)
    (tmp_path / "data/bob/runs").mkdir(parents=True)
    (tmp_path / "data/bob/line\nsize=9 /data/bob/cache").mkdir(parents=True)
    said = counted(tmp_path, [("bob", 1000, "home/bob"), ("eve", 1001, "srv/homes/eve")])
    assert len("\n".join(said)) < 2**17
    found = read(said).erased
    assert found[0].parts.keys() == {"runs"}
    assert [place.path.removeprefix(f"{tmp_path}/") for place in found] == [
        "data", "home", "srv/homes/eve",
    ]  # fmt: skip
    assert all(place.size for place in found)
