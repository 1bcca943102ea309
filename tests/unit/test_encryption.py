"""What waits for a passphrase at a boot, found by the survey's own script in tables of many boxes.

lsblk and findmnt are stand-ins here that print what a box has; a real one is in the lab.
"""

import subprocess
from pathlib import Path

import pytest

from deeprig.facts import encryption
from deeprig.facts.survey import read
from deeprig.settings import Rig
from tests.unit.recorded import DEBIAN_13
from tests.unit.test_deploy import plan

ROOT = {"/": "sda3_crypt crypt\nsda3 part\nsda disk"}
LVM = {"/": "vg-root lvm\ndm_crypt-0 crypt\nsda3 part\nsda disk"}
PLAIN = {"/": "sda2 part\nsda disk"}
KEY = "sda3_crypt UUID=1 /etc/keys/root.key luks"


def asks(
    folder: Path,
    layers: dict[str, str],
    table: str = "",
    *,
    installed: tuple[str, ...] = (),
    initramfs: str = "mkinitramfs",
    bound: bool = False,
    dropbear_keys: str = "",
    filesystem: str = "ext4",
) -> list[str]:
    """What the script prints where these layers are below each place, and this is the table."""
    programs, etc = folder / "bin", folder / "etc"
    for each in (programs, etc / "dropbear/initramfs", folder / "layers"):
        each.mkdir(parents=True)
    (etc / "crypttab").write_text(table)
    (etc / "dropbear/initramfs/authorized_keys").write_text(dropbear_keys)
    (folder / "update-initramfs").write_text(initramfs)
    for place in ("/", "/usr", "/boot"):
        lines = layers.get(place, layers["/"])
        (folder / "layers" / place.replace("/", "_")).write_text(f"{lines}\n")
    for name, text in {
        "findmnt": f'case "$*" in *FSTYPE*) echo {filesystem} ;; *-T*) shift 3; echo "$1" ;; '
        "*) echo rpool/ROOT ;; esac",
        "lsblk": f'for at; do :; done; cat "{folder}/layers/$(echo "$at" | tr / _)"',
        "clevis": "echo 1: tang" if bound else "true",
        "findfs": "echo /dev/sda3",
        "zfs": "echo aes-256-gcm",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    script = encryption.SCRIPT.replace("/etc/", f"{etc}/")
    script = script.replace("/usr/sbin/update-initramfs", f"{folder}/update-initramfs")
    has = " ".join(installed)
    there = f'contained=\ninstalled() {{ case " {has} " in *" $1 "*) ;; *) false ;; esac; }}\n'
    done = subprocess.run(
        ["sh", "-c", there + script], capture_output=True, text=True, check=False,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


BOOT = {"/boot": "sda2 part\nsda disk"}


def test_a_plain_disk_asks_nobody(tmp_path: Path) -> None:
    assert asks(tmp_path, PLAIN) == []


@pytest.mark.parametrize("layers", [ROOT, LVM])
@pytest.mark.parametrize("key", ["none", "-", ""])
def test_a_root_with_a_passphrase_asks(tmp_path: Path, layers: dict[str, str], key: str) -> None:
    name = "sda3_crypt" if layers is ROOT else "dm_crypt-0"
    table = f"# <name> ...\n{name} UUID=1 {key}\n"
    assert asks(tmp_path, layers | BOOT, table) == [f"asks={name}|/|console"]


def test_a_root_that_no_table_names_is_taken_to_ask(tmp_path: Path) -> None:
    assert asks(tmp_path, ROOT | BOOT) == ["asks=sda3_crypt|/|console"]


def test_a_root_with_a_key_file_asks_nobody_but_grub_asks_for_boot(tmp_path: Path) -> None:
    assert asks(tmp_path / "a", ROOT | BOOT, KEY) == []
    assert asks(tmp_path / "b", ROOT, KEY) == ["asks=sda3_crypt|/boot|console"]


def test_over_ssh_it_still_asks_somebody(tmp_path: Path) -> None:
    table, with_dropbear = "sda3_crypt UUID=1 none luks", ("dropbear-initramfs",)
    found = asks(
        tmp_path / "a", ROOT | BOOT, table, installed=with_dropbear, dropbear_keys="ssh-ed25519 A"
    )
    assert found == ["asks=sda3_crypt|/|ssh"]
    found = asks(tmp_path / "b", ROOT | BOOT, table, installed=with_dropbear)  # but has no key
    assert found == ["asks=sda3_crypt|/|console"]


def test_clevis_answers_where_the_volume_is_bound(tmp_path: Path) -> None:
    table, with_clevis = "sda3_crypt UUID=1 none luks", ("clevis-initramfs",)
    assert asks(tmp_path / "a", ROOT | BOOT, table, installed=with_clevis, bound=True) == []
    assert asks(tmp_path / "b", ROOT | BOOT, table, installed=with_clevis) != []
    assert asks(tmp_path / "c", ROOT | BOOT, table, bound=True) != []


def test_a_tpm_answers_where_the_initramfs_asks_it(tmp_path: Path) -> None:
    table = "sda3_crypt UUID=1 none luks,tpm2-device=auto"
    assert asks(tmp_path / "a", ROOT | BOOT, table, initramfs="dracut") == []
    assert asks(tmp_path / "b", ROOT | BOOT, table) == ["asks=sda3_crypt|/|console"]


def test_a_script_for_the_key_may_ask(tmp_path: Path) -> None:
    table = "sda3_crypt UUID=1 none luks,keyscript=/lib/cryptsetup/scripts/decrypt_keyctl"
    assert asks(tmp_path, ROOT | BOOT, table) == ["asks=sda3_crypt|/|console"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("data UUID=2 none luks", ["asks=data|crypttab|console"]),
        ("data UUID=2", ["asks=data|crypttab|console"]),
        ("data UUID=2 none luks,nofail", []),
        ("data UUID=2 none luks,noauto", []),
        ("data UUID=2 /root/key luks", []),
        ("data UUID=2 none luks,tpm2-device=auto", []),
        ("swap UUID=3 /dev/urandom swap", []),
        ("swap UUID=3 none luks,swap", ["asks=swap|crypttab|console"]),
    ],
)
def test_other_volumes_count_if_a_boot_waits_for_them(
    tmp_path: Path, line: str, found: list[str]
) -> None:
    assert asks(tmp_path, PLAIN, f"{line}\n") == found


def test_zfs_has_an_encryption_of_its_own(tmp_path: Path) -> None:
    assert asks(tmp_path, PLAIN, filesystem="zfs") == ["asks=rpool/ROOT|/|console"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], ""),
        (
            ["asks=sda3_crypt|/|console"],
            "/ is encrypted (sda3_crypt), and each boot waits for its passphrase at its own screen "
            "and keyboard",
        ),
        (
            ["asks=a|/|ssh", "asks=b|crypttab|console"],
            "/ is encrypted (a), and 1 more, and each boot waits for its passphrase over SSH, to "
            "its initramfs",
        ),
        (
            ["asks=data|crypttab|console"],
            "data of /etc/crypttab is encrypted, and each boot waits for its passphrase at its own "
            "screen and keyboard",
        ),
        (["asks=\x1b]0;x\x07|/|console"], "/ is encrypted (\\x1b]0;x\\x07), and each boot waits "
         "for its passphrase at its own screen and keyboard"),
    ],
)  # fmt: skip
def test_it_is_said_in_a_sentence(lines: list[str], said: str) -> None:
    assert encryption.sentence(read(lines).locks) == said


def test_plan_says_who_reboots_such_a_box() -> None:
    from deeprig_cli.plan.report import PlanReport

    report = plan(Rig(), [*DEBIAN_13, "asks=sda3_crypt|/|console"])
    [remark] = [
        said for said in PlanReport(report=report, rig=Rig()).remarks if "encrypted" in said
    ]
    assert remark.endswith("keyboard: no run reboots it, a person does")
    plain = PlanReport(report=plan(Rig()), rig=Rig())
    assert not [said for said in plain.remarks if "encrypted" in said]
