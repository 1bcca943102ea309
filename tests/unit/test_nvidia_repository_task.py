"""What apt is told of NVIDIA's repository: whose key, which address, and what may come from it."""

import pytest

from deeprig import catalog
from deeprig.facts.gpus import GpuFacts
from deeprig.resolver import resolve
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Cuda, Driver
from tasks.nvidia_repository import FIRST, LAST, preferences, repository

RTX_3090 = "10de:2204"
KEY = "0123456789ABCDEF0123456789ABCDEF01234567"


def plan(
    system: str, driver: Driver, cuda: Cuda | None = None, architecture: str = "amd64"
) -> StackPlan:
    found = resolve.resolve(system, GpuFacts(), driver=driver, cuda=cuda, architecture=architecture)
    assert isinstance(found, StackPlan), found
    return found


def test_with_the_archives_driver_nvidias_may_not_come() -> None:
    found = preferences(plan("ubuntu-24.04", Driver(gpus=(RTX_3090,)), Cuda()))
    names, pin, priority = found[FIRST][0]
    assert {"nvidia-*", "libnvidia-*", "cuda-drivers*"} <= set(names.split())
    assert (pin, priority) == ("", -1)
    assert ("libnccl2 libnccl-dev", "version 2.*+cuda13.0", 990) in found[FIRST]
    assert not any("nvidia" in names for names, _, _ in found[LAST])


def test_all_else_comes_from_the_distribution_where_it_has_it() -> None:
    for driver in (Driver(gpus=(RTX_3090,)), Driver(gpus=(RTX_3090,), source="nvidia")):
        found = preferences(plan("ubuntu-24.04", driver, Cuda()))
        assert found[LAST][-1] == ("*", "", 100)


@pytest.mark.parametrize(
    ("system", "driver", "theirs"),
    [
        ("debian-12", Driver(gpus=(RTX_3090,)), True),
        ("ubuntu-22.04", Driver(gpus=(RTX_3090,), source="nvidia"), True),
        ("ubuntu-24.04", Driver(gpus=(RTX_3090,), source="nvidia"), True),
        ("debian-13", Driver(gpus=(RTX_3090,)), False),
        ("debian-12", Driver(gpus=(RTX_3090,), source="distro"), False),
        ("ubuntu-24.04", Driver(gpus=(RTX_3090,)), False),
    ],
)
def test_dkms_is_theirs_where_the_distributions_is_too_old_for_their_driver(
    system: str, driver: Driver, theirs: bool
) -> None:
    """Of all names that both have it is the only one."""
    found = preferences(plan(system, driver, Cuda()))
    by_name = {name: row[2] for row in reversed(found[LAST]) for name in row[0].split()}
    assert by_name.get("dkms") == (600 if theirs else None)
    assert by_name["*"] == 100


def test_nvidias_driver_is_preferred_and_the_container_toolkit_is_not() -> None:
    found = preferences(plan("debian-13", Driver(gpus=(RTX_3090,))))
    by_name = {names: priority for names, _, priority in found[LAST]}
    [tools] = [names for names in by_name if "nvidia-container-toolkit" in names]
    [drivers] = [names for names in by_name if "cuda-drivers" in names]
    assert (by_name[tools], by_name[drivers]) == (100, 600)
    assert list(by_name).index(tools) < list(by_name).index(drivers)  # the first match counts
    assert found[FIRST] == ()


def test_each_distribution_has_its_own_key_and_takes_no_others() -> None:
    driver = Driver(gpus=(RTX_3090,))
    there = repository(plan("debian-13", driver), driver, None)
    assert there.uri.endswith("/debian13/x86_64/")
    [own] = there.fingerprints
    assert own.endswith("8793F200")
    assert any(key.endswith("3BF863CC") for key in there.foreign)
    assert own not in there.foreign
    assert any(key.endswith("7FA2AF80") for key in there.retired)


def test_an_arm_box_has_its_own_folder_there() -> None:
    driver = Driver(gpus=(RTX_3090,))
    there = repository(plan("debian-13", driver, architecture="arm64"), driver, None)
    assert there.uri.endswith("/repos/debian13/sbsa/")
    assert all("/debian13/sbsa/" in url for url in there.key_urls)
    assert there.other_addresses[0].endswith("/repos/")  # x86_64's folder is another address


def test_a_mirror_and_its_key_are_the_settings_own() -> None:
    driver = Driver(gpus=(RTX_3090,), mirror="http://mirror.lan/repos/", repo_key=KEY)
    there = repository(plan("debian-12", driver), driver, Cuda())
    assert there.uri == "http://mirror.lan/repos/debian12/x86_64/"
    assert (there.repo_key, there.setting) == (KEY, "Driver")
    assert there.other_addresses[0].startswith("https://developer.download.nvidia.com/")


def test_for_cuda_alone_the_key_is_cudas_setting() -> None:
    driver, cuda = Driver(gpus=(RTX_3090,)), Cuda(repo_key=KEY)
    there = repository(plan("ubuntu-24.04", driver, cuda), driver, cuda)
    assert (there.repo_key, there.setting) == (KEY, "Cuda")


def test_the_key_of_ubuntu_2604_is_its_own() -> None:
    driver = Driver(gpus=("10de:2b85",), source="nvidia")
    there = repository(plan("ubuntu-26.04", driver), driver, None)
    assert there.fingerprints == ("14BAFBC7562AD710CA04E69905FBB6DA60DF8A40",)
    assert any(key.endswith("3BF863CC") for key in there.foreign)


def test_where_the_key_is_not_known_none_is_called_another_distributions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = next(r for r in catalog.load("repositories")["repository"] if r["name"] == "ubuntu2604")
    monkeypatch.setitem(row, "fingerprints", [])
    driver = Driver(gpus=("10de:2b85",), source="nvidia")
    there = repository(plan("ubuntu-26.04", driver), driver, None)
    assert (there.fingerprints, there.foreign) == ((), {})
