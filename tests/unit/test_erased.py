"""What a reinstall would erase, in words, from what the box counted."""

from deeprig.erased import read

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
