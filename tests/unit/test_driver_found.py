"""What people's boxes have in the way of a driver is found by asking, and told with the command."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deeprig.facts import gpus
from deeprig.facts import survey as survey_module
from deeprig.facts.gpus import GpuFacts
from deeprig.facts.survey import objections
from deeprig.resolver import kernel_modules, resolve
from deeprig.settings import Driver, Rig
from tasks import nvidia_repository
from tests.unit.box_scripts import loaded
from tests.unit.test_survey import survey

ASKED = {
    "branch": "580",
    "source": "distro",
    "library": "libnvidia-compute-580-server",
    "headers": ["linux-headers-amd64"],
    "packages": ["nvidia-headless-no-dkms-580-server-open", "nvidia-fabricmanager-580"],
}
Module = Callable[[str], Any]


@pytest.fixture
def module() -> Iterator[Module]:
    """A module of the box, with those it imports."""
    with ExitStack() as every:
        yield lambda name: every.enter_context(loaded(name))


def box(installed: dict[str, str], owners: dict[str, str]) -> Callable[..., str]:
    """What dpkg and apt of a box say; `installed` is by "name arch"."""

    def said(*argv: str) -> str:
        match argv:
            case ("dpkg", "--print-architecture"):
                return "amd64"
            case ("dpkg", "-S", path):
                return f"{owners[path]}: {path}" if path in owners else ""
            case ("dpkg-query", "-W", *_):
                return "\n".join(f"installed {key} {its}" for key, its in installed.items())
            case ("apt-cache", "policy", _):
                return "x:\n *** 580.1 500\n        500 http://archive.example/ubuntu noble/x\n"
        return ""

    return said


@pytest.mark.parametrize(
    ("installed", "owner", "found", "purged"),
    [
        # Additional Drivers, or the installer's third-party option: another series.
        (
            {
                "libnvidia-compute-580 amd64": "580.173.02-0ubuntu0.24.04.1",
                "nvidia-headless-no-dkms-580-open amd64": "580.173.02-0ubuntu0.24.04.1",
                "linux-modules-nvidia-580-open-generic amd64": "6.8.0-142.142+1",
                "nvidia-container-toolkit amd64": "1.20.1-1",
            },
            "libnvidia-compute-580:amd64",
            "libnvidia-compute-580",
            ["libnvidia-compute-580", "nvidia-headless-no-dkms-580-open",
             "linux-modules-nvidia-580-open-generic"],
        ),
        # A guest's driver for vGPU, whose name no archive has.
        (
            {"nvidia-linux-grid-580 amd64": "580.65.06"},
            "nvidia-linux-grid-580",
            "nvidia-linux-grid-580",
            ["nvidia-linux-grid-580"],
        ),
        # For another architecture alone.
        (
            {"libcuda1 i386": "550.163.01-2", "libnvidia-ml1 i386": "550.163.01-2"},
            "libcuda1:i386",
            "libcuda1:i386",
            ["libcuda1:i386", "libnvidia-ml1:i386"],
        ),
    ],
)  # fmt: skip
def test_another_driver_is_found_by_who_owns_its_library(
    module: Module,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    installed: dict[str, str],
    owner: str,
    found: str,
    purged: list[str],
) -> None:
    folder = tmp_path / "usr/lib/x86_64-linux-gnu"
    folder.mkdir(parents=True)
    library = folder / "libcuda.so.580.1"
    library.touch()
    (folder / "libcuda.so.1").symlink_to(library.name)
    others = module("driver.foreign")
    said = box(installed, {str(library): owner})
    monkeypatch.setattr(others.libraries, "ROOT", tmp_path)
    monkeypatch.setattr(others.libraries, "said", said)
    monkeypatch.setattr(others.driver, "said", said)
    there = others.by_others()
    assert there.name == found
    assert there.packages == purged
    assert there.name != ASKED["library"]  # what driver_wanted compares


def test_the_plans_own_series_is_no_other(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = module("driver.desired")
    monkeypatch.setattr(wanted, "wanted", lambda: ASKED)
    monkeypatch.setattr(wanted, "stands", lambda: None)
    for name, why in ((ASKED["library"], ""), ("libnvidia-compute-580", "makes room")):
        other = SimpleNamespace(
            name=name, version="580.173.02", branch="580", source="distro", packages=[name]
        )
        monkeypatch.setattr(wanted.foreign, "by_others", lambda other=other: other)
        assert why in wanted.objection()
        assert bool(wanted.objection()) is bool(why)


# dpkg 1.22 and dkms 3.0 and 3.2, on Debian 12 and 13.
OVERWRITE = """\
dpkg: error processing archive /tmp/apt-dpkg-install-x/2-libcuda1_580.178.04-1_amd64.deb (--unpack):
 trying to overwrite '/usr/lib/x86_64-linux-gnu/libcuda.so.1', which is also in package grid 580.65
Errors were encountered while processing:
"""
NO_BUILD = """\
Error! Bad return status for module build on kernel: 6.12.118+deb13-amd64 (x86_64)
Consult /var/lib/dkms/nvidia/470.256.02/build/make.log for more information.
dkms autoinstall on 6.12.118+deb13-amd64/x86_64 failed for nvidia(10)
"""
# dkms 3.0.10 on a box of ours, where a folder has a dkms.conf and no more.
NO_SOURCE = """\
Public certificate (MOK): /var/lib/dkms/mok.pub
Error! The directory /var/lib/dkms/leftover/1.0/source does not appear to have module source.
"""


def test_dpkgs_reason_is_in_its_second_line(module: Module) -> None:
    said = module("nvidia.steps").complaint(OVERWRITE)
    assert said.endswith("which is also in package grid 580.65")
    assert module("nvidia.steps").complaint("E: one\nE: two\n") == "one"
    modprobe = "modprobe: ERROR: could not insert 'nvidia': No such device\n"
    assert module("nvidia.steps").complaint(modprobe).endswith("No such device")


def test_a_module_that_fails_the_headers_is_named_with_its_owner(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = module("driver.headers")
    assert headers.FAILED.search(NO_SOURCE).groups() == ("leftover", "1.0")
    found = headers.FAILED.search(NO_BUILD)
    assert found.groups() == ("nvidia", "470.256.02")
    monkeypatch.setattr(headers.driver, "said", box({}, {}))
    assert "`sudo dkms remove nvidia/470.256.02 --all`" in headers.others(*found.groups())
    owned = box({}, {"/usr/src/zfs-2.1.11": "zfs-dkms"})
    monkeypatch.setattr(headers.driver, "said", owned)
    assert "`sudo apt purge zfs-dkms`" in headers.others("zfs", "2.1.11")


BACKPORT = "6.12.95-1~bpo12+1"


@pytest.mark.parametrize(
    ("image", "has", "offered", "asked"),
    [
        (BACKPORT, "", ["6.1.192-3", BACKPORT], f"={BACKPORT}"),
        (BACKPORT, "6.1.192-3", ["6.1.192-3", BACKPORT], f"={BACKPORT}"),
        (BACKPORT, BACKPORT, ["6.1.192-3", BACKPORT], None),
        ("6.1.192-3", "", ["6.1.192-3"], "=6.1.192-3"),
        ("6.1.190-1", "6.1.192-3", ["6.1.192-3", "6.1.190-1"], None),
        ("", "", ["6.1.192-3"], ""),
        ("", "", [], None),
    ],
)  # fmt: skip
def test_headers_are_of_the_images_own_version_and_known_to_apt(
    module: Module,
    monkeypatch: pytest.MonkeyPatch,
    image: str,
    has: str,
    offered: list[str],
    asked: str | None,
) -> None:
    headers, name = module("driver.headers"), "linux-headers-amd64"
    there = {"linux-image-amd64": image} if image else {}
    there |= {name: has} if has else {}
    monkeypatch.setattr(headers.driver, "installed", lambda: there)
    monkeypatch.setattr(headers.simulate, "offered", lambda _: offered)
    assert headers.lacking(ASKED) == ([] if asked is None else [f"{name}{asked}"])


def test_a_kernel_from_elsewhere_has_its_own_headers_or_is_named(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, kernel = module("driver.headers"), "6.8.12-4-pve"
    monkeypatch.setattr(headers.driver, "said", lambda *argv: "")
    monkeypatch.setattr(headers.driver, "has_headers", lambda _: True)
    headers.of_the_newest(kernel)  # nothing is asked of apt
    monkeypatch.setattr(headers.driver, "has_headers", lambda _: False)
    with pytest.raises(headers.BoxError, match=r"newest installed kernel, 6\.8\.12-4-pve"):
        headers.of_the_newest(kernel)
    theirs = f"proxmox-headers-{kernel}"
    monkeypatch.setattr(headers.driver, "said", lambda *argv: "x | 1 | y" if theirs in argv else "")
    assert headers.driver.headers_of(kernel) == theirs


@pytest.mark.parametrize(
    "kernel", ["6.8.12-4-pve", "6.12.9-x64v3-xanmod1", "6.6.1-custom", "6.1.21-v8+", "6.6.30"]
)
def test_no_packages_name_is_made_up_from_a_kernels(kernel: str) -> None:
    assert kernel_modules.headers(GpuFacts(kernels=(kernel,))) == ()


def test_what_must_be_of_one_build_is_compared(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = module("driver.simulate")
    monkeypatch.setattr(apt.driver, "installed", dict)

    def objection(manager: str) -> str:
        rows = [
            apt.Arrival(ASKED["packages"][0], "", "580.173.02-0ubuntu0.24.04.1", "Ubuntu"),
            apt.Arrival("nvidia-fabricmanager-580", "", f"{manager}-0ubuntu0.24.04.1", "Ubuntu"),
        ]
        said: str = apt.uneven(apt.Simulation(rows, [], ""), ASKED)
        return said

    assert objection("580.173.02") == ""
    assert "nvidia-fabricmanager-580 would be 580.178.04" in objection("580.178.04")


def test_the_fabric_manager_is_asked_for_in_the_drivers_version(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = module("driver.simulate")
    versions = ["580.178.04-0ubuntu1", "580.173.02-0ubuntu1"]
    monkeypatch.setattr(apt, "candidate", lambda name: "580.173.02-0ubuntu0.24.04.1")
    monkeypatch.setattr(apt, "offered", lambda name: versions)
    asked = apt.as_installed(ASKED["packages"], "")
    assert asked == [ASKED["packages"][0], "nvidia-fabricmanager-580=580.173.02-0ubuntu1"]


def test_a_hold_is_the_reason_only_where_apt_can_without_it(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = module("driver.reasons")
    cannot = reasons.Simulation([], [], "nvidia-driver-cuda : Depends: libcuda1 (= 580)")
    comes = reasons.simulate.Arrival("libcuda1", "", "580.178.04-1", "NVIDIA")
    can = reasons.Simulation([comes], [], "")
    monkeypatch.setattr(reasons.simulate, "held", lambda: {"libcuda1", "vim"})
    monkeypatch.setattr(reasons, "others", lambda: iter(()))
    for free, words in ((can, "libcuda1 is held; `sudo apt-mark unhold libcuda1`"),
                        (cannot, "apt cannot do it: nvidia-driver-cuda : Depends")):  # fmt: skip
        monkeypatch.setattr(
            reasons.simulate,
            "simulated",
            lambda names, free=free: free if "--ignore-hold" in names else cannot,
        )
        assert words in reasons.why(["nvidia-driver-cuda"], cannot)


def test_the_preferences_without_which_it_works_are_named(
    module: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reasons = module("driver.reasons")
    for name in ("00-theirs", "50-fine", "deeprig-nvidia", "nvidia-driver-pin"):
        (tmp_path / name).touch()
    monkeypatch.setattr(reasons, "FOLDER", tmp_path)
    monkeypatch.setattr(reasons, "FILE", tmp_path / "none")

    def works(options: list[str]) -> bool:
        seen = {file.name for file in Path(options[1].partition("=")[2]).iterdir()}
        assert {"deeprig-nvidia", "nvidia-driver-pin"} <= seen
        return "00-theirs" not in seen

    assert reasons.preferences(works).startswith(f"{tmp_path}/00-theirs keeps apt from it")
    assert reasons.preferences(lambda options: False) == ""


def test_half_a_package_is_named_with_the_command(module: Module) -> None:
    said = module("driver.reasons").half(
        "The package libslow1 needs to be reinstalled, but I can't find an archive for it."
    )
    assert "`sudo dpkg --remove --force-remove-reinstreq libslow1`" in said


@pytest.mark.parametrize(
    ("complaints", "said"),
    [
        ([], ""),
        (["W: GPG error: http://m/debian12/x86_64  InRelease: NO_PUBKEY 1"], "another key"),
        (["W: Failed to fetch http://m/debian12/x86_64/InRelease  Could not connect to m"],
         "cannot be reached"),
        (["W: Failed to fetch http://ppa/x/InRelease  404"], ""),
        (["E: Failed to fetch http://ppa/x/InRelease  404",
          "E: Some index files failed to download. They have been ignored."], ""),
        (["E: Could not get lock /var/lib/apt/lists/lock."], "Could not get lock"),
        (["E: The list of sources could not be read."], "list of sources"),
    ],
)  # fmt: skip
def test_an_index_is_read_or_the_reason_is_said(
    module: Module, monkeypatch: pytest.MonkeyPatch, complaints: list[str], said: str
) -> None:
    """apt ends with 0 in each of these."""
    index = module("nvidia.index")
    monkeypatch.setattr(index.index, "read_anew", lambda: complaints)
    monkeypatch.setattr(index, "logged", lambda what, text: None)
    monkeypatch.setattr(index, "addresses", lambda plan: ["http://m/debian12/x86_64/"])
    monkeypatch.setattr(index, "name", lambda plan: "NVIDIA's repository")
    if not said:
        index.read_anew(ASKED)
        return
    with pytest.raises(index.BoxError, match=f"NVIDIA's repository cannot be read: .*{said}"):
        index.read_anew(ASKED)


def test_when_an_index_was_read_is_the_time_of_its_signed_list(
    module: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its file's own time is the server's."""
    index = module("apt.index")
    head, other = tmp_path / "m_debian12_InRelease", tmp_path / "ppa_InRelease"
    for file in (head, other):
        file.touch()
        os.utime(file, (0, 0))
    rows = f"http://m/debian12/|{tmp_path}/m_debian12_Packages\nhttp://ppa/|{tmp_path}/ppa_Packages"
    apt_get = tmp_path / "apt-get"
    apt_get.write_text(f"#!/bin/sh\necho '{rows}'\n")
    apt_get.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(index, "LISTS", tmp_path)
    assert index.last_read(["http://m/debian12"]) == head.stat().st_ctime
    assert index.last_read(["http://nobody/"]) == 0


def test_nvidias_old_addresses_are_the_repositorys_own(
    module: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What https://github.com/pop-os/pop/issues/767 had in its lists."""
    driver = Driver(gpus=("10de:2204",))
    plan = resolve.resolve("debian-12", GpuFacts(), driver=driver, cuda=None)
    assert isinstance(plan, resolve.StackPlan)
    asked = nvidia_repository.repository(plan, driver, None)
    (tmp_path / "nvidia.json").write_text(json.dumps(asdict(asked)))
    specification = module("apt.spec")
    monkeypatch.setattr(specification, "SPECS", tmp_path)
    ours = specification.Repository("nvidia")
    base = "developer.download.nvidia.com/compute"
    for address in (
        f"http://{base}/cuda/repos/ubuntu1804/x86_64",
        f"https://{base}/machine-learning/repos/ubuntu2004/x86_64/",
        f"http://{base}/machine-learning/repos/ubuntu1604/x86_64 ".strip(),
    ):
        assert ours.is_it(address), address
    assert not ours.is_it(f"https://{base}/other/")


def test_whatever_is_read_is_asked_in_one_language(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    ask = ("sh", "-c", "echo $LC_ALL")
    assert module("nvidia.driver").said(*ask) in ("C", "C.UTF-8")
    assert module("nvidia.held_updates").output(*ask).strip() in ("C", "C.UTF-8")
    assert module("nvidia.steps").QUIET["LC_ALL"] in ("C", "C.UTF-8")


def test_what_forbids_a_module_is_named_with_its_file(
    module: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load = module("nvidia.load")
    folder = tmp_path / "etc/modprobe.d"
    folder.mkdir(parents=True)
    (folder / "old.conf").write_text("blacklist nouveau\ninstall nvidia /bin/false\n")
    monkeypatch.setattr(load, "ROOT", tmp_path)
    monkeypatch.setattr(load, "said", lambda *argv: "install nvidia /bin/false")
    assert load.in_the_way("nvidia").startswith(f"{folder}/old.conf keeps nvidia from being loaded")
    monkeypatch.setattr(load, "said", lambda *argv: "install nvidia modprobe -i nvidia-current")
    assert load.in_the_way("nvidia") == ""


def asked_of(part: str, root: Path, *, devices: str = "", path: str = "") -> list[str]:
    """What a part of the survey says on a box whose files are below `root`."""
    moved = re.sub(r"(?<![\w${])/(etc|usr/lib|usr/lib64|usr/local|run|var|sys|proc)/",
                   rf"{root}/\1/", part)  # fmt: skip
    done = subprocess.run(
        ["sh", "-c", f"devices='{devices}'\nEXPECTED=\ncontained=\n{moved}\ntrue"],
        env={"PATH": f"{path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.replace(str(root), "").splitlines()


LEFT = gpus.SCRIPT[gpus.SCRIPT.index("settings() {") : gpus.SCRIPT.index("is_set() {")]
CARD = "0000:01:00.0 10de:2204 030000"


@pytest.fixture
def leftovers(tmp_path: Path) -> Path:
    """A box whose dpkg owns nothing, and whose modprobe prints what its files say."""
    bins = tmp_path / "bin"
    bins.mkdir()
    (bins / "dpkg").write_text("#!/bin/sh\nexit 1\n")
    (bins / "modprobe").write_text(f"#!/bin/sh\ncat {tmp_path}/etc/modprobe.d/*.conf | tr - _\n")
    for file in bins.iterdir():
        file.chmod(0o755)
    for folder in ("etc/modprobe.d", "proc", "var/lib/dkms", "usr/lib/x86_64-linux-gnu"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/modprobe.d/fine.conf").write_text("blacklist nouveau\n")
    (tmp_path / "proc/cmdline").write_text("quiet\n")
    return tmp_path


def left_over(box: Path, devices: str = CARD) -> list[str]:
    return asked_of(LEFT, box, devices=devices, path=str(box / "bin"))


def test_a_clean_box_has_nothing_left_over(leftovers: Path) -> None:
    assert left_over(leftovers) == []


def test_what_an_older_driver_left_is_found(leftovers: Path) -> None:
    source = leftovers / "usr/src/nvidia-470.256.02"
    source.mkdir(parents=True)
    (source / "dkms.conf").touch()
    added = leftovers / "var/lib/dkms/nvidia/470.256.02"
    added.mkdir(parents=True)
    (added / "source").symlink_to(source)
    dangling = leftovers / "var/lib/dkms/nvidia/390.48"
    dangling.mkdir()
    (dangling / "source").symlink_to("/usr/src/nvidia-390.48")  # DKMS passes that by itself
    library = leftovers / "usr/lib/x86_64-linux-gnu/libcuda.so.590.44.01"
    library.touch()
    library.with_name("libcuda.so.1").symlink_to(library.name)
    assert left_over(leftovers) == [
        "dirty=dkms nvidia/470.256.02",
        "dirty=library /usr/lib/x86_64-linux-gnu/libcuda.so.1 "
        "/usr/lib/x86_64-linux-gnu/libcuda.so.590.44.01",
    ]
    assert left_over(leftovers, devices="") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("options vfio-pci ids=10de:1aef,10de:2204\n", "dirty=vfio /etc/modprobe.d/old.conf"),
        ("options vfio-pci ids=8086:2204\n", ""),
        ("alias nvidia off\n", "dirty=modprobe /etc/modprobe.d/old.conf"),
        ("install nvidia /bin/false\n", "dirty=modprobe /etc/modprobe.d/old.conf"),
        ("install nvidia modprobe -i nvidia-current\n", ""),
    ],
)
def test_what_keeps_the_module_or_the_card_is_found(leftovers: Path, text: str, line: str) -> None:
    (leftovers / "etc/modprobe.d/old.conf").write_text(text)
    assert left_over(leftovers) == ([line] if line else [])


def test_each_leftover_is_a_sentence_with_its_command_where_a_driver_is_wanted() -> None:
    found = survey(
        "dirty=dkms nvidia/470.256.02",
        "dirty=modprobe /etc/modprobe.d/old.conf",
        "dirty=library /usr/lib/libcuda.so.1 /usr/lib/libcuda.so.590.44.01",
        "dirty=vfio-line",
    )
    said = objections(found, Rig())
    assert [re.search(r"`(.*)`", one)[1] for one in said] == [  # type: ignore[index]
        "sudo sh -c 'dkms remove nvidia/470.256.02 --all'",
        "sudo sh -c 'rm /etc/modprobe.d/old.conf && update-initramfs -u'",
        "sudo sh -c 'rm -f /usr/lib/libcuda.so.1 /usr/lib/libcuda.so.590.44.01 && ldconfig'",
        "sudo sh -c 'sed -i -E s/vfio-pci.ids=[0-9a-fA-F:,]+// /etc/default/grub && update-grub "
        "&& reboot'",
    ]
    assert objections(found, Rig(driver=None)) == []


SECURE = gpus.SCRIPT[gpus.SCRIPT.index("is_set() {") : gpus.SCRIPT.index("for k in /boot")]


@pytest.mark.parametrize(
    ("on", "validates", "said"), [(1, 0, ["secure_boot=yes"]), (1, 1, []), (0, 0, [])]
)
def test_secure_boot_counts_unless_shim_was_told_not_to_look(
    module: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    on: int, validates: int, said: list[str],
) -> None:  # fmt: skip
    folder = tmp_path / "sys/firmware/efi/efivars"
    folder.mkdir(parents=True)
    proof = module("boot.kernel_check")
    monkeypatch.setattr(proof, "EFI_VARIABLES", folder)
    (folder / proof.SECURE_BOOT).write_bytes(bytes([6, 0, 0, 0, on]))
    (folder / proof.SHIM_STATE).write_bytes(bytes([6, 0, 0, 0, validates]))
    assert proof.secure_boot() is bool(said)
    assert asked_of(SECURE, tmp_path) == said
    (folder / proof.SHIM_STATE).unlink()
    assert proof.secure_boot() is bool(on)


GARBAGE = ("6.1.0-56-amd64.dpkg-tmp", "6.1.0-57-amd64~", "6.1.0-58-amd64.rpmsave")
KERNELS = gpus.SCRIPT[gpus.SCRIPT.index("for k in /boot") : gpus.SCRIPT.index("# Those without")]


def test_a_kernel_is_what_the_boot_menu_takes(
    module: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boot = tmp_path / "boot"
    boot.mkdir()
    for name in ("6.1.0-56-amd64", *GARBAGE):
        (boot / f"vmlinuz-{name}").touch()
    proof = module("nvidia.driver")
    monkeypatch.setattr(proof, "BOOT", boot)
    assert proof.kernels() == ["6.1.0-56-amd64"]
    asked = KERNELS.replace("/boot/", f"{boot}/")
    done = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["kernel=6.1.0-56-amd64"]


PPA = survey_module.OWN[
    survey_module.OWN.index("grep -rqsE '^[^#]*graphics") : survey_module.OWN.index(
        "{ installed la"
    )
]


@pytest.mark.parametrize(
    ("reads", "said"), [("", []), ("http://ppa/graphics-drivers/", ["dirty=ppa"])]
)
def test_a_source_counts_where_apt_reads_it(tmp_path: Path, reads: str, said: list[str]) -> None:
    folder, bins = tmp_path / "etc/apt/sources.list.d", tmp_path / "bin"
    folder.mkdir(parents=True)
    bins.mkdir()
    line = "deb http://ppa.launchpad.net/graphics-drivers/ppa/ubuntu noble main\n"
    (folder / "ppa.list.save").write_text(line)
    (bins / "apt-get").write_text(f"#!/bin/sh\necho '{reads}'\n")
    (bins / "apt-get").chmod(0o755)
    assert asked_of(PPA, tmp_path, path=str(bins)) == said
