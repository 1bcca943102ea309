"""A cache for reinstalls and fleets: a real apt-cacher-ng, asked instead of the archives.

Debian's archive is real; NVIDIA's repository is the lab's stand-in.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from pyinfra.api import deploy as pyinfra_deploy

from deeprig.operations import apt_repositories
from deeprig.operations.apt_repositories import Repository
from deeprig.settings import Rig
from lab import boxes
from lab.stand_ins import nvidia_repository
from tasks import base, network_access
from tests.lab.conftest import deploy, run_on, variant
from tests.lab.guarded import APT, shell

pytestmark = pytest.mark.lab

PORT = 3142  # apt-cacher-ng's own
LOG = "/var/log/apt-cacher-ng/apt-cacher.log"
# It writes its log when it is told to; a line is time|I or O|bytes|who|what.
COUNT = (
    "sudo systemctl kill -s USR1 apt-cacher-ng; sleep 1; "
    f"sudo awk -F'|' '{{n[$2] += $3}} END {{print n[\"I\"] + 0, n[\"O\"] + 0}}' {LOG}"
)


class Cache(NamedTuple):
    """A box that has it."""

    box: boxes.Box

    @property
    def url(self) -> str:
        return f"http://{self.box.host}:{PORT}"

    def counted(self) -> tuple[int, int]:
        """Bytes it fetched, and bytes it gave out, so far."""
        fetched, given = shell(self.box)(COUNT).split()
        return int(fetched), int(given)


@pytest.fixture(scope="module")
def cache(box: boxes.Box) -> Iterator[Cache]:
    name = f"{box.name}-cache"
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    made = boxes.up(name, os=box.os)
    shell(made)(f"sudo apt-get -q update && {APT} install apt-cacher-ng")
    yield Cache(made)
    boxes.down(name)


def test_what_a_box_fetched_is_not_fetched_again_after_its_reinstall(
    box: boxes.Box, cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    behind = box.folder / "behind.py"
    variant(box, behind, ("rig=Rig(", f'rig=Rig(apt_proxy="{cache.url}",'))
    first = deploy(behind)
    assert first.returncode == 0, first.stdout + first.stderr
    fetched, given = cache.counted()
    boxes.reinstall(box.name, bootstrap=True)
    variant(box, behind, ("rig=Rig(", f'rig=Rig(apt_proxy="{cache.url}",'))
    again = deploy(behind)
    assert again.returncode == 0, again.stdout + again.stderr
    more_fetched, more_given = (now - then for now, then in zip(
        cache.counted(), (fetched, given), strict=True
    ))  # fmt: skip
    with capsys.disabled():
        print(f"\nMB fetched and given: first {fetched / 1e6:.1f}, {given / 1e6:.1f}; ", end="")
        print(f"after a reinstall {more_fetched / 1e6:.1f}, {more_given / 1e6:.1f}", end="")
    assert fetched > 5e6  # the control: it was asked
    assert more_given > 5e6
    assert more_fetched < more_given / 50


def test_nvidias_repository_comes_through_it_by_the_mirror_of_the_settings(
    box: boxes.Box, cache: Cache
) -> None:
    """With the cache as apt's proxy too; the key is compared as ever. It wants port 80."""
    dist = {"debian-12": "debian12", "debian-13": "debian13"}[box.os]
    with nvidia_repository.serve([dist], ["580.173.02"], port=80) as served:
        uri = f"{cache.url}/{served.url.replace('http://', '').replace(':80', '')}/{dist}/x86_64/"
        wanted = Repository(
            name="nvidia",
            title=f"NVIDIA's repository for {dist}",
            uri=uri,
            key_urls=(f"{uri}cuda-keyring_1.1-1_all.deb",),
            fingerprints=(served.fingerprint(dist),),
            setting="Driver",
        )

        def behind(rig: Rig) -> None:
            network_access.provide(settings=Rig(apt_proxy=cache.url))
            base.have_program()
            pyinfra_deploy("Test")(apt_repositories.provide)(wanted)

        report = run_on(box, behind)
        assert report.error is None, report.steps
        fetch = "cd /tmp; sudo rm -rf /tmp/*.deb; sudo apt-get -q download nvidia-driver-cuda"
        run = shell(box)
        assert cache.url in run("apt-config dump Acquire::http::Proxy")
        for _ in range(2):
            run(fetch)
        debs = [path for path in served.site.asked if "/nvidia-driver-cuda_" in path]
        assert len(debs) == 1, debs
