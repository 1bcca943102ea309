"""Which kernel the boot loader is kept on, by what is known of each."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.unit.box_scripts import loaded

OLD, NEW = "6.12.117+deb13-amd64", "6.12.118+deb13-amd64"
VERSION = "580.173.02"


@dataclass
class Grub:
    """A boot loader that takes the newer kernel unless it is kept on the other; a pin is a name."""

    pin: str = ""
    usual: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(kernel=NEW))

    def kernel_at(self, pin: str) -> str:
        return pin

    def address(self, kernel: str) -> str:
        return kernel


@dataclass
class Known:
    """What the box has: kernels with a right module, the driver's package, boots that failed."""

    good: set[str] = field(default_factory=lambda: {OLD, NEW})
    half: str = ""
    driver: bool = True
    built: dict[str, str] = field(default_factory=dict)


Box = tuple[ModuleType, Known]


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Box]:
    with loaded("boot.guard") as guard:
        known = Known()
        proof = guard.kernel_check
        monkeypatch.setattr(guard.driver, "kernels", lambda: [OLD, NEW])
        monkeypatch.setattr(proof, "has_driver", lambda: known.driver)
        monkeypatch.setattr(proof, "half_there", lambda: known.half)
        monkeypatch.setattr(proof, "unfit", lambda kernel: "" if kernel in known.good else "no")
        monkeypatch.setattr(
            proof, "identity", lambda kernel: f"{VERSION} {known.built.get(kernel, '1')}"
        )
        monkeypatch.setattr(guard.state, "RECORD", tmp_path / "record.json")
        monkeypatch.setattr(guard.state, "MOTD", tmp_path / "motd")
        yield guard, known


def kept_on(guard: ModuleType, record: dict[str, object], pin: str = "") -> str:
    return str(guard.wanted_pin(Grub(pin), guard.proved(record)))


def no_good(known: Known) -> None:
    known.good = set()


def only_old(known: Known) -> None:
    known.good = {OLD}


def gone(known: Known) -> None:
    known.good, known.driver = set(), False


@pytest.mark.parametrize(
    ("what", "pin", "kept"),
    [
        (lambda known: None, "", ""),
        (lambda known: None, OLD, ""),
        (only_old, "", OLD),
        (only_old, OLD, OLD),
        (no_good, "", ""),
        (no_good, OLD, OLD),
        (gone, OLD, ""),
    ],
)
def test_the_boot_loader_is_kept_on_the_last_proved_kernel(
    box: Box, what: Callable[[Known], None], pin: str, kept: str
) -> None:
    guard, known = box
    what(known)
    assert kept_on(guard, guard.state.load(), pin) == kept


def test_while_the_driver_is_on_its_way_what_was_proved_holds(box: Box) -> None:
    guard, known = box
    record = guard.state.load()
    only_old(known)
    assert kept_on(guard, record) == OLD
    gone(known)
    known.half = "nvidia-kernel-open-dkms"
    assert kept_on(guard, record, OLD) == OLD
    assert kept_on(guard, record) == OLD
    known.half = ""
    assert kept_on(guard, record, OLD) == ""


def test_a_kernel_that_refused_its_module_is_not_booted_until_it_has_another(box: Box) -> None:
    guard, known = box
    record = guard.state.load()
    identity = guard.kernel_check.identity(NEW)
    guard.state.note_boot(record, NEW, identity, "Key was rejected by service")
    assert kept_on(guard, record) == OLD
    guard.state.note_boot(record, NEW, identity, "")
    assert kept_on(guard, record) == ""
    guard.state.note_boot(record, NEW, identity, "Key was rejected by service")
    known.built[NEW] = "2"
    assert kept_on(guard, record) == ""


def test_a_record_that_was_cut_off_is_begun_anew_and_a_whole_one_is_kept(box: Box) -> None:
    guard, _ = box
    record = guard.state.load()
    guard.state.note_proved(record, OLD, VERSION)
    record["said"] = ["a reboot is owed: a reason"]
    guard.state.save(record)
    assert guard.state.load() == record
    assert guard.state.MOTD.read_text() == "deeprig: a reboot is owed: a reason.\n"
    guard.state.RECORD.write_text('{"kernels": {')
    assert guard.state.load()["kernels"] == {}


def test_apt_keeps_just_the_last_proved_kernel(box: Box) -> None:
    guard, _ = box
    text = guard.autoremove.wanted([OLD, NEW])
    assert r'"^linux-.*-6[.]12[.]118[+]deb13-amd64$"' in text
    assert "117" not in text


@pytest.mark.parametrize("line", ['AUTOINSTALL="yes"', "AUTOINSTALL=yes"])
def test_dkms_leaves_the_drivers_modules_to_the_guard_and_gets_them_back(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    """By the modules' own file too: DKMS before 3.1 heeds no other."""
    build = box[0].dkms
    plan, ours = (
        tmp_path / "driver.json",
        {"modules": "dkms", "dkms_name": "nvidia", "module": "nvidia"},
    )
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    monkeypatch.setattr(build.driver, "PLAN", plan)
    own, other = (tmp_path / f"{name}-1.0/dkms.conf" for name in ("nvidia", "zfs"))
    for file in (own, other):
        file.parent.mkdir()
        file.write_text(f'PACKAGE_NAME="x"\n{line}\nCLEAN="true"\n')
    plan.write_text(json.dumps(ours | {"modules": "prebuilt"}))
    assert build.by_itself(True) == []

    plan.write_text(json.dumps(ours))
    assert build.by_itself(True) == [own]
    build.leave_to_us(True)
    assert own.read_text() == 'PACKAGE_NAME="x"\nAUTOINSTALL=""\nCLEAN="true"\n'
    assert build.by_itself(True) == []
    build.leave_to_us(False)
    assert 'AUTOINSTALL="yes"' in own.read_text()
    assert other.read_text() == f'PACKAGE_NAME="x"\n{line}\nCLEAN="true"\n'
