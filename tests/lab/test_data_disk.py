"""The script that formats disks, on loop devices of this machine: only when empty, never twice.

A loop device has no serial number, so the script is told which is which. This kernel may have no
md: there mdadm is a stand-in that only writes down what it was asked.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from deeprig.facts.disks import array_uuid

pytestmark = pytest.mark.lab

SCRIPT = Path(__file__).parents[2] / "box/deeprig-box"
MIB = 2**20
SIZE = 300 * MIB
# In the place of a program: the power fails when it is called with this word.
FAILING = """#!/bin/sh
case " $* " in *" {word} "*) {before} kill -9 $PPID; exit 1 ;; esac
exec {real} "$@"
"""


@dataclass
class Disk:
    image: Path
    device: str

    @property
    def sha256(self) -> str:
        with self.image.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def write(self, offset: int, what: bytes) -> None:
        with self.image.open("r+b") as file:
            file.seek(offset)
            file.write(what)
        run("blockdev", "--flushbufs", self.device)


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[Disk]]:
    """Two empty disks."""
    made = []
    for name in ("one", "two"):
        image = tmp_path / name
        with image.open("wb") as file:
            file.truncate(SIZE)
        made.append(Disk(image, run("losetup", "--partscan", "--show", "--find", str(image))))
    yield made
    for disk in made:
        run("losetup", "--detach", disk.device)


@pytest.fixture
def uuid() -> str:
    """Another one for each test: a box that starts meanwhile may hold on to a mount of ours."""
    return str(uuid4())


@pytest.fixture
def disk(disks: list[Disk]) -> Disk:
    return disks[0]


@pytest.fixture
def at(disks: list[Disk]) -> Iterator[Path]:
    """Where to mount it; unmounted in the end, and writable again. All above it is root's alone."""
    folder = Path(tempfile.mkdtemp(dir="/srv", prefix="deeprig-test."))
    place = folder / "data"
    (folder / "fstab").write_text(f"UUID={uuid4()} / ext4 errors=remount-ro 0 1")
    yield place
    subprocess.run(["umount", str(place)], check=False, capture_output=True)
    if place.exists():
        run("chattr", "-i", str(place))
    shutil.rmtree(folder)


Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def data_disk(at: Path, disks: list[Disk], uuid: str) -> Ask:
    def call(
        *options: str,
        verb: str = "apply",
        serials: tuple[str, ...] = ("ONE",),
        first_in_path: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        words = ["--at", str(at), "--uuid", uuid, "--fstab", str(at.with_name("fstab"))]
        words += [f"--serial={serial}" for serial in serials]
        for serial, disk in zip(("ONE", "TWO"), disks, strict=True):
            words += ["--device", f"{serial}={disk.device}"]
        path = f"{first_in_path}:{os.environ['PATH']}" if first_in_path else os.environ["PATH"]
        return subprocess.run(
            [str(SCRIPT), "data-disk", verb, *options, *words], env={"PATH": path},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    return call


def stands(data_disk: Ask) -> bool:
    return bool(json.loads(data_disk(verb="check").stdout)["state"] == "ok")


def test_an_empty_disk_is_made_and_mounted_by_uuid(
    disk: Disk, at: Path, data_disk: Ask, uuid: str
) -> None:
    assert not stands(data_disk)
    done = data_disk()
    assert done.returncode == 0, done.stderr
    assert stands(data_disk)
    assert at.stat().st_dev == Path(f"{disk.device}p1").stat().st_rdev
    lines = at.with_name("fstab").read_text().splitlines()
    assert lines[0].startswith("UUID=") and " / ext4 " in lines[0]  # what was there stays
    assert lines[2].split()[:3] == [f"UUID={uuid}", str(at), "ext4"]
    assert "nofail" in lines[2]
    table = json.loads(run("sfdisk", "--json", disk.device))["partitiontable"]
    assert (table["label"], [p["name"] for p in table["partitions"]]) == ("gpt", ["deeprig-data"])


def test_a_second_run_writes_nothing_and_keeps_what_is_there(at: Path, data_disk: Ask) -> None:
    data_disk()
    (at / "mine").write_text("42")
    run("umount", str(at))
    assert not stands(data_disk)
    before = at.with_name("fstab").read_text()
    assert data_disk().returncode == 0
    assert (at / "mine").read_text() == "42"
    assert at.with_name("fstab").read_text() == before


def test_nothing_can_be_written_while_the_disk_is_not_mounted(at: Path, data_disk: Ask) -> None:
    data_disk()
    (at / "on-the-disk").touch()  # the control: with the disk there it can
    run("umount", str(at))
    with pytest.raises(PermissionError):
        (at / "on-the-root-disk").touch()
    data_disk()
    run("umount", str(at))
    run("chattr", "-i", str(at))
    assert data_disk().returncode == 0
    run("umount", str(at))
    with pytest.raises(PermissionError):  # a mountpoint that lost its guard gets it back
        (at / "on-the-root-disk").touch()


def swap(disk: Disk) -> None:
    run("mkswap", disk.device)


def whole_disk(disk: Disk) -> None:
    run("mkfs.ext4", "-q", disk.device)


def table(disk: Disk) -> None:
    subprocess.run(["sfdisk", "-q", disk.device], input=b"label: gpt\n,\n", check=True)


def table_without_partitions(disk: Disk) -> None:
    subprocess.run(["sfdisk", "-q", disk.device], input=b"label: dos\n", check=True)


def one_byte_early(disk: Disk) -> None:
    disk.write(MIB - 1, b"x")


def one_byte_late(disk: Disk) -> None:
    disk.write(SIZE - 1, b"x")


@pytest.mark.parametrize(
    "used",
    [swap, whole_disk, table, table_without_partitions, one_byte_early, one_byte_late],
    ids=lambda used: used.__name__,
)
def test_a_disk_with_anything_on_it_is_not_touched(
    disk: Disk, data_disk: Ask, used: Callable[[Disk], None]
) -> None:
    used(disk)
    run("sync", "--file-system", str(disk.image))
    before = disk.sha256
    done = data_disk()
    assert done.returncode == 1
    bytes_only = used in (one_byte_early, one_byte_late)
    why = (
        "something in its first or last MiB" if bytes_only else "a partition table or a file system"
    )
    rest = "only an empty disk is formatted, and nothing was written to it"
    assert done.stderr == f"{disk.device} has {why}; {rest}.\n"
    assert disk.sha256 == before


def test_a_disk_in_use_is_not_touched(disk: Disk, data_disk: Ask, tmp_path: Path) -> None:
    whole_disk(disk)
    (tmp_path / "elsewhere").mkdir()
    run("mount", disk.device, str(tmp_path / "elsewhere"))
    try:
        assert f"{disk.device} is in use" in data_disk().stderr
    finally:
        run("umount", str(tmp_path / "elsewhere"))


def test_no_disk_is_touched_where_one_of_an_array_is_used(
    disks: list[Disk], data_disk: Ask
) -> None:
    one_byte_early(disks[1])
    before = [disk.sha256 for disk in disks]
    done = data_disk("--raid", "1", serials=("ONE", "TWO"))
    assert f"{disks[1].device} has something in its first" in done.stderr
    assert [disk.sha256 for disk in disks] == before


def test_a_file_system_that_is_there_is_mounted_by_its_uuid(
    disk: Disk, at: Path, data_disk: Ask, uuid: str
) -> None:
    run("mkfs.ext4", "-q", "-U", uuid, disk.device)
    assert data_disk(serials=()).returncode == 0
    assert at.stat().st_dev == Path(disk.device).stat().st_rdev


def test_two_file_systems_of_one_uuid_are_refused(
    disks: list[Disk], data_disk: Ask, uuid: str
) -> None:
    for disk in disks:
        run("mkfs.ext4", "-q", "-U", uuid, disk.device)
    assert f"have the same UUID {uuid}" in data_disk(serials=()).stderr


def test_a_disk_that_is_not_there_is_one_line(data_disk: Ask, uuid: str) -> None:
    done = data_disk(serials=("THREE",))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"is not there: no file system {uuid}" in done.stderr


def test_files_below_the_mountpoint_are_not_hidden(at: Path, data_disk: Ask) -> None:
    at.mkdir()
    (at / "mine").touch()
    assert "has files on the root disk" in data_disk().stderr
    assert (at / "mine").exists()


def test_another_line_in_fstab_is_left_to_its_owner(at: Path, data_disk: Ask) -> None:
    fstab = at.with_name("fstab")
    fstab.write_text(f"/dev/sdx1 {at} ext4 defaults 0 2\n")
    assert "mounts /dev/sdx1 at" in data_disk().stderr
    assert fstab.read_text() == f"/dev/sdx1 {at} ext4 defaults 0 2\n"


@pytest.mark.parametrize(
    ("program", "word", "before"),
    [
        ("partx", "--update", ""),  # the table is written
        ("mkfs.ext4", "-q", ""),  # nothing is in the partition
        ("mkfs.ext4", "-q", "for last; do :; done; head -c 9000000 /dev/urandom > $last;"),
        ("sfdisk", "--part-label", ""),  # the file system is made, its final name is not
        ("chattr", "+i", ""),
        ("mount", "--fstab", ""),
    ],
)
def test_a_power_cut_between_two_steps_is_made_good_by_the_next_run(
    data_disk: Ask, at: Path, uuid: str, tmp_path: Path, program: str, word: str, before: str
) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    real = run("sh", "-c", f"command -v {program}")
    (path / program).write_text(FAILING.format(word=word, before=before, real=real))
    (path / program).chmod(0o755)
    cut = data_disk(first_in_path=path)
    assert cut.returncode != 0  # the control: it was cut
    assert not stands(data_disk)
    done = data_disk()
    assert done.returncode == 0, done.stderr
    assert stands(data_disk)
    assert at.with_name("fstab").read_text().count(uuid) == 1


def test_an_array_is_asked_of_mdadm_with_a_partition_of_each_disk(
    disks: list[Disk], data_disk: Ask, uuid: str, tmp_path: Path
) -> None:
    """By content only: mdadm is a stand-in that writes down what it was asked, and fails."""
    path = tmp_path / "bin"
    path.mkdir()
    (path / "mdadm").write_text(
        f'#!/bin/sh\necho "$@" >> {path}/asked\necho stand-in >&2; exit 1\n'
    )
    (path / "mdadm").chmod(0o755)
    done = data_disk("--raid", "1", serials=("ONE", "TWO"), first_in_path=path)
    assert done.stderr == "mdadm failed: stand-in.\n"
    asked = (path / "asked").read_text().split()
    assert asked[0] == "--create" and re.fullmatch(r"/dev/md/deeprig-[0-9a-f]{8}", asked[1])
    assert asked[2:4] == ["--level=1", "--raid-devices=2"]
    assert f"--uuid={array_uuid(uuid)}" in asked
    assert asked[-2:] == [f"{disk.device}p1" for disk in disks]
    for disk in disks:
        [part] = json.loads(run("sfdisk", "--json", disk.device))["partitiontable"]["partitions"]
        assert part["name"] == "deeprig-unfinished"
        assert part["type"] == "A19D880F-05FC-4D3B-A006-743F0F84911E"  # Linux RAID


def test_a_mountpoint_that_others_could_exchange_is_refused(
    disk: Disk, data_disk: Ask, at: Path
) -> None:
    at.parent.chmod(0o777)
    done = data_disk()
    at.parent.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{at.parent} lets others than root write, who could exchange ")
    assert not at.exists()
    assert data_disk().returncode == 0  # the control
