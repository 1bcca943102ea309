"""The parts of the lab that need no machine."""

import ast
import json
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deeprig.errors import DeeprigError
from lab import boxes, console, container, images, inventory_file, network, qemu, recipes, vm
from lab.firmware import Firmware
from lab.hardware import Hardware


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> boxes.Box:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return boxes.Box(
        name="rig-1",
        kind="container",
        os="debian-13",
        host="198.18.86.10",
        bare=False,
        password="secret",
        image="/nowhere",
    )


@pytest.mark.parametrize("name", ["rig1", "a", "rig-1", "a" * 32])
def test_a_host_name_names_a_box(name: str) -> None:
    assert boxes.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "1rig", "Rig", "rig_1", "-rig", "rig-", "a.b", "../x", "a" * 33]
)
def test_what_is_no_host_name_names_no_box(name: str) -> None:
    with pytest.raises(DeeprigError, match="such as rig-1"):
        boxes.check_name(name)


def test_a_box_gets_the_first_address_nobody_has() -> None:
    assert network.free_address(set()) == "198.18.86.10"
    assert network.free_address({"198.18.86.10", "198.18.86.12"}) == "198.18.86.11"


def test_a_full_lab_says_so() -> None:
    taken = {f"198.18.86.{last}" for last in range(10, 200)}
    with pytest.raises(DeeprigError, match=r"all 190 addresses .* are taken"):
        network.free_address(taken)


def test_an_unknown_box_is_answered_with_those_there_are(box: boxes.Box) -> None:
    with pytest.raises(DeeprigError, match="no box is named 'rig2'; there is none"):
        boxes.get("rig2")
    box.save()
    with pytest.raises(DeeprigError, match="no box is named 'rig2'; there are: rig-1"):
        boxes.get("rig2")
    assert boxes.get("rig-1") == box


def test_a_bare_box_is_shown_with_its_password_and_no_key(box: boxes.Box) -> None:
    shown = box.public()
    assert (shown["user"], shown["password"], shown["key"]) == ("ai", "secret", None)


def test_a_bootstrapped_box_is_shown_with_its_key_and_no_password(box: boxes.Box) -> None:
    rule = box.upper / "etc/sudoers.d/50-deeprig"
    rule.parent.mkdir(parents=True)
    rule.touch()
    shown = box.public()
    assert (shown["user"], shown["key"]) == ("deeprig", str(box.key))
    assert "password" not in shown


def test_the_inventory_is_python_that_says_where_the_box_is(box: boxes.Box) -> None:
    [call] = [
        node
        for node in ast.walk(ast.parse(inventory_file.text(box)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "box"
    ]
    said = {word.arg: word.value for word in call.keywords}
    assert ast.literal_eval(call.args[0]) == "rig-1"
    assert ast.literal_eval(said["hostname"]) == "198.18.86.10"
    assert ast.literal_eval(said["key"]) == str(box.key)
    assert ast.literal_eval(said["known_hosts"]) == str(box.known_hosts)


def test_each_base_system_has_a_key_of_its_own() -> None:
    keys = {recipe.key for recipe in recipes.RECIPES.values()}
    assert len(keys) == len(recipes.RECIPES)


def test_a_changed_hook_is_another_base_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.RECIPES["debian-13"]
    monkeypatch.setattr(recipes, "DRESSINGS", tmp_path)
    hook = tmp_path / "installed" / "hook.sh"
    hook.parent.mkdir()
    hook.write_text("one")
    before = recipe.key
    hook.write_text("two")
    assert recipe.key != before


def test_an_archive_that_cannot_be_reached_is_named_in_one_line() -> None:
    said = images.explain(
        "ubuntu-24.04",
        [
            "I: running apt-get update...",
            "Err:1 http://archive.example/ubuntu noble InRelease",
            "  Temporary failure resolving 'archive.example'",
            "E: apt-get update failed",
        ],
    )
    assert "no way to archive.example from here; use --os ubuntu-like" in said
    assert "\n" not in said


def test_another_failure_is_told_in_mmdebstraps_words() -> None:
    said = images.explain(
        "debian-13", ["I: fine", "E: no space left", "E: mmdebstrap failed to run"]
    )
    assert "'E: no space left'" in said


def test_a_box_is_read_back_as_it_was_saved(box: boxes.Box) -> None:
    hardware = Hardware(nic="e1000", disks=("1G", "2G"), pci=("gpu:8x4",), iommu=True)
    saved = replace(box, kind="vm", hardware=hardware, packages=("dkms",))
    saved.save()
    assert boxes.get("rig-1") == saved


def test_a_box_of_an_older_lab_is_read_too(box: boxes.Box) -> None:
    box.save()
    file = box.folder / "state.json"
    new = json.loads(file.read_text())
    file.write_text(
        json.dumps({key: new[key] for key in new if key not in ("hardware", "packages")})
    )
    assert boxes.get("rig-1") == box


def test_more_packages_and_a_kernel_make_other_base_systems() -> None:
    plain, more = recipes.recipe("debian-13", "vm"), recipes.recipe("debian-13", "vm", ["dkms"])
    container = recipes.recipe("debian-13")
    assert len({plain.key, more.key, container.key}) == 3
    assert container.key == recipes.RECIPES["debian-13"].key


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"nic": "ne2000"}, "take one of virtio"),
        ({"disks": ("2",)}, "write it as 500M or 2G"),
        ({"pci": ("rtx",)}, "such as gpu:8x4"),
        ({"pci": ("gpu:7x4",)}, "such as gpu:8x4"),
    ],
)
def test_hardware_that_there_is_not_is_refused(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(DeeprigError, match=said):
        Hardware(**chosen)


def command(hardware: Hardware, file: Path) -> list[str]:
    disks = [f"disk-{number}.raw" for number, _ in enumerate(hardware.disks, 1)]
    return qemu.command(
        qemu.Machine(
            name="rig-1",
            hardware=hardware,
            accelerator="tcg",
            firmware=Firmware(file, file),
            variables=file,
            disks=tuple(map(Path, ["system.qcow2", "data-disk.raw", *disks])),
            console=file,
            monitor=file,
            cable="box10",
            mac="02:00:c6:12:56:0a",
        )
    )


def test_what_is_added_moves_neither_card_nor_disk(tmp_path: Path) -> None:
    plain = command(Hardware(), tmp_path)
    more = Hardware(disks=("1G",), iommu=True, pci=("gpu", "edu:5x1"), secure_boot=True)
    full = command(more, tmp_path)
    devices = {plain[place + 1] for place, word in enumerate(plain) if word == "-device"}
    assert len(devices) == 3
    assert devices < set(full)
    assert "pcie-root-port,id=port2,chassis=2,addr=0x11,x-speed=5,x-width=1" in full
    assert "edu,bus=port2,addr=0.0" in full


def test_a_boot_is_judged_by_its_own_part_of_the_console(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("grub> \n--- power on ---\nBdsDxe: loading\nrig login: ")
    since = console.last(log, vm.BOOT_SIGNS)
    assert console.text(log, since) == "BdsDxe: loading\nrig login: "
    assert console.dead_end(log, since) == ""
    assert console.dead_end(log) == "GRUB has nothing to boot"


def test_the_port_that_a_deploy_proved_is_read_from_its_known_hosts(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    assert vm.known_ports(file) == []
    file.write_text("198.18.86.10 ssh-ed25519 AAAA\n[198.18.86.10]:2222 ssh-ed25519 AAAA\n")
    assert vm.known_ports(file) == [2222]


@pytest.mark.parametrize(("patience", "seen"), [(0.05, False), (5.0, True)])
def test_who_greets_late_is_heard_by_who_waits(patience: float, seen: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def sshd() -> None:
            door, _ = server.accept()
            with door:
                time.sleep(0.4)
                door.send(b"SSH-2.0-late\r\n")

        greeter = threading.Thread(target=sshd)
        greeter.start()
        assert container.answers("127.0.0.1", server.getsockname()[1], patience) is seen
        greeter.join()
