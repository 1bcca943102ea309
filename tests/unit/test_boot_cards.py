"""Which cards wait for a reboot: those that another boot would move, and no others."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.box_scripts import loaded

CARD, SOUND = "0000:02:00.0", "0000:02:00.1"


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with loaded("boot.passthrough") as module:
        for name in ("GIVEN", "TRIED", "DEVICES"):
            monkeypatch.setattr(module, name, tmp_path / name)
        yield module


@pytest.fixture
def there(cards: ModuleType) -> Callable[..., None]:
    """Who has each function now, and which are listed."""

    def make(drivers: dict[str, str], **listed: tuple[str, ...]) -> None:
        for address, driver in drivers.items():
            (cards.DEVICES / address).mkdir(parents=True)
            if driver:
                (cards.DEVICES / address / "driver").symlink_to(cards.DEVICES.parent / driver)
                (cards.DEVICES.parent / driver).mkdir(exist_ok=True)
        for name, addresses in listed.items():
            lines = [f"{address} 10de:2204\n" for address in addresses]
            getattr(cards, name.upper()).write_text("".join(["# a comment\n", *lines]))

    return make


def test_a_box_that_gives_nothing_waits_for_nothing(cards: ModuleType) -> None:
    assert (cards.waiting(), cards.left()) == ([], [])


def test_what_is_given_waits_until_a_boot_has_tried(
    cards: ModuleType, there: Callable[..., None]
) -> None:
    there({CARD: "nouveau", SOUND: ""}, given=(CARD, SOUND))
    assert cards.waiting() == [f"{CARD} to vfio-pci", f"{SOUND} to vfio-pci"]
    assert cards.left() == []


def test_what_did_not_go_at_this_boot_is_told_and_goes_at_no_other(
    cards: ModuleType, there: Callable[..., None]
) -> None:
    there({CARD: "nouveau", SOUND: "vfio-pci"}, given=(CARD, SOUND), tried=(CARD, SOUND))
    assert (cards.waiting(), cards.left()) == ([], [CARD])


def test_what_is_given_no_more_comes_back_at_a_boot(
    cards: ModuleType, there: Callable[..., None]
) -> None:
    there({CARD: "vfio-pci", SOUND: "vfio-pci"}, tried=(CARD, SOUND))
    assert cards.waiting() == [f"{CARD} from vfio-pci", f"{SOUND} from vfio-pci"]


def test_a_card_of_a_person_with_vfio_is_nobodys_business(
    cards: ModuleType, there: Callable[..., None]
) -> None:
    there({CARD: "vfio-pci"}, given=(), tried=())
    assert cards.waiting() == []


def test_the_boot_trial_tells_it(
    there: Callable[..., None], cards: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there({CARD: "nouveau"}, given=(CARD,))
    with loaded("boot.trial") as trial:
        monkeypatch.setattr(trial, "passthrough", cards)
        monkeypatch.setattr(trial, "parameters", lambda root: [])
        assert trial.owed() == f"cards change hands at it ({CARD} to vfio-pci)"
        monkeypatch.setattr(trial, "parameters", lambda root: ["a=1"] if root == Path("/") else [])
        assert trial.owed().startswith("kernel parameters wait for it (a=1); cards change hands")
        (tmp_path / "TRIED").write_text((tmp_path / "GIVEN").read_text())
        monkeypatch.setattr(trial, "parameters", lambda root: [])
        with pytest.raises(SystemExit, match=f"vfio-pci did not get {CARD}; `systemctl status"):
            trial.arrived()
