"""`deeprig driver`: what is judged from a box's facts, and what the box's scripts decide."""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from deeprig.errors import DeeprigError
from deeprig.inventories import Box
from deeprig.settings import Driver, box
from deeprig_cli.driver import status as driver_status
from deeprig_cli.driver.client import DriverClient
from deeprig_cli.driver.command import driver
from deeprig_cli.driver.move import Move
from deeprig_cli.driver.report import page
from tasks.driver import left_alone_by_updates
from tests.unit.box_scripts import loaded

TODAY = date(2026, 11, 25)
OLD, NEW, OTHER = "580.173.02", "580.178.04", "595.91.07"
KERNEL, NEXT = "6.8.0-142-generic", "6.8.0-145-generic"
NAMES = ("libnvidia-compute-580", "nvidia-dkms-580-open", "nvidia-utils-580")
# As `driver-move status` says it of an Ubuntu 24.04 with NVIDIA's repository.
FACTS: dict[str, Any] = {
    "driver": OLD,
    "state": f"ok {OLD} for {KERNEL}",
    "in_use": "ok",
    "cards": ["0000:01:00.0"],
    "system": "ubuntu-24.04",
    "plan": {"branch": "580", "source": "nvidia", "flavour": "open", "modules": "dkms"},
    "loaded": {"version": OLD, "flavour": "open"},
    "modules": {"running": KERNEL, "next": KERNEL, "versions": {KERNEL: OLD}},
    "libraries": [
        {
            "name": name, "version": OLD, "owner": "libnvidia-compute-580", "named_in": "",
            "file": f"/usr/lib/x86_64-linux-gnu/{name[:-1]}{OLD}",
        }
        for name in ("libcuda.so.1", "libnvidia-ml.so.1")
    ],
    "packages": {name: f"{OLD}-0ubuntu1" for name in NAMES},
    "holds": {"held": list(NAMES), "loose": [], "needless": [], "not_excluded": []},
    "offers": {"nvidia-dkms-580-open": [f"{OLD}-0ubuntu1"]},
    "index": {"source": "NVIDIA's repository", "read": 1_795_600_000.0},
    "waiting": [],
    "moves": [],
    "move": {
        "kind": "", "step": "", "before": "", "after": "", "why": "", "active": False,
        "verified": False, "stepped": 0.0,
    },
    "way_back": {},
    "now": 1_795_602_164.0,
}  # fmt: skip


def libraries(
    version: str, name: str = "libcuda.so.1", owner: str = "some", **changes: str
) -> list[dict[str, str]]:
    """One library as the standing has it."""
    file = f"/usr/lib/{name[:-1]}{version}"
    known = {"name": name, "version": version, "owner": owner, "file": file, "named_in": ""}
    return [known | changes]


HISTORY = """\

Start-Date: 2026-11-24  06:12:01
Commandline: /usr/bin/unattended-upgrade
Upgrade: libnvidia-compute-580:amd64 (580.173.02-0ubuntu1, 580.178.04-0ubuntu1)
End-Date: 2026-11-24  06:12:31

Start-Date: 2026-11-24  07:00:00
Commandline: apt-get install nvidia-utils-580
Install: nvidia-utils-580:amd64 (580.178.04-0ubuntu1), nvidia-modprobe:amd64 (580.1-1, automatic)
Remove: nvidia-utils:amd64 (595.91.07-1ubuntu1)
End-Date: 2026-11-24  07:00:09
"""
DPKG = """\
2026-11-20 05:00:00 startup archives unpack
2026-11-20 05:00:01 install nvidia-dkms-580-open:all <none> 580.173.02-0ubuntu1
2026-11-20 05:00:01 status half-installed nvidia-dkms-580-open:all 580.173.02-0ubuntu1
2026-11-24 06:12:02 upgrade libnvidia-compute-580:amd64 580.173.02-0ubuntu1 580.178.04-0ubuntu1
"""
TERMINAL = """\
Log started: 2026-10-01  04:00:00
Unpacking nvidia-persistenced (580.142-0ubuntu1) over (580.126.20-0ubuntu1) ...
Log ended: 2026-10-01  04:00:05
"""


def judged(**changes: Any) -> driver_status.Standing:
    """The standing of a box whose facts differ from good ones in this."""
    facts = deepcopy(FACTS)
    for key, value in changes.items():
        facts[key] = {**facts[key], **value} if isinstance(value, dict) else value
    return driver_status.judge("rig1", facts, None, TODAY)


def test_a_box_that_cannot_say_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(self: DriverClient, names: list[str]) -> dict[str, Any]:
        if self.name == "rig1":
            raise DeeprigError("rig1 port 22 does not answer.")
        return deepcopy(FACTS) | ({"libraries": libraries(NEW)} if self.name == "rig3" else {})

    monkeypatch.setattr(DriverClient, "status", status)
    inventory = tmp_path / "inventory.py"
    boxes = ", ".join(f'box("rig{n}", rig=Rig(driver=Driver()))' for n in (1, 2, 3))
    inventory.write_text(f"from deeprig.settings import Driver, Rig, box\nrigs = [{boxes}]\n")

    def asked(*options: str) -> Any:
        return CliRunner().invoke(driver, ["status", "--inventory", str(inventory), *options])

    said = asked("--json")
    first, second, third = json.loads(said.stdout)
    assert first == {"host": "rig1", "error": "rig1 port 22 does not answer."}
    assert (second["host"], second["driver"], second["wrong"]) == ("rig2", OLD, [])
    assert third["wrong"]
    assert said.exit_code == 1  # what is wrong counts more than what could not be asked
    assert asked("--json", "--limit", "rig1", "--limit", "rig2").exit_code == 2
    assert asked("--json", "--limit", "rig2").exit_code == 0
    assert asked("--json", "--limit", "rig3").exit_code == 1
    said = asked()
    assert "rig1: not asked: rig1 port 22 does not answer." in said.stdout
    assert "rig2: driver 580.173.02, all of one piece" in said.stdout
    assert said.exit_code == 1


def test_a_driver_of_one_piece_has_nothing_wrong() -> None:
    standing = judged()
    assert (standing.wrong, standing.notes, standing.offered) == ((), (), {})
    assert "rig1: driver 580.173.02, all of one piece" in page(standing)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"libraries": libraries(NEW, owner="libnvidia-compute-580")},
            f"programs get libcuda.so.1 {NEW}, the packages are {OLD}: /usr/lib/libcuda.so.{NEW}, "
            "of the package libnvidia-compute-580",
        ),
        ({"libraries": libraries("", file="")}, "programs get libcuda.so.1 (none)"),
        (
            {"libraries": libraries(OTHER, name="libnvidia-ml.so.1", owner="")},
            f"programs get libnvidia-ml.so.1 {OTHER}, the packages are {OLD}: "
            f"/usr/lib/libnvidia-ml.so.{OTHER} belongs to no package, and no reboot mends that; "
            f"`sudo rm /usr/lib/libnvidia-ml.so.{OTHER} && sudo ldconfig`",
        ),
        (
            {
                "libraries": libraries(
                    OTHER, owner="cuda-compat-13-2", named_in="/etc/ld.so.conf.d/000_cuda.conf"
                )
            },
            "of the package cuda-compat-13-2, comes first by /etc/ld.so.conf.d/000_cuda.conf; take",
        ),
        (
            {"packages": {"nvidia-fabricmanager-580": f"{NEW}-1"}},
            f"nvidia-fabricmanager-580 is {NEW}, the driver is {OLD}, and until they are one CUDA",
        ),
        ({"loaded": {"version": NEW}}, f"driver {NEW} is loaded, {OLD} is installed"),
        ({"in_use": f"reboot: driver {NEW} is loaded, {OLD} installed"}, "a reboot is owed: "),
        ({"in_use": "load"}, "no module is loaded, though there is a card"),
        ({"in_use": "wrong: every card is held by vfio"}, "every card is held by vfio"),
        ({"loaded": {"flavour": "proprietary"}}, "the proprietary modules are loaded"),
        ({"modules": {"versions": {KERNEL: NEW}}}, f"kernel {KERNEL}, which runs, has the module"),
        (
            {"modules": {"next": NEXT, "versions": {KERNEL: OLD, NEXT: ""}}},
            f"kernel {NEXT}, which boots next, has the module (none), not {OLD}",
        ),
        ({"state": "there is no nvidia for kernel 7"}, "there is no nvidia for kernel 7; a deploy"),
        ({"holds": {"loose": ["nvidia-utils-580"]}}, "not held: nvidia-utils-580"),
        ({"holds": {"not_excluded": ["nvidia-utils-580"]}}, "updates may move nvidia-utils"),
        ({"move": {"step": "stuck", "kind": "upgrade", "why": "x"}}, "last upgrade is stuck: x"),
        ({"move": {"step": "reboot owed", "after": NEW}}, f"{NEW} was installed and a reboot"),
        ({"move": {"step": "installing", "kind": "upgrade"}}, "was cut off at 'installing'"),
        ({"move": {"step": "rebooting", "kind": "upgrade"}}, "waits for the box to be up"),
        (
            {"waiting": [{"name": "nvidia-utils-580", "installed": OLD, "version": NEW,
                          "since": FACTS["now"] - 31 * 86400}]},
            f"nvidia-utils-580 {NEW} has waited for 31 days",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    standing = judged(**changes)
    assert [said for said in standing.wrong if sentence in said], standing.wrong
    assert len(standing.wrong) == 1
    assert f"!! {standing.wrong[0]}" in page(standing)


def test_an_index_that_nobody_reads_any_more_is_told() -> None:
    for days, told in ((6, False), (9, True)):
        standing = judged(index={"read": FACTS["now"] - days * 86400})
        said = f"apt has not read NVIDIA's repository for {days} days, so that nothing newer"
        assert any(said in note for note in standing.notes) is told
        assert standing.wrong == ()
        assert "index      NVIDIA's repository, read 2026-1" in page(standing)
    assert "read never" in page(judged(index={"read": 0.0}))


def test_a_move_under_way_is_not_wrong() -> None:
    assert judged(move={"step": "installing", "kind": "upgrade", "active": True}).wrong == ()


def test_no_driver_of_ours_is_said() -> None:
    facts = {"driver": "", "state": "there is no driver that deeprig looks after"}
    standing = driver_status.judge("rig1", facts, None, TODAY)
    assert standing.wrong == ("there is no driver that deeprig looks after; a deploy installs it",)
    assert "deploy installs it" in page(standing)


def test_the_line_of_the_log_that_moved_it_is_named() -> None:
    line = f"2026-11-24 06:12:01 Upgrade: {NAMES[0]} ({OLD}-0ubuntu1, {NEW}-0ubuntu1)"
    moved = {
        "when": "2026-11-24 06:12:01", "what": "upgrade", "name": NAMES[0], "old": OLD,
        "new": f"{NEW}-0ubuntu1", "by": "/usr/bin/unattended-upgrade",
        "log": "/var/log/apt/history.log", "line": line,
    }  # fmt: skip
    standing = judged(
        in_use=f"reboot: driver {OLD} is loaded, {NEW} installed",
        driver=NEW,
        libraries=libraries(NEW),
        state=f"ok {NEW} for {KERNEL}",
        packages={name: f"{NEW}-0ubuntu1" for name in NAMES},
        modules={"versions": {KERNEL: NEW}},
        moves=[moved],
    )
    assert standing.wrong == (
        f"a reboot is owed: driver {OLD} is loaded, {NEW} installed; moved by "
        f"`/usr/bin/unattended-upgrade`, /var/log/apt/history.log: {line}",
    )


def test_what_is_offered_is_said_by_branch_under_its_names() -> None:
    offers = {
        "nvidia-dkms-580-open": [f"{NEW}-0ubuntu1", f"{OLD}-0ubuntu1"],
        "nvidia-dkms-open": ["615.71.09-1ubuntu1", f"{OTHER}-1ubuntu1", "595.71.05-1ubuntu1"],
    }
    standing = judged(offers=offers)
    assert standing.offered == {"580": NEW, "595": OTHER, "615": "615.71.09"}
    assert any("`deeprig driver upgrade --branch 595`" in note for note in standing.notes)
    assert any(note.startswith(f"{NEW} is offered") for note in standing.notes)
    assert standing.wrong == ()


def test_an_end_of_life_is_said_by_a_given_day() -> None:
    facts = deepcopy(FACTS)
    for day, said in ((date(2028, 6, 30), False), (date(2028, 7, 1), True)):
        notes = driver_status.judge("rig1", facts, None, day).notes
        assert any("fixes for branch 580 ended on 2028-06-30" in note for note in notes) is said


def test_settings_that_ask_for_another_driver_are_said() -> None:
    notes = driver_status.judge("rig1", deepcopy(FACTS), Driver(branch="595"), TODAY).notes
    assert notes == ("Driver(branch=) asks for 595; `deeprig driver upgrade` moves to it",)


def test_every_branch_is_asked_for_under_its_own_name() -> None:
    names = driver_status.names_to_ask()
    assert {"nvidia-dkms-580-open", "nvidia-dkms-open", "nvidia-kernel-open-dkms"} <= set(names)
    assert not [name for name in names if "{" in name]


def test_a_branch_that_nobody_knows_is_refused() -> None:
    with pytest.raises(DeeprigError, match="--branch 999 is none that deeprig knows"):
        Move(Path("inventory.py"), _box(_rig()), branch="999", force=False, reboot=True)


@pytest.mark.parametrize(
    ("kind", "step", "failed", "good", "sentence"),
    [
        ("upgrade", "moved", (), True, f"driver {OLD} moved to {NEW}, verified, in 0 s"),
        ("upgrade", "moved", ("x",), True, "it fails as before: x"),
        ("upgrade", "same", (), True, "nothing moved"),
        ("upgrade", "reboot owed", (), True, f"driver {NEW} is installed, and a reboot is owed: y"),
        ("upgrade", "back", (), False, f"y; driver {NEW} is back and held"),
        ("upgrade", "refused", (), False, "y; nothing was touched"),
        ("upgrade", "stuck", (), False, "`deeprig driver status --limit rig1` says how it stands"),
        ("upgrade", "installing", (), False, "it was cut off at 'installing'"),
        ("rollback", "back", (), True, f"driver {NEW} is back, verified, in 0 s"),
        ("rollback", "back", ("x",), False, f"driver {NEW} is back, and fails: x"),
        ("rollback", "stuck", (), False, "y; `deeprig driver status"),
    ],
)
def test_how_a_move_ended_is_one_sentence(
    kind: str, step: str, failed: tuple[str, ...], good: bool, sentence: str
) -> None:
    move = Move(Path("inventory.py"), _box(_rig()), force=False, reboot=True)
    record = {"kind": kind, "step": step, "before": OLD, "after": NEW, "why": "y", "verified": True}
    outcome = move._outcome(record, failed)
    assert outcome.good is good
    assert outcome.sentence.startswith("rig1: ")
    assert sentence in outcome.sentence
    assert "\n" not in outcome.sentence


def test_a_branch_that_only_the_command_names_is_to_be_written_down() -> None:
    move = Move(Path("inventory.py"), _box(_rig()), branch="595", force=False, reboot=True)
    record = {"kind": "upgrade", "step": "moved", "before": OLD, "after": OTHER, "why": "",
              "verified": True}  # fmt: skip
    assert 'write Driver(branch="595") in inventory.py' in move._outcome(record, ()).sentence


@pytest.mark.parametrize(("reboot", "left"), [("never", False), ("ask", True)])
def test_a_box_that_never_reboots_by_itself_does_not_here(reboot: Any, left: bool) -> None:
    from deeprig.settings import Rig

    rig = Rig(driver=Driver(), reboot=reboot)
    move = Move(Path("inventory.py"), _box(rig), force=False, reboot=True)
    assert move.reboot is left


def _box(rig: Any) -> Box:
    """As inventories.load gives it."""
    return "rig1", box("rig1", rig=rig)[1]


def _rig() -> Any:
    from deeprig.settings import Rig

    return Rig(driver=Driver())


# The scripts on the box.

Load = Callable[[str], ModuleType]


@pytest.fixture
def load() -> Iterator[Load]:
    """A module of the box's program, fresh."""
    with ExitStack() as every:
        yield lambda name: every.enter_context(loaded(name))


def test_the_moves_of_a_package_are_found_in_all_logs(load: Load, tmp_path: Path) -> None:
    history = load("apt.history")
    (tmp_path / "apt").mkdir()
    (tmp_path / "apt/history.log").write_text(HISTORY)
    (tmp_path / "dpkg.log.2.gz").write_bytes(gzip.compress(DPKG.encode()))
    (tmp_path / "apt/term.log.1.gz").write_bytes(gzip.compress(TERMINAL.encode()))
    (tmp_path / "apt/history.log.1.gz").write_bytes(b"no gzip")
    wanted = [*NAMES, "nvidia-persistenced", "nvidia-utils", "nvidia-modprobe"]
    moves = history.moves(wanted, tmp_path)
    assert [(m.when, m.what, m.name, m.old, m.new) for m in moves] == [
        ("2026-10-01 04:00:00", "unpack", "nvidia-persistenced", "580.126.20-0ubuntu1",
         "580.142-0ubuntu1"),
        ("2026-11-20 05:00:01", "install", "nvidia-dkms-580-open", "", "580.173.02-0ubuntu1"),
        ("2026-11-24 06:12:01", "upgrade", "libnvidia-compute-580", "580.173.02-0ubuntu1",
         "580.178.04-0ubuntu1"),
        ("2026-11-24 07:00:00", "install", "nvidia-modprobe", "", "580.1-1"),
        ("2026-11-24 07:00:00", "install", "nvidia-utils-580", "", "580.178.04-0ubuntu1"),
        ("2026-11-24 07:00:00", "remove", "nvidia-utils", "595.91.07-1ubuntu1", ""),
    ]  # fmt: skip
    assert moves[2].by == "/usr/bin/unattended-upgrade"
    assert moves[1].log.endswith("dpkg.log.2.gz")


def test_a_deploy_and_a_move_write_the_same_exclusions(load: Load) -> None:
    names = ["libnvidia-compute-580", "libstdc++6", "nvidia-driver-580.1"]
    assert load("driver.hold").left_alone(names) == left_alone_by_updates(names)


def test_a_package_is_made_anew_without_dpkgs_own_notes(load: Load) -> None:
    said = (
        "Package: nvidia-utils-580\nStatus: hold ok installed\nVersion: 580.1-1\n"
        "Conffiles:\n /etc/a 0123\n /etc/b 4567\nDescription: tools\n more of it\n"
    )
    assert load("driver.debs").control_file(said) == (
        "Package: nvidia-utils-580\nVersion: 580.1-1\nDescription: tools\n more of it\n"
    )


@pytest.fixture
def record(load: Load, tmp_path: Path) -> ModuleType:
    module = load("driver.state")
    module.FOLDER, module.RECORD = tmp_path, tmp_path / "record.json"  # type: ignore[attr-defined]
    module.UNDER_WAY, module.LOG = tmp_path / "under-way", tmp_path / "log"  # type: ignore[attr-defined]
    module.BOOT_ID = tmp_path / "boot_id"  # type: ignore[attr-defined]
    module.BOOT_ID.write_text("one\n")
    return module


def test_a_move_is_under_way_until_its_end(record: ModuleType) -> None:
    record.LOG.write_text("of another move\n")
    move = record.begin("upgrade", OLD, force=False, reboot=True, came=[])
    assert record.UNDER_WAY.exists()
    assert move["log"] == len("of another move\n")
    record.note(move, record.INSTALLING, after=NEW)
    assert record.load()["after"] == NEW
    assert not record.booted_since(record.load())
    record.BOOT_ID.write_text("two\n")
    assert record.booted_since(record.load())
    for end in record.ENDS:
        record.note(move, record.INSTALLING)
        assert record.UNDER_WAY.exists()
        record.note(move, end)
        assert not record.UNDER_WAY.exists()


@pytest.mark.parametrize(
    ("kind", "step", "boots", "does"),
    [
        ("upgrade", "asked", 0, "upgrade"),
        ("upgrade", "asked", 1, "refused"),
        ("rollback", "asked", 0, "back"),
        ("upgrade", "installing", 0, "back"),
        ("upgrade", "installing", 1, "back"),
        ("upgrade", "going back", 1, "back"),
        ("upgrade", "rebooting", 0, ""),
        ("upgrade", "rebooting", 1, "arrive"),
        ("upgrade", "reboot owed", 0, ""),
        ("upgrade", "reboot owed", 1, "arrive"),
        ("upgrade", "rebooting back", 0, ""),
        ("upgrade", "rebooting back", 1, "arrive_back"),
        ("upgrade", "moved", 1, ""),
        ("upgrade", "stuck", 1, ""),
    ],
)
def test_a_move_goes_on_where_it_was_cut_off(
    record: ModuleType, load: Load, monkeypatch: pytest.MonkeyPatch,
    kind: str, step: str, boots: int, does: str,
) -> None:  # fmt: skip
    moving, back = load("driver.upgrade"), load("driver.rollback")
    done: list[str] = []
    for module, names in ((moving, ("upgrade", "arrive")), (back, ("back", "arrive_back"))):
        for name in names:
            monkeypatch.setattr(module, name, lambda *_, name=name: done.append(name))
    record.note(record.begin(kind, OLD, force=False, reboot=True, came=[]), step)
    if boots:
        record.BOOT_ID.write_text("two\n")
    moving.go()
    if record.load()["step"] == "refused":
        done.append("refused")
    assert done == ([does] if does else [])


PLAN_580 = {"branch": "580", "source": "nvidia", "modules": "dkms",
            "packages": ["nvidia-dkms-580-open", "libnvidia-compute-580"]}  # fmt: skip
PLAN_595 = {"branch": "595", "source": "nvidia", "modules": "dkms",
            "packages": ["nvidia-dkms-open", "libnvidia-compute"]}  # fmt: skip
INSTALLED = {
    "nvidia-driver-pinning-595": "595-2ubuntu1",
    "libnvidia-compute-580": f"{OLD}-0ubuntu1",
    "nvidia-dkms-580-open": f"{OLD}-0ubuntu1",
    "nvidia-utils-580": f"{OLD}-0ubuntu1",
    "nvidia-modprobe": f"{OLD}-0ubuntu1",
}
CUDA = "NVIDIA:NVIDIA CUDA [amd64]"
# `apt-get -s install nvidia-dkms-open=... libnvidia-compute=... nvidia-dkms-580-open- ...`
RENAMED = f"""\
Remv nvidia-utils-580 [{OLD}-0ubuntu1]
Remv nvidia-dkms-580-open [{OLD}-0ubuntu1]
Remv libnvidia-compute-580 [{OLD}-0ubuntu1]
Inst libnvidia-compute ({OTHER}-1ubuntu1 {CUDA})
Inst nvidia-modprobe [{OLD}-0ubuntu1] ({OTHER}-1ubuntu1 {CUDA})
Inst nvidia-dkms-open ({OTHER}-1ubuntu1 {CUDA})
"""


@pytest.fixture
def transaction(load: Load, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Where 580 is installed, and 595 is offered under its other names."""
    proof, apt = load("nvidia.driver"), load("driver.simulate")
    offers = {
        "nvidia-dkms-open": [f"{OTHER}-1ubuntu1"], "libnvidia-compute": [f"{OTHER}-1ubuntu1"],
        "nvidia-modprobe": [f"{OTHER}-1ubuntu1", f"{OLD}-0ubuntu1"],
        "libnvidia-gl": [f"{OTHER}-1ubuntu1"],
    }  # fmt: skip
    monkeypatch.setattr(proof, "installed", lambda: INSTALLED)
    monkeypatch.setattr(proof, "said", lambda *argv: "libnvidia-gl-580 nvidia-utils-580")
    monkeypatch.setattr(apt, "offered", lambda name: offers.get(name, []))
    monkeypatch.setattr(apt, "held", lambda: {*INSTALLED, "libc6"})
    return load("driver.transaction")


def test_old_names_go_in_the_same_transaction(transaction: ModuleType, load: Load) -> None:
    first = load("driver.simulate").read(
        "\n".join(
            line for line in RENAMED.splitlines() if "Inst" in line and "modprobe" not in line
        )
    )
    names = ["nvidia-dkms-open", "libnvidia-compute"]
    left = transaction.left_behind(names, INSTALLED, first, PLAN_595, OTHER)
    asked = [transaction.exactly(name, OTHER, gone=f"{name}-") for name in left]
    assert sorted(asked) == [
        "libnvidia-compute-580-", "nvidia-dkms-580-open-", f"nvidia-modprobe={OTHER}-1ubuntu1",
        "nvidia-utils-580-",
    ]  # fmt: skip


def test_what_was_asked_for_beside_the_plan_comes_under_its_new_name(
    transaction: ModuleType,
) -> None:
    old = {**INSTALLED, "libnvidia-gl-580": f"{OLD}-0ubuntu1"}
    assert transaction.also_asked(old, PLAN_580, PLAN_595, OTHER) == ["libnvidia-gl"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", ""),
        ("Remv openssh-server [1:9.6]\n", "apt would remove openssh-server"),
        ("Inst libc6 [2.39-1] (2.39-2 Ubuntu:24.04/noble [amd64])\n", "libc6, which is held"),
        (f"Inst nvidia-fs (610.43.02-1 {CUDA})\n", "the plan is 595"),
        (f"Inst cuda-drivers ({OTHER}-1 {CUDA})\n", "which replaces drivers"),
    ],
)
def test_apt_may_move_the_driver_and_nothing_else(
    transaction: ModuleType, load: Load, line: str, sentence: str
) -> None:
    names = [f"nvidia-dkms-open={OTHER}-1ubuntu1", f"libnvidia-compute={OTHER}-1ubuntu1"]
    would = load("driver.simulate").read(RENAMED + line)
    why = transaction.objection(transaction.Way(OTHER, names, would), INSTALLED, PLAN_595)
    assert sentence in why
    assert bool(why) is bool(sentence)


def test_what_apt_would_leave_out_is_no_upgrade(transaction: ModuleType, load: Load) -> None:
    would = load("driver.simulate").read(RENAMED.replace("Inst nvidia-dkms-open", "Conf x"))
    names = ["nvidia-dkms-open", "libnvidia-compute"]
    why = transaction.objection(transaction.Way(OTHER, names, would), INSTALLED, PLAN_595)
    assert why == "apt would not install nvidia-dkms-open"


PREBUILT_PLAN = {
    "branch": "580", "source": "distro", "modules": "prebuilt",
    "packages": ["nvidia-headless-no-dkms-580-server-open",
                 "linux-modules-nvidia-580-server-open-generic"],
    "kernel_metapackages": ["linux-generic", "linux-headers-generic"],
}  # fmt: skip
KERNELS = ["6.8.0-147.147", "6.8.0-145.145", "6.8.0-142.142", "6.8.0-100.100"]
WITH_KERNEL = {
    "nvidia-headless-no-dkms-580-server-open": f"{OLD}-0ubuntu0.24.04.1",
    "linux-modules-nvidia-580-server-open-generic": "6.8.0-142.142+1",
    "linux-generic": "6.8.0-142.142",
    "linux-headers-generic": "6.8.0-142.142",
}


@pytest.fixture
def archive(load: Load, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Ubuntu's archive with a newer driver, newer kernels, and modules for some of them: those of
    `own` come with the driver itself, as its metapackage of modules would have it.
    """

    def made(modules_for: set[str], own: str = "") -> ModuleType:
        proof, apt, waiting = (
            load("nvidia.driver"),
            load("driver.simulate"),
            load("nvidia.held_updates"),
        )
        monkeypatch.setattr(proof, "installed", lambda: WITH_KERNEL)
        monkeypatch.setattr(proof, "said", lambda *argv: "")
        monkeypatch.setattr(
            apt, "candidate", lambda name: f"{NEW}-1" if "nvidia" in name else KERNELS[0]
        )
        monkeypatch.setattr(apt, "held", lambda: set(WITH_KERNEL))
        monkeypatch.setattr(
            apt, "offered", lambda name: KERNELS if name == "linux-generic" else [f"{NEW}-1"]
        )

        def simulated(names: list[str]) -> Any:
            lines = [f"Inst nvidia-headless-no-dkms-580-server-open [{OLD}-1] ({NEW}-1 U [amd64])"]
            lines.append(
                "Inst linux-modules-nvidia-580-server-open-generic (6.8.0-145+2 U [amd64])"
            )
            kernels = [own] if own else []
            for name in names:
                package, _, version = name.partition("=")
                if package == "linux-generic":
                    kernels.append((version or KERNELS[0]).rpartition(".")[0])
            for kernel in kernels:
                lines.append(f"Inst linux-image-{kernel}-generic ({kernel}.1 U [amd64])")
                if kernel in modules_for:
                    module = f"linux-modules-nvidia-580-server-open-{kernel}-generic"
                    lines.append(f"Inst {module} ({kernel}.1+2 U [amd64])")
            return apt.read("\n".join(lines))

        monkeypatch.setattr(apt, "simulated", simulated)
        monkeypatch.setattr(waiting, "newer", lambda version, there: version > there)
        monkeypatch.setattr(load("driver.kernels"), "newer", lambda version, there: version > there)
        return load("driver.transaction")

    return made


@pytest.mark.parametrize(
    ("modules_for", "kernel"),
    [
        ({"6.8.0-147", "6.8.0-145"}, ["linux-generic", "linux-headers-generic"]),
        ({"6.8.0-145"}, ["linux-generic=6.8.0-145.145", "linux-headers-generic=6.8.0-145.145"]),
        (set(), []),
    ],
)
def test_the_newest_kernel_that_has_the_drivers_modules_comes_along(
    archive: Callable[..., ModuleType], modules_for: set[str], kernel: list[str]
) -> None:
    """A kernel that the archive has no modules for yet does not come, nor does an older one."""
    transaction = archive(modules_for)
    way = transaction.choose(PREBUILT_PLAN, WITH_KERNEL, PREBUILT_PLAN)
    assert [name for name in way.names if "nvidia" not in name] == kernel
    assert way.names[0] == f"nvidia-headless-no-dkms-580-server-open={NEW}-1"
    assert transaction.objection(way, WITH_KERNEL, PREBUILT_PLAN) == ""


def test_a_driver_that_brings_a_kernel_without_modules_is_refused_before_it_comes(
    archive: Callable[..., ModuleType],
) -> None:
    transaction = archive(set(), own="6.8.0-147")
    way = transaction.choose(PREBUILT_PLAN, WITH_KERNEL, PREBUILT_PLAN)
    assert transaction.objection(way, WITH_KERNEL, PREBUILT_PLAN) == (
        f"the archive has no modules of driver {NEW} for kernel 6.8.0-147-generic yet, which apt "
        "would bring along; try again in a few days"
    )


def test_pins_of_other_branches_go_and_the_plans_own_comes(transaction: ModuleType) -> None:
    to_move = transaction.pins_to_move
    assert to_move({"pin": "nvidia-driver-pinning-595"}) == []
    assert to_move({"pin": ""}) == ["nvidia-driver-pinning-595"]
    assert to_move({"pin": "nvidia-driver-pinning-580"}) == [
        "nvidia-driver-pinning-595", "nvidia-driver-pinning-580",
    ]  # fmt: skip


def test_a_kernel_that_came_with_a_driver_stays_when_it_goes(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, proof = load("driver.snapshot"), load("nvidia.driver")
    before = {"nvidia-utils-580-server": f"{OLD}-1", "linux-image-generic": "6.8.0-142.142"}
    there = {**before, "linux-image-generic": "6.8.0-145.145"}
    came = ["linux-image-6.8.0-145-generic", "linux-modules-nvidia-580-6.8.0-145-generic", "dkms"]
    states = {name: ("installed", version) for name, version in there.items()}
    states |= {name: ("installed", "1") for name in came}
    ran: list[list[str]] = []
    monkeypatch.setattr(snapshot, "states", lambda: states)
    monkeypatch.setattr(snapshot, "run", lambda what, argv: ran.append(argv) or "")
    monkeypatch.setattr(snapshot, "kept_deb", lambda version, name, its: f"{name}_{its}.deb")
    monkeypatch.setattr(proof, "driver_set", lambda: list(before))
    monkeypatch.setattr(proof, "said", lambda *argv: "")
    for name in ("put_back_files", "marks", "check"):
        monkeypatch.setattr(snapshot, name, lambda *_: None)
    monkeypatch.setattr(load("driver.dkms"), "build_what_is_missing", lambda: None)
    snapshot.restore({"packages": before, "version": OLD, "files": {}}, came)
    [purge, install] = [[word for word in argv if word[0] != "-"] for argv in ran]
    assert purge == ["dpkg", "linux-modules-nvidia-580-6.8.0-145-generic"]
    assert install == ["dpkg", "linux-image-generic_6.8.0-142.142.deb"]


def test_the_record_is_whole_json(record: ModuleType) -> None:
    record.begin("upgrade", OLD, force=True, reboot=False, came=[])
    assert json.loads(record.RECORD.read_text())["force"] is True


@pytest.mark.parametrize("asks", ["", "/ is encrypted (sda3_crypt)"])
def test_a_box_whose_boot_waits_for_a_person_is_not_rebooted(
    monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    began: list[bool] = []
    ended = {"step": "reboot owed", "before": OLD, "after": NEW, "why": "it is new"}
    monkeypatch.setattr(DriverClient, "is_this_machine", lambda box: False)
    monkeypatch.setattr(
        DriverClient, "begin", lambda box, kind, force, reboot: began.append(reboot)
    )
    monkeypatch.setattr(DriverClient, "watch", lambda box, say: dict(ended, kind="rollback"))
    monkeypatch.setattr(DriverClient, "asked_at_boot", lambda box: asks)
    move = Move(Path("inventory.py"), _box(_rig()), force=False, reboot=True)
    done = move._do("rollback", "Take it back")
    assert began == [not asks]
    said = move._sentence(done, ())
    assert said.endswith("it is new" + (f"; {asks}, so that one is yours to make" if asks else ""))
