"""A card changes hands at run time only where nothing uses it, and nobody waits for it for good."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.box_scripts import loaded

CARD, SOUND, OTHER = "0000:02:00.0", "0000:02:00.1", "0000:05:00.0"
CLASSES = {CARD: "0x030000", SOUND: "0x040300", OTHER: "0x020000"}
NODE = "/dev/null"  # stands for a card's: any process may have it open


@pytest.fixture
def now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with loaded("passthrough.rebind") as module:
        for name in ("GIVEN", "TRIED"):
            monkeypatch.setattr(module, name, tmp_path / name)
        monkeypatch.setattr(module.proc, "PROC", tmp_path / "PROC")
        for part in (module, sys.modules["deeprig_box.boot.passthrough"]):
            monkeypatch.setattr(part, "DEVICES", tmp_path / "pci/devices")
        (tmp_path / "PROC").mkdir()
        yield module


@pytest.fixture
def kernel(now: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """What unbinding, BIND and udev come to, without a kernel."""

    def does(what: str, *command: Any) -> None:
        driver = now.DEVICES / str(command[-2]) / "driver" if command[0] == "sh" else None
        if command[0] == now.BIND:
            for address in now.listed(now.GIVEN):
                (now.DEVICES / address / "driver").symlink_to(now.DEVICES.parent / "vfio-pci")
        elif driver and command[-1].name == "unbind":
            driver.unlink()
        elif driver:
            driver.symlink_to(now.DEVICES.parent / "nvidia")

    monkeypatch.setattr(now, "_in_time", does)


Box = Callable[..., None]


@pytest.fixture
def box(now: ModuleType, tmp_path: Path) -> Box:
    """Functions with their drivers, and those that are listed, now and at this boot."""

    def make(drivers: dict[str, str], given: tuple[str, ...] = (), tried: Any = ()) -> None:
        for address, driver in drivers.items():
            device = now.DEVICES / address
            (device / "drm/card1").mkdir(parents=True)
            (device / "class").write_text(f"{CLASSES[address]}\n")
            for name in (driver, "nvidia", "vfio-pci"):
                (tmp_path / "pci" / name).mkdir(exist_ok=True)
            (device / "driver").symlink_to(tmp_path / "pci" / driver)
        now.GIVEN.write_text("".join(f"{address} 10de:2204\n" for address in given))
        now.TRIED.write_text("".join(f"{address} 10de:2204\n" for address in tried))

    return make


def opened(now: ModuleType, address: str, name: str) -> None:
    """A process of that name has a node of that function open."""
    number = Path(NODE).stat().st_rdev
    text = f"{os.major(number)}:{os.minor(number)}\n"
    (now.DEVICES / address / "drm/card1/dev").write_text(text)
    files = now.proc.PROC / "77/fd"
    files.mkdir(parents=True)
    (files / "3").symlink_to(NODE)
    (now.proc.PROC / "77/comm").write_text(f"{name}\n")


def test_an_idle_card_is_due_and_one_that_went_is_settled(now: ModuleType, box: Box) -> None:
    box({CARD: "nvidia", SOUND: "snd_hda_intel"}, given=(CARD, SOUND))
    assert now.state() == "due"
    (now.DEVICES / CARD / "driver").unlink()
    (now.DEVICES / SOUND / "driver").unlink()
    for address in (CARD, SOUND):
        (now.DEVICES / address / "driver").symlink_to(now.DEVICES.parent / "vfio-pci")
    assert now.state() == "settled"


def test_who_uses_a_card_is_named_and_the_whole_card_stays(now: ModuleType, box: Box) -> None:
    box({CARD: "nvidia", SOUND: "snd_hda_intel"}, given=(CARD, SOUND))
    opened(now, SOUND, "pipewire")
    assert now.state() == "0000:02:00 is used by pipewire (process 77); it changes hands at a boot."


def test_nvidias_own_daemon_is_no_use_until_it_should_have_let_go(
    now: ModuleType, box: Box
) -> None:
    box({CARD: "nvidia"}, given=(CARD,))
    opened(now, CARD, "nvidia-persiste")
    assert now.state() == "due"
    assert "nvidia-persiste (process 77)" in now.in_use("0000:02:00", [CARD])


def test_nvidias_node_of_a_card_is_known_by_its_minor_number(now: ModuleType, box: Box) -> None:
    box({CARD: "nvidia"}, given=(CARD,))
    about = now.proc.PROC / f"driver/nvidia/gpus/{CARD}/information"
    about.parent.mkdir(parents=True)
    about.write_text("Model: \t\t NVIDIA GeForce RTX 3090\nDevice Minor: \t 1\n")
    assert list(now.numbers(CARD)) == [(195, 1)]


def test_what_is_no_card_waits_for_the_boot(now: ModuleType, box: Box) -> None:
    box({OTHER: "e1000e"}, given=(OTHER,))
    assert now.state() == "settled"


def test_the_console_s_card_waits_for_the_boot(now: ModuleType, box: Box) -> None:
    box({CARD: "nvidia"}, given=(CARD,))
    assert now.state() == "due"  # the control
    (now.DEVICES / CARD / "boot_vga").write_text("1\n")
    assert now.state() == "settled"


def test_a_node_behind_a_closed_one_is_seen(
    now: ModuleType, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box({CARD: "nvidia"}, given=(CARD,))
    opened(now, CARD, "python")
    (now.proc.PROC / "77/fd/0").symlink_to("/closed/meanwhile")
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / "0", folder / "3"]))
    assert "python (process 77)" in now.state()


@pytest.mark.usefixtures("kernel")
def test_a_card_goes_and_the_next_boot_knows(now: ModuleType, box: Box) -> None:
    box({CARD: "nvidia", SOUND: "snd_hda_intel"}, given=(CARD, SOUND))
    now.move([CARD, SOUND])
    assert now.state() == "settled"
    assert now.TRIED.read_text() == f"{CARD}\n{SOUND}\n"


@pytest.mark.usefixtures("kernel")
def test_a_card_that_went_comes_back(now: ModuleType, box: Box) -> None:
    box({CARD: "vfio-pci"}, tried=(CARD,))
    assert now.state() == "due"
    now.move([CARD])
    assert now.state() == "settled"
    assert (now.DEVICES / CARD / "driver_override").read_text() == "\n"
    assert (now.DEVICES / CARD / "uevent").read_text() == "add"


def test_a_card_that_nobody_took_is_not_called_moved(
    now: ModuleType, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box({CARD: "nvidia"}, given=(CARD,))
    monkeypatch.setattr(now, "BIND", "true")
    with pytest.raises(now.Stuck, match="did not go where it was to go"):
        now.move([CARD])
    assert now.TRIED.read_text() == ""


def test_a_driver_that_does_not_let_go_is_not_waited_for(
    now: ModuleType, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box({CARD: "nvidia"}, given=(CARD,))
    monkeypatch.setattr(now, "SECONDS", 0.2)
    hanging = now.DEVICES / CARD / "driver/unbind"
    os.mkfifo(hanging)  # who writes to it waits until somebody reads
    started = time.monotonic()
    with pytest.raises(now.Stuck, match="not enough for nvidia to let go of"):
        now.move([CARD])
    assert time.monotonic() - started < 5
    assert now.TRIED.read_text() == ""
