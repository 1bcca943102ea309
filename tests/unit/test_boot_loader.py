"""Which loader a boot came by is the firmware's word; headers have a name that apt knows."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.box_scripts import PACKAGE, loaded


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[ModuleType]:
    with loaded("boot.grub") as module:
        module.EFI = tmp_path  # type: ignore[attr-defined]
        yield module


def entry(loader: ModuleType, path: str) -> None:
    """The firmware took its entry 0003, which is this file."""
    number = b"\7\0\0\0" + b"\x03\x00"
    text = f"some name\0\4\4{path}\0".encode("utf-16-le")
    (loader.EFI / f"BootCurrent-{loader.GLOBAL}").write_bytes(number)
    (loader.EFI / f"Boot0003-{loader.GLOBAL}").write_bytes(b"\7\0\0\0\1\0\0\0\x62\0" + text)


def itself(loader: ModuleType, name: str) -> None:
    content = b"\6\0\0\0" + f"{name}\0".encode("utf-16-le")
    (loader.EFI / f"LoaderInfo-{loader.LOADER}").write_bytes(content)


@pytest.mark.parametrize(
    ("name", "other"),
    [("systemd-boot 257.9-1~deb13u1", "systemd-boot 257.9-1~deb13u1"), ("GRUB 2.12-9", "")],
)
def test_a_loader_that_says_what_it_is_is_believed(
    loader: ModuleType, name: str, other: str
) -> None:
    entry(loader, r"\EFI\debian\shimx64.efi")
    itself(loader, name)
    assert loader.other() == other


@pytest.mark.parametrize(
    ("path", "other"),
    [
        (r"\EFI\refind\refind_x64.efi", "refind"),
        (r"\EFI\systemd\systemd-bootx64.efi", "systemd-boot"),
        (r"\EFI\ZBM\VMLINUZ.EFI", "ZBM"),
        (r"\EFI\ubuntu\shimx64.efi", ""),
        (r"\EFI\BOOT\BOOTX64.EFI", ""),
    ],
)
def test_else_it_is_known_by_the_entry_that_the_firmware_took(
    loader: ModuleType, path: str, other: str
) -> None:
    entry(loader, path)
    assert loader.other() == other


def test_without_such_a_firmware_nothing_is_said(loader: ModuleType) -> None:
    assert loader.other() == ""


def test_an_update_grub_that_hangs_is_given_up_and_said(
    loader: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    # A deploy waits for it: https://github.com/openzfs/zfs/issues/17337.
    assert loader.SECONDS_FOR_A_MENU <= 900
    hangs = tmp_path / "update-grub"
    hangs.write_text("#!/bin/sh\nexec sleep 100\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(loader, "SECONDS_FOR_A_MENU", 0.2)
    monkeypatch.setattr(loader, "write_pin", lambda pin: None)
    loader.renew("")
    assert "update-grub has not ended within 0.2 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('LANG="de_DE.UTF-8"\nLANGUAGE="de_DE:de"\nLC_ALL=C\n', "|de_DE.UTF-8|de_DE:de"),
        ("#LANG=fr_FR.UTF-8\nLANG=de_DE.UTF-8\n", "|de_DE.UTF-8|"),
        ("LANG=$(reboot)\n", "||"),
        (None, "||"),
    ],
)
def test_a_menu_is_made_in_the_language_of_the_box(
    loader: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    said: str,
) -> None:
    """GRUB_DEFAULT may be a title: in English there would be no such entry, and the first boots."""
    if text is not None:
        (tmp_path / "locale").write_text(text)
    loader.bounded.LOCALE_FILES = (tmp_path / "none", tmp_path / "locale")
    for name in ("update-grub", "grub-mkconfig"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho "$LC_ALL|$LANG|$LANGUAGE" > {tmp_path}/out\n'
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setattr(loader, "write_pin", lambda pin: None)
    loader.renew("")
    assert (tmp_path / "out").read_text() == f"{said}\n"


def test_whatever_makes_a_menu_makes_it_so() -> None:
    made = re.compile(r'run\(\[?"(?:update-grub|grub-mkconfig)"[^\n]*')
    found = [line for file in PACKAGE.rglob("*.py") for line in made.findall(file.read_text())]
    assert len(found) == 3
    assert all("environment=" in line for line in found)
