"""Whether a kernel may be booted, by what the box's own commands would answer."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.unit.box_scripts import loaded

KERNEL, VERSION = "6.12.118+deb13-amd64", "580.173.02"
PACKAGE = "nvidia-kernel-open-dkms"
LISTING = "usr/lib/modules/6.12.118+deb13-amd64/kernel/drivers/gpu/{}.ko.xz\n"
# `dpkg --audit` on Debian 13 with a package whose postinst fails, 2026-11-25.
AUDIT = """\
The following packages are only half configured, probably due to problems
configuring them for the first time.  The configuration should be retried using
dpkg --configure <package> or the configure menu option in dselect:
 lab-fails            deeprig lab stand-in: it cannot be configured
"""
# /proc/keys of Ubuntu's kernel: owner, name, id.
KEYS = """\
0f2d0a3c I------     1 perm 1f030000     0     0 asymmetri Canonical Ltd. Kernel Module Signing: \
88f752e560a1e0737e31163a466ad7b70a850c19: X509.rsa 0a850c19 []
1a5bd0c5 I------     1 perm 1f010000     0     0 asymmetri rig1 Secure Boot Module Signature key: \
c2a4d4ce1d2f8a0c6ab2d1c7d39e3b10a4c1e2f3: X509.rsa a4c1e2f3 []
"""
ENROLLED = (
    "        Subject: CN=DKMS module signing key\n        Issuer: CN = DKMS module signing key"
)


class Box(SimpleNamespace):
    """The module, and what a command answers: the longest beginning of its words that is listed."""

    proof: ModuleType
    answers: dict[str, str]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    """A box with one kernel that is fit to boot."""
    with loaded("boot.kernel_check") as proof:
        driver = proof.driver
        driver.PLAN = tmp_path / "driver.json"
        driver.PLAN.write_text(
            json.dumps(
                {
                    "branch": "580", "source": "nvidia", "flavour": "open", "modules": "dkms",
                    "module": "nvidia", "dkms_name": "nvidia", "packages": [PACKAGE],
                }
            )
        )  # fmt: skip
        modinfo = f"modinfo -k {KERNEL} -F"
        answers = {
            "dpkg-query -W -f ${db:Status-Status} ${Package}": f"installed {PACKAGE} {VERSION}-1",
            f"dpkg-query -W -f ${{db:Status-Status}} {PACKAGE}": "installed",
            f"{modinfo} version nvidia": VERSION,
            f"{modinfo} version nvidia-uvm": VERSION,
            f"{modinfo} license nvidia": "Dual MIT/GPL",
            "dkms status": f"nvidia/{VERSION}, {KERNEL}, x86_64: installed",
        }

        def said(*argv: str) -> str:
            words = " ".join(argv)
            fits = [begin for begin in answers if words.startswith(begin)]
            return answers[max(fits, key=len)] if fits else ""

        monkeypatch.setattr(proof, "said", said)
        monkeypatch.setattr(driver, "said", said)
        monkeypatch.setattr(proof, "BOOT", tmp_path)
        monkeypatch.setattr(proof, "BLACKLIST", tmp_path / "nouveau.conf")
        monkeypatch.setattr(proof, "DKMS", tmp_path / "dkms")
        monkeypatch.setattr(proof, "secure_boot", lambda: False)
        monkeypatch.setattr(proof.shutil, "which", lambda name: str(lister))
        lister = tmp_path / "lsinitramfs"
        lister.write_text(f"#!/bin/sh\ncat {tmp_path}/listing\n")
        lister.chmod(0o755)
        (tmp_path / "listing").write_text(LISTING.format("drm"))
        for name in ("vmlinuz", "initrd.img"):
            (tmp_path / f"{name}-{KERNEL}").write_text("x")
        yield Box(proof=proof, answers=answers, folder=tmp_path)


Break = Callable[[Box], None]


def answers(beginning: str, text: str) -> Break:
    return lambda box: box.answers.update({beginning: text})


def loads(name: str) -> Break:
    """The initramfs has this module, and the blacklist is newer than it."""

    def broken(box: Box) -> None:
        (box.folder / "listing").write_text(LISTING.format(name))
        os.utime(box.folder / f"initrd.img-{KERNEL}", (1, 1))
        (box.folder / "nouveau.conf").write_text("blacklist nouveau\n")

    return broken


def full(box: Box) -> None:
    usage = SimpleNamespace(f_bavail=0, f_frsize=4096)
    box.proof.os = SimpleNamespace(statvfs=lambda path: usage)


MODINFO = f"modinfo -k {KERNEL} -F"
REFUSALS: dict[str, tuple[Break, str]] = {
    "module": (answers(f"{MODINFO} version nvidia", ""), "there is no nvidia for kernel"),
    "version": (answers(f"{MODINFO} version nvidia", "570.1"), "is 570.1, and the packages are"),
    "licence": (answers(f"{MODINFO} license nvidia", "NVIDIA"), "licence 'NVIDIA', which is not"),
    "dkms": (answers("dkms status", f"nvidia/{VERSION}: added"), "DKMS does not have nvidia"),
    "dpkg": (answers("dpkg --audit", AUDIT), "dpkg has not finished lab-fails; "),
    "nouveau": (loads("drm/nouveau/nouveau"), "would load nouveau"),
    "nova_core": (loads("nova-core/nova_core"), "would load nova_core"),
    "nova_drm": (loads("drm/nova/nova-drm"), "would load nova-drm"),
    "room": (full, "/boot has 0 MB left, and a kernel with its initramfs needs"),
    "image": (
        lambda box: (box.folder / f"vmlinuz-{KERNEL}").unlink(),
        f"vmlinuz-{KERNEL} is missing or empty",
    ),
    "initramfs": (
        lambda box: (box.folder / f"initrd.img-{KERNEL}").write_text(""),
        f"initrd.img-{KERNEL} is missing or empty",
    ),
    "cut off": (
        lambda box: (box.folder / "lsinitramfs").write_text("#!/bin/sh\nexit 1\n"),
        "cannot be read to its end",
    ),
}


def test_a_kernel_with_all_it_needs_may_be_booted(box: Box) -> None:
    assert box.proof.why_not(KERNEL) == ""


@pytest.mark.parametrize("what", REFUSALS)
def test_each_refusal_is_a_sentence_with_a_way_out(box: Box, what: str) -> None:
    spoil, sentence = REFUSALS[what]
    spoil(box)
    said = box.proof.why_not(KERNEL)
    assert sentence in said
    assert "`" in said.partition("; ")[2]
    assert "\n" not in said


def test_an_initramfs_that_is_newer_than_the_blacklist_holds_it(box: Box) -> None:
    loads("drm/nouveau/nouveau")(box)
    os.utime(box.folder / "nouveau.conf", (0, 0))
    assert box.proof.why_not(KERNEL) == ""


def test_without_headers_the_way_out_is_the_headers_that_apt_knows(box: Box) -> None:
    assert f"apt knows no headers of it; once they are at /lib/modules/{KERNEL}/build" in (
        box.proof.remedy(KERNEL)
    )
    name = f"linux-headers-{KERNEL}"
    box.answers[f"apt-cache madison {name}"] = f"{name} | 6.12.118-1 | http://d trixie/main"
    assert f"`sudo apt install {name}`" in box.proof.remedy(KERNEL)
    box.proof.driver.has_headers = lambda kernel: True
    assert f"boot-guard rebuild {KERNEL}` tries again" in box.proof.remedy(KERNEL)


def test_a_driver_that_is_on_its_way_is_named(box: Box) -> None:
    assert box.proof.half_there() == ""
    for state, named in (("half-configured", PACKAGE), ("unpacked", PACKAGE), ("config-files", "")):
        box.answers[f"dpkg-query -W -f ${{db:Status-Status}} {PACKAGE}"] = state
        assert box.proof.half_there() == named, state


@pytest.mark.parametrize(
    ("signer", "trusted"),
    [
        ("Canonical Ltd. Kernel Module Signing", True),
        ("rig1 Secure Boot Module Signature key", True),
        ("DKMS module signing key", True),
        ("Secure Boot Module Signature key", False),
        ("somebody", False),
    ],
)
def test_a_signer_is_trusted_by_the_kernels_keys_or_the_enrolled_ones(
    box: Box, signer: str, trusted: bool
) -> None:
    assert box.proof.is_trusted(signer, KEYS, ENROLLED) == trusted


def test_with_secure_boot_a_module_must_be_signed_by_somebody_trusted(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box.proof, "secure_boot", lambda: True)
    assert "is not signed, and Secure Boot is on" in box.proof.why_not(KERNEL)
    box.answers[f"{MODINFO} signer nvidia"] = "somebody"
    assert "is signed by 'somebody', whom this box does not trust" in box.proof.why_not(KERNEL)
    box.answers |= {
        f"{MODINFO} signer nvidia": "rig1 key",
        "mokutil --list": "Subject: CN=rig1 key",
    }
    assert box.proof.why_not(KERNEL) == ""


def test_the_log_is_that_of_this_kernels_build(box: Box) -> None:
    folder = box.folder / f"dkms/nvidia/{VERSION}/build"
    folder.mkdir(parents=True)
    log = (
        f"DKMS (dkms-3.2.2) make.log for nvidia/{VERSION} for kernel {KERNEL} (x86_64)\n"
        "cc1 ...\nnvidia.c:8:2: error: told not to build\nmake: *** [all] Error 2\n"
    )
    (folder / "make.log").write_text(log)
    named, *lines = box.proof.build_log(KERNEL)
    assert named.startswith("The end of ")
    assert [line.strip() for line in lines] == log.splitlines()[2:]
    assert box.proof.build_log("6.12.117+deb13-amd64") == []
