"""NVIDIA's repository, as the lab's stand-in serves it: listed by its key, or all is as before.

What is wrong with a key or an index is decided by the box's own apt, so the lane is worth running
on each system: Debian 13 checks signatures with sqv, Debian 12 with gpgv.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api.deploy import deploy

from deeprig.operations import apt_repositories
from deeprig.operations.apt_repositories import Repository
from deeprig.settings import Rig
from lab import boxes
from lab.stand_ins import nvidia_repository
from lab.stand_ins.nvidia_repository import Trouble
from tasks import base
from tests.lab.conftest import run_on

pytestmark = pytest.mark.lab

Login = Callable[..., str]
DISTS = {"debian-12": "debian12", "debian-13": "debian13", "ubuntu-like": "ubuntu2404"}
SOURCE = "/etc/apt/sources.list.d/deeprig-nvidia.sources"
HELPER = "/usr/lib/apt/apt-helper"
FILES = "sudo find /etc/apt -type f | sort | xargs sudo sha256sum"


@pytest.fixture(scope="module")
def dist(box: boxes.Box) -> str:
    return DISTS[box.os]


@pytest.fixture(scope="module")
def served(dist: str) -> Iterator[Any]:
    """The stand-in, for this system and for one that has another key."""
    other = "debian13" if dist != "debian13" else "ubuntu2404"
    with nvidia_repository.serve([dist, other], ["580.173.02"]) as repository:
        yield repository


@pytest.fixture
def wanted(box: boxes.Box, dist: str, served: Any) -> Iterator[Repository]:
    """What the box should list; nothing is wrong with it yet."""
    served.put(Trouble.NONE)
    uri = f"{served.url}/{dist}/x86_64/"
    yield Repository(
        name="nvidia",
        title=f"NVIDIA's repository for {dist}",
        uri=uri,
        key_urls=(f"{uri}cuda-keyring_1.1-1_all.deb", f"{uri}cuda-archive-keyring.gpg"),
        fingerprints=(served.fingerprint(dist),),
        setting="Driver",
        other_addresses=("http://mirror.lan/compute/cuda/repos/",),
        obsolete=("/etc/apt/preferences.d/cuda-repository-pin-600",),
        preferences={"zz-deeprig-nvidia": (("*", "", 100),)},
    )


@pytest.fixture(autouse=True)
def not_listed(login: Login) -> None:
    """No test begins with what another one listed."""
    login(
        "sudo rm -rf /etc/deeprig/repositories /etc/apt/keyrings/deeprig-nvidia.gpg "
        f"{SOURCE} /etc/apt/preferences.d/zz-deeprig-nvidia"
    )


def provide(box: boxes.Box, repository: Repository) -> tuple[list[str], str]:
    """What changed, and what was said where it failed."""

    @deploy("Test")
    def listed() -> None:
        apt_repositories.provide(repository)

    def build(rig: Rig) -> None:
        base.have_program()
        listed()

    report = run_on(box, build)
    return report.changes, "".join(s.output for s in report.steps if s.status == "failed")


def test_it_is_listed_once_and_updates_are_silent(
    box: boxes.Box, wanted: Repository, login: Login
) -> None:
    _, said = provide(box, wanted)
    assert said == ""
    update = login("sudo apt-get update 2>&1")
    assert [line for line in update.splitlines() if line[:2] in ("W:", "E:")] == []
    assert wanted.uri.rstrip("/") in update
    changes, said = provide(box, wanted)
    assert (changes, said) == ([], "")
    preferences = login("cat /etc/apt/preferences.d/zz-deeprig-nvidia")
    assert "Pin: release " in preferences
    assert "l=NVIDIA CUDA" in preferences
    assert login("dpkg -l cuda-keyring 2>/dev/null || true") == ""


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (Trouble.EXPIRED_KEY, "its key has expired"),
        (Trouble.WRONG_KEY, "signed with another key"),
        (Trouble.UNSIGNED, "there is no signed index"),
        (Trouble.HALF_WRITTEN, "half-written index"),
        (Trouble.OLD_RELEASE, "half-written index"),
    ],
)
def test_what_cannot_be_trusted_is_told_in_one_line_and_changes_nothing(
    box: boxes.Box,
    wanted: Repository,
    served: Any,
    dist: str,
    login: Login,
    trouble: Trouble,
    sentence: str,
) -> None:
    served.put(trouble)
    before = login(FILES)
    mine = replace(wanted, fingerprints=(served.fingerprint(dist),))
    _, said = provide(box, mine)
    assert sentence in said
    assert said.startswith(f"NVIDIA's repository for {dist}")
    assert len(said.strip().splitlines()) == 1
    assert login(FILES) == before
    update = login("sudo apt-get update 2>&1")
    assert "nvidia" not in update.lower()


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_key_that_nobody_knows_is_shown_and_taken_once_it_is_confirmed(
    box: boxes.Box, wanted: Repository, served: Any, dist: str, login: Login, confirmed: bool
) -> None:
    key = served.fingerprint(dist)
    unknown = replace(wanted, fingerprints=("0" * 40,), repo_key=key if confirmed else "")
    _, said = provide(box, unknown)
    if confirmed:
        assert said == ""
        return
    assert f'Driver(repo_key="{key}")' in said
    assert len(said.strip().splitlines()) == 1
    assert "nvidia" not in login("ls /etc/apt/sources.list.d /etc/apt/keyrings")


def test_the_key_of_another_distribution_is_not_taken_whoever_confirms_it(
    box: boxes.Box, wanted: Repository, served: Any, dist: str
) -> None:
    key = served.fingerprint(dist)
    whose = replace(wanted, fingerprints=("0" * 40,), repo_key=key, foreign={key: "debian99"})
    _, said = provide(box, whose)
    assert "which is the key of debian99" in said


def test_a_key_bound_by_sha_1_is_told_where_the_systems_apt_rejects_it(
    box: boxes.Box, wanted: Repository, served: Any, dist: str, login: Login
) -> None:
    """Debian 13's apt does, Debian 12's does not: apt decides, not a table."""
    served.put(Trouble.SHA1_KEY)
    before = login(FILES)
    _, said = provide(box, replace(wanted, fingerprints=(served.fingerprint(dist),)))
    if box.os == "debian-12":
        assert said == ""
        return
    assert "rejects its key as bound by SHA-1" in said
    assert login(FILES) == before


def test_a_key_that_was_given_up_is_not_taken(
    box: boxes.Box, wanted: Repository, served: Any, dist: str
) -> None:
    _, said = provide(box, replace(wanted, retired=(served.fingerprint(dist)[-8:],)))
    assert "a key that was given up" in said


def test_what_older_instructions_left_is_moved_away_and_kept(
    box: boxes.Box, wanted: Repository, login: Login
) -> None:
    """NVIDIA's own keyring package, a line by hand, and a key that apt believes for everything."""
    login(
        f"sudo {HELPER} download-file {wanted.key_urls[0]} /tmp/keyring.deb >/dev/null && "
        "sudo dpkg -i /tmp/keyring.deb && "
        "sudo cp /usr/share/keyrings/cuda-archive-keyring.gpg /etc/apt/trusted.gpg.d/cuda.gpg && "
        "echo 'deb http://mirror.lan/compute/cuda/repos/ubuntu1804/x86_64 /' | "
        "sudo tee -a /etc/apt/sources.list.d/by-hand.list >/dev/null && "
        "echo 'deb http://mirror.lan/compute/other /' | "
        "sudo tee -a /etc/apt/sources.list.d/by-hand.list >/dev/null"
    )
    listed = login("ls /etc/apt/sources.list.d/cuda-*.list").strip()
    by_hand = login("cat /etc/apt/sources.list.d/by-hand.list")
    _, said = provide(box, wanted)
    assert said == ""
    for gone in (
        listed,
        "/etc/apt/trusted.gpg.d/cuda.gpg",
        "/etc/apt/preferences.d/cuda-repository-pin-600",
    ):
        assert login(f"ls {gone} 2>/dev/null || echo gone").strip() == "gone", gone
        kept = gone.strip("/").replace("/", "_")
        login(f"test -s /var/lib/deeprig/replaced/{kept}.bak")
    left = login("cat /etc/apt/sources.list.d/by-hand.list")
    assert left == "deb http://mirror.lan/compute/other /\n"
    assert by_hand == login("cat /var/lib/deeprig/replaced/etc_apt_sources.list.d_by-hand.list.bak")
    login("sudo rm /etc/apt/sources.list.d/by-hand.list")
    update = login("sudo apt-get update 2>&1")
    assert [line for line in update.splitlines() if line[:2] in ("W:", "E:")] == []
    assert provide(box, wanted)[0] == []
    login("sudo dpkg --purge cuda-keyring")


def test_where_apt_complains_once_it_is_listed_all_is_put_back(
    box: boxes.Box, wanted: Repository, login: Login
) -> None:
    """A hook that complains once the source is listed stands for whatever may be wrong then."""
    hook = "/etc/apt/apt.conf.d/99complains"
    script = f"! test -e {SOURCE} || {{ echo W: {wanted.uri} is odd >&2; exit 1; }}"
    login(f"echo 'APT::Update::Post-Invoke {{ \"{script}\"; }};' | sudo tee {hook} >/dev/null")
    before = login(FILES)
    _, said = provide(box, wanted)
    after = login(FILES)
    login(f"sudo rm {hook}")
    assert "all is as before" in said
    assert after == before
    assert provide(box, wanted)[1] == ""  # the control
