"""A driver on boxes as people really have them: each thing is told in one line, with the command
that mends it; nothing stays half installed; the command is followed, and the next run goes on.

The box speaks German. NVIDIA's repository is a stand-in, its dkms a real one.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import boxes
from lab.stand_ins import nvidia_repository
from lab.stand_ins.nvidia_repository import Trouble
from tests.lab import drivers
from tests.lab.conftest import DEEPRIG, ROOT, deploy
from tests.lab.drivers import INSTALL, RTX_3090, STATE, Login

pytestmark = pytest.mark.lab

DISTS = {"debian-12": "debian12", "debian-13": "debian13"}
GERMAN = (
    "sudo localedef -i de_DE -f UTF-8 de_DE.UTF-8 && "
    "echo LANG=de_DE.UTF-8 | sudo tee /etc/default/locale >/dev/null"
)
WAITING = (
    "cd /usr/local/lib/deeprig/current && sudo LANG=de_DE.UTF-8 python3 -EsB -c "
    "'from deeprig_box.nvidia import held_updates as w; print(len(w.waiting_fixes()))'"
)
BROKEN = """
sudo mkdir -p /usr/src/leftover-1.0 && sudo tee /usr/src/leftover-1.0/dkms.conf >/dev/null <<'END'
PACKAGE_NAME=leftover
PACKAGE_VERSION=1.0
BUILT_MODULE_NAME[0]=leftover
DEST_MODULE_LOCATION[0]=/updates
AUTOINSTALL=yes
MAKE[0]="false"
END
sudo dkms add leftover/1.0
"""
# A package of that name and version with these files, made on the box.
PACK = """
set -e; d=$(mktemp -d); cd $d; mkdir -p p/DEBIAN p/usr/lib/x86_64-linux-gnu; chmod 755 p
cat > p/DEBIAN/control <<'END'
Package: {name}
Version: {version}
Architecture: amd64
Maintainer: x <x@x>
Description: x
END
{files}
dpkg-deb -b p x.deb >/dev/null; sudo dpkg -i x.deb
"""


@pytest.fixture(scope="module")
def served(box: boxes.Box) -> Iterator[Any]:
    with nvidia_repository.serve([DISTS[box.os]], ["580.173.02"]) as repository:
        yield repository


@pytest.fixture(scope="module")
def file(box: boxes.Box, served: Any) -> Path:
    """A box with a kernel as its installer leaves it, and a dkms that somebody had use for."""
    kernel = "linux-image-amd64 initramfs-tools dkms gcc"
    drivers.on(box, f"{GERMAN}; sudo apt-get -q update && {INSTALL} {kernel}")
    key = f'mirror="{served.url}", repo_key="{served.fingerprint(DISTS[box.os])}"'
    asked = f'driver=Driver(gpus=("{RTX_3090}",), {key})'
    return drivers.inventory(box, "found.py", asked, "cuda=None")


def refused(box: boxes.Box, file: Path, login: Login) -> str:
    """The one line, on a box where nothing is half installed afterwards."""
    said = drivers.refused(drivers.run(box, file))
    assert login("sudo dpkg --audit") == ""
    return said


def follow(login: Login, said: str) -> None:
    """Do what the line says."""
    [command] = re.findall(r"`(sudo [^`]+)`", said)
    login(command.replace("apt purge", "apt-get -qy purge"))


def test_the_box_speaks_german(file: Path, login: Login) -> None:
    assert "Installationskandidat" in login("LANG=de_DE.UTF-8 apt-cache policy dkms")


def test_a_driver_for_guests_is_found_by_its_library(
    box: boxes.Box, file: Path, login: Login
) -> None:
    library = "p/usr/lib/x86_64-linux-gnu/libcuda.so"
    made = f"touch {library}.580.65.06; ln -s libcuda.so.580.65.06 {library}.1"
    login(PACK.format(name="nvidia-linux-grid-580", version="580.65.06", files=made))
    said = refused(box, file, login)
    assert "Driver 580.65.06 (nvidia-linux-grid-580) is there, which deeprig did not" in said
    assert login("ls /etc/apt/sources.list.d/deeprig-nvidia.sources", check=False) == ""
    follow(login, said)


def test_a_module_of_nobodys_that_does_not_build_is_named(
    box: boxes.Box, file: Path, login: Login
) -> None:
    login(BROKEN)
    said = refused(box, file, login)
    assert "the module leftover 1.0, which no package owns, does not build" in said
    assert login("ls -d /lib/modules/*/build", check=False) == ""
    follow(login, said)


def test_a_package_that_is_half_there_is_named(box: boxes.Box, file: Path, login: Login) -> None:
    login(PACK.format(name="libslow1", version="1.0", files="true"))
    half = r"/^Package: libslow1$/,/^$/ s/^Status: .*/Status: install reinstreq half-installed/"
    login(f"sudo sed -i '{half}' /var/lib/dpkg/status")
    said = drivers.refused(drivers.run(box, file))
    assert "libslow1 is half installed, and no archive has it" in said
    follow(login, said)
    assert login("sudo dpkg --audit") == ""


def test_packages_that_are_held_though_not_there_are_named(
    box: boxes.Box, file: Path, login: Login
) -> None:
    login("sudo apt-mark hold libcuda1 nvidia-driver-cuda nvidia-kernel-open-dkms")
    said = refused(box, file, login)
    assert "libcuda1" in said and "are held" in said
    assert "Depends" not in said
    follow(login, said)


@pytest.mark.parametrize(
    "text",
    [
        "Package: *nvidia* libcuda1\nPin: release l=NVIDIA CUDA\nPin-Priority: -1\n",
        "Package: *nvidia* libcuda1\nPin: version 575.*\nPin-Priority: 1002\n",
    ],
)
def test_somebodys_preferences_are_named(
    box: boxes.Box, file: Path, login: Login, served: Any, text: str
) -> None:
    if "575" in text:
        served.offer("575.57.08")
    own = "/etc/apt/preferences.d/00-mine"
    login(f"printf '{text}' | sudo tee {own} >/dev/null")
    said = refused(box, file, login)
    assert f"{own} keeps apt from it" in said
    follow(login, said)


def test_it_comes_with_the_dkms_that_it_asks_for(box: boxes.Box, file: Path, login: Login) -> None:
    drivers.moved(drivers.run(box, file))
    assert login(STATE).startswith("ok 580.173.02 ")
    version = login("dpkg-query -W -f '${Version}' dkms")
    assert version.startswith("1:") is (box.os == "debian-12")
    assert drivers.moved(drivers.run(box, file)) == []


def test_what_waits_is_counted_in_german_too(box: boxes.Box, login: Login, served: Any) -> None:
    served.offer("580.178.04")
    login("sudo apt-get -q update")
    assert int(login(WAITING)) > 5


def test_an_index_that_cannot_be_read_is_no_news(
    box: boxes.Box, file: Path, login: Login, served: Any
) -> None:
    """A rotated key: apt ends with 0, and has the index of before."""
    done = deploy(file)
    assert done.returncode == 0, done.stdout + done.stderr
    before = standing(file)["facts"]["index"]
    served.put(Trouble.WRONG_KEY)
    login("sudo apt-get -q update")  # the control: it ends with 0
    done = deeprig("driver", "upgrade", file)
    after = standing(file)["facts"]["index"]
    served.put(Trouble.NONE)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "NVIDIA's repository for debian" in said and "cannot be read" in said
    assert "signed with another key" in said
    assert "Nothing to move" not in said
    assert login(STATE).startswith("ok 580.173.02 ")
    assert before["read"] > 0
    assert after["read"] == before["read"]


def standing(file: Path) -> dict[str, Any]:
    [found] = json.loads(deeprig("driver", "status", file, "--json").stdout)
    return dict(found)


def deeprig(verb: str, noun: str, file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEEPRIG, verb, noun, "--inventory", str(file), *more],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
