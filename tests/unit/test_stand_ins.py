"""The lab's stand-ins for package repositories: their indexes, keys and names, without a box."""

import hashlib
import io
import re
import tarfile
import tomllib
from collections.abc import Iterator
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deeprig.catalog import branches, package_names
from deeprig.catalog.gpus import identify
from deeprig.facts.gpus import GpuFacts
from deeprig.resolver.resolve import StackPlan, resolve
from deeprig.settings import Cuda, Driver
from lab.stand_ins import apt_archive, cuda, dkms, nvidia_repository, openpgp, ubuntu_archive
from lab.stand_ins.apt_archive import Archive, Trouble
from lab.stand_ins.deb import File, Package
from tests.unit.box_scripts import loaded

FIELDS = Path(__file__).parent / "outputs/nvidia_control_fields.toml"
ROWS: list[dict[str, Any]] = tomllib.loads(FIELDS.read_text())["field"]
HELLO = Package(
    {"Package": "hello", "Version": "1:2.0-1", "Architecture": "all"},
    {"/usr/share/hello": File(b"hello"), "/etc/hello.conf": File(b"")},
)


@pytest.fixture
def reader() -> Iterator[ModuleType]:
    """What reads keys on a box."""
    with loaded("lib.openpgp") as module:
        yield module


def archive(trouble: Trouble = Trouble.NONE) -> Archive:
    return Archive("/repo", {"Label": "Lab"}, "lab", [HELLO], trouble)


def test_a_package_is_an_ar_archive_of_two_tar_archives() -> None:
    assert HELLO.file_name == "hello_2.0-1_all.deb"
    assert HELLO.content.startswith(b"!<arch>\ndebian-binary ")
    packed = HELLO.content.partition(b"data.tar.gz")[2].partition(b"`\n")[2]
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        assert "./usr/share/hello" in files.getnames()


def test_the_index_has_the_checksum_of_what_is_served() -> None:
    files = archive().files()
    index = files["/repo/Packages"].decode()
    assert hashlib.sha256(files["/repo/hello_2.0-1_all.deb"]).hexdigest() in index
    assert hashlib.sha256(files["/repo/Packages"]).hexdigest() in files["/repo/InRelease"].decode()


def test_a_trouble_is_that_trouble_and_no_other() -> None:
    half = archive(Trouble.HALF_WRITTEN).files()
    sound = archive().files()
    assert len(half["/repo/Packages"]) < len(sound["/repo/Packages"])
    assert "/repo/InRelease" not in archive(Trouble.UNSIGNED).files()
    assert "/repo/hello_2.0-1_all.deb" not in archive(Trouble.NO_PACKAGES).files()
    assert apt_archive.key_of("lab", Trouble.SHA1_KEY) != apt_archive.key_of("lab")


def test_a_box_reads_the_key_armoured_and_not(reader: ModuleType) -> None:
    key = openpgp.make_key("lab")
    for data in (key.public, key.armoured.encode()):
        assert list(reader.keys(data)) == [key.fingerprint]
    with pytest.raises(reader.NoKey):
        reader.keys(b"<html>404</html>")


@pytest.mark.parametrize("system", ["ubuntu-22.04", "ubuntu-24.04", "debian-12", "debian-13"])
def test_it_has_what_a_plan_may_take_from_nvidia(system: str) -> None:
    dist = system.replace("-", "").replace(".", "")
    for version in nvidia_repository.known(dist):
        branch = version.partition(".")[0]
        row = package_names.driver_set(system, "nvidia", branch, "dkms")
        if row is None or branch not in branches.at(system, "nvidia"):
            continue
        there = {p.fields["Package"] for p in nvidia_repository.driver(dist, version)}
        for flavour in branches.known()[branch]["flavours"]:
            wanted = [*row[flavour]["packages"], row["pin"], *_switches(row, branch)]
            names = set(package_names.filled(wanted, branch=branch))
            assert names <= there, (version, flavour)


DAYS = (date(2026, 11, 30), date(2027, 2, 2), date(2027, 4, 1), date(2028, 7, 1))


@pytest.mark.parametrize("day", DAYS, ids=str)
@pytest.mark.parametrize("card", ["10de:2204", "10de:2901"])
@pytest.mark.parametrize("dist", ["ubuntu2204", "ubuntu2404", "ubuntu2604", "debian12", "debian13"])
def test_it_has_the_plan_of_any_day(dist: str, card: str, day: date) -> None:
    """By the tables alone, as a box without its index has it: driver, modules, toolkit."""
    system = re.sub(r"(ubuntu|debian)(\d\d)(\d*)", r"\1-\2.\3", dist).rstrip(".")
    graphics = GpuFacts(gpus=(identify(card, "0000:01:00.0"),))
    plan = resolve(system, graphics, driver=Driver(source="nvidia"), cuda=Cuda(), today=day)
    assert isinstance(plan, StackPlan)
    drivers = [one for one in nvidia_repository.known(dist) if one[:3] == plan.driver_branch]
    packages = [p for one in drivers for p in nvidia_repository.driver(dist, one)]
    there = {(p.fields["Package"], p.fields["Version"]) for p in packages}
    there |= {(p.fields["Package"], p.fields["Version"]) for p in cuda.packages(dist)}
    wanted = [*plan.driver_packages, plan.library, plan.pin, *plan.cuda_packages]
    for name, _, version in (one.partition("=") for one in filter(None, wanted)):
        assert [v for n, v in there if n == name and fnmatchcase(v, version or "*")], name


def test_ubuntus_has_what_a_plan_may_take_from_it() -> None:
    row = package_names.driver_set("ubuntu-24.04", "distro", "580", "prebuilt")
    assert row
    every = ubuntu_archive.everything(["580.173.02"], ["6.8.0-142"])
    there = {package.fields["Package"] for package in every}
    wanted = (*row["open"]["packages"], *row["proprietary"]["packages"], *row["nvswitch"])
    assert set(package_names.filled(wanted, branch="580", kernels=["generic"])) <= there


def test_every_package_says_what_it_is() -> None:
    for package in nvidia_repository.driver("debian13", "580.178.04"):
        assert package.fields["Description"].startswith(
            "stand-in made by deeprig's lab; not NVIDIA"
        )


def test_the_modules_that_need_the_first_have_one_source() -> None:
    [dkms] = [
        package
        for package in nvidia_repository.driver("debian13", "580.178.04")
        if package.fields["Package"] == "nvidia-kernel-open-dkms"
    ]
    sources = {path.rpartition("/")[2]: file for path, file in dkms.files.items() if "src" in path}
    assert {"nvidia.c", "nvidia-modeset.c", "nvidia-drm.c", "nvidia-uvm.c"} <= set(sources)
    assert sources["nvidia-drm.c"] == sources["nvidia-uvm.c"] != sources["nvidia.c"]
    assert not any("{" in name for name in sources)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['dist']}-{row['package']}")
def test_the_control_fields_are_as_nvidias_own(row: dict[str, Any]) -> None:
    if row["package"] == "dkms":
        assert dkms.version(row["dist"]) == row["says"]
        return
    packages = nvidia_repository.driver(row["dist"], row["version"])
    [package] = [p for p in packages if p.fields["Package"] == row["package"]]
    there = re.split(r",\s*", package.fields[row["field"]])
    assert set(re.split(r",\s*", row["says"].format(version=row["version"]))) <= set(there)


def test_what_builds_modules_asks_for_the_dkms_that_is_beside_it() -> None:
    """Each of its packages, and its own dkms is new enough for them."""
    builders = 0
    for dist, version in (("debian12", "580.178.04"), ("ubuntu2404", "595.91.07")):
        for package in nvidia_repository.driver(dist, version):
            if "-dkms" in package.fields["Package"] and "no-dkms" not in package.fields["Package"]:
                asked = re.search(r"\bdkms \(>= ([\d.]+)\)", package.fields["Depends"])
                assert asked, package.fields["Package"]
                has = dkms.version(dist).partition(":")[2].partition("-")[0]
                assert list(map(int, has.split("."))) >= list(map(int, asked[1].split(".")))
                builders += 1
    assert builders == 4


def _switches(row: package_names.Row, branch: str) -> list[str]:
    return package_names.of_the_switches(row, branch, subnet_manager=True)
