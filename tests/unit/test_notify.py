"""What the watch finds, when it tells, and that it never says where it sends."""

import ast
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deeprig import catalog
from deeprig.facts.survey import objections, read
from deeprig.settings import Rig
from lab import fake_gpu_files
from tasks import manifest
from tests.unit.box_scripts import PACKAGE, loaded
from tests.unit.recorded import DEBIAN_13

TOPIC = "https://ntfy.example.org/secret-topic"
HOUR, DAY = 3600, 24 * 3600
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def watch() -> Iterator[Any]:
    with loaded("watch.cli") as module:
        yield module


@pytest.fixture
def findings(watch: Any) -> Any:
    return sys.modules["deeprig_box.watch.system"]


@pytest.fixture
def hardware(watch: Any) -> Any:
    return sys.modules["deeprig_box.watch.hardware"]


@pytest.fixture
def waiting(watch: Any) -> Any:
    return sys.modules["deeprig_box.nvidia.held_updates"]


@pytest.fixture
def told(watch: Any) -> Callable[..., list[str]]:
    """The titles that are new in the outbox after one look that found these."""
    state = sys.modules["deeprig_box.watch.state"].fresh()

    def look(now: float, *keys: str, sent: bool = True) -> list[str]:
        found = {
            key: sys.modules["deeprig_box.watch.system"].Finding(
                key, f"{key} is bad", "Text.", "high"
            )
            for key in keys
        }
        before = len(state["outbox"])
        sys.modules["deeprig_box.watch.state"].compare(state, set(state["standing"]), found, now)
        new = [message["title"].partition(": ")[2] for message in state["outbox"][before:]]
        if sent:
            state["outbox"].clear()
        return new

    return look


def test_what_the_boot_guard_says_is_told(findings: Any, tmp_path: Path) -> None:
    findings.BOOT_GUARD = tmp_path / "boot-guard.json"
    assert findings.kept_kernels(set(), {}, NOW) == []
    findings.BOOT_GUARD.write_text(
        json.dumps({"said": ["kernel 6.12 is not fit", "/boot is full"]})
    )
    [found] = findings.kept_kernels(set(), {}, NOW)
    assert found.text == "Kernel 6.12 is not fit. /boot is full."
    findings.BOOT_GUARD.write_text(json.dumps({"said": []}))
    assert findings.kept_kernels(set(), {}, NOW) == []


def test_trouble_is_told_once_then_daily_then_that_it_is_over(
    told: Callable[..., list[str]],
) -> None:
    assert told(NOW, "unit:a") == ["unit:a is bad"]
    assert told(NOW + HOUR, "unit:a") == []
    assert told(NOW + DAY, "unit:a") == ["unit:a is bad"]
    assert told(NOW + DAY + HOUR, "unit:a") == []
    assert told(NOW + DAY + 2 * HOUR) == ["over: unit:a is bad"]
    assert told(NOW + DAY + 3 * HOUR) == []


def test_each_trouble_is_told_by_itself(told: Callable[..., list[str]]) -> None:
    assert told(NOW, "unit:a") == ["unit:a is bad"]
    assert told(NOW, "unit:a", "unit:b") == ["unit:b is bad"]
    assert told(NOW, "unit:b") == ["over: unit:a is bad"]


def test_while_nothing_gets_through_no_reminders_pile_up(told: Callable[..., list[str]]) -> None:
    assert told(NOW, "unit:a", sent=False) == ["unit:a is bad"]
    assert told(NOW + DAY, "unit:a", sent=False) == []
    assert told(NOW + 2 * DAY, sent=False) == ["over: unit:a is bad"]


def test_a_finder_that_cannot_look_neither_stops_the_others_nor_says_it_is_over(
    watch: Any, findings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> list[Any]:
        raise OSError("no such thing")

    state = sys.modules["deeprig_box.watch.state"].fresh()
    monkeypatch.setattr(
        watch, "FINDERS", {"unit": lambda *_: [findings.Finding("unit:a", "a", "t", "high")]}
    )
    watch.look(state, NOW)
    unknown = {"unit": fails, "full": lambda *_: [findings.Finding("full:/", "b", "t", "high")]}
    monkeypatch.setattr(watch, "FINDERS", unknown)
    watch.look(state, NOW)
    assert [message["key"] for message in state["outbox"]] == ["unit:a", "full:/"]
    assert set(state["standing"]) == {"unit:a", "full:/"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"standing": {}}'])
def test_a_record_that_was_damaged_is_begun_anew(
    watch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    record = sys.modules["deeprig_box.watch.state"]
    monkeypatch.setattr(record, "STATE", tmp_path / "watch.json")
    record.STATE.write_text(text)
    assert record.load() == record.fresh()


MOUNTS = """\
/dev/nvme0n1p2 / ext4 rw,relatime 0 0
tmpfs /run tmpfs rw,nosuid 0 0
tmpfs /dev/shm tmpfs rw,nosuid 0 0
tmpfs /tmp tmpfs rw,nosuid 0 0
/dev/sda1 /data\\040disk ext4 rw 0 0
/dev/loop3 /snap/core/1 squashfs ro 0 0
/dev/sdb1 /mnt/usb ext4 ro,relatime 0 0
nas:/share /nas nfs4 rw 0 0
overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0
"""


def test_what_can_fill_up_is_watched_and_nothing_else(findings: Any) -> None:
    assert list(findings.mounts(MOUNTS)) == ["/", "/tmp", "/data disk"]


def usage(percent: int, files: int = 10) -> Any:
    return SimpleNamespace(
        f_blocks=1000, f_bfree=1000 - 10 * percent, f_bavail=1000 - 10 * percent, f_frsize=10**6,
        f_files=100, f_ffree=100 - files,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("percent", "files", "before", "keys"),
    [
        (90, 10, set(), []),
        (91, 10, set(), ["full:/data"]),
        (10, 91, set(), ["full:files:/data"]),
        (88, 10, {"full:/data"}, ["full:/data"]),  # it hovers: still the same trouble
        (87, 10, {"full:/data"}, []),
    ],
)
def test_a_file_system_is_full_above_ninety_percent(
    findings: Any, percent: int, files: int, before: set[str], keys: list[str]
) -> None:
    found = findings.shortage("/data", usage(percent, files), before)
    assert [finding.key for finding in found] == keys


def test_reserved_blocks_count_as_df_counts_them(findings: Any) -> None:
    reserved = usage(86)
    reserved.f_bavail -= 50  # 5% for root: 860 of 860 + 90
    [finding] = findings.shortage("/", reserved, set())
    assert finding.text.startswith("/ has used 91% of its space, 90 MB left")


def test_fstab_says_what_is_mounted_at_every_boot(findings: Any) -> None:
    fstab = "# /x\nUUID=a / ext4 defaults 0 1\n/swapfile none swap sw 0 0\n"
    fstab += "UUID=b /data ext4 nofail 0 2\n/dev/sr0 /media/cd udf user,noauto 0 0\n"
    assert findings.places(fstab) == ["/", "/data"]


# `smartctl -H -i -j`, shortened to what is read; the second with the status of a failing disk.
GOOD = '{"model_name": "WDC X", "serial_number": "S1", "smart_status": {"passed": true}}'
BAD = '{"model_name": "WDC X", "serial_number": "S1", "smart_status": {"passed": false}}'


@pytest.mark.parametrize(
    ("answer", "keys"), [(GOOD, []), (BAD, ["smart:S1"]), ("{}", []), ("no JSON", [])]
)
def test_a_disk_that_smart_gives_up_is_failing(hardware: Any, answer: str, keys: list[str]) -> None:
    assert [finding.key for finding in hardware.smart("sda", answer)] == keys


def test_an_array_that_lacks_a_disk_needs_a_person(
    hardware: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "BLOCK", tmp_path)
    for name, missing, action in (
        ("md126", 0, "idle"),
        ("md127", 1, "idle"),
        ("md9", 1, "recover"),
    ):
        folder = tmp_path / name / "md"
        folder.mkdir(parents=True)
        parts = {"degraded": missing, "level": "raid5", "raid_disks": 3, "sync_action": action}
        for part, value in parts.items():
            (folder / part).write_text(f"{value}\n")
    (tmp_path / "md0/md").mkdir(parents=True)  # a stripe: it cannot lack one
    found = hardware.lacking_arrays(set(), {}, 0.0)
    assert [finding.key for finding in found] == ["array:md127", "array:md9"]
    assert found[0].text.startswith("raid5 array /dev/md127 lacks 1 of its 3 disks. `sudo mdadm")
    assert "is being rebuilt" in found[1].text


GIVEN_UP = (
    "Unable to determine the device handle for GPU0000:02:00.0: GPU is lost.  "
    "Reboot the system to recover this GPU\n"
)
LISTED = "GPU 0: NVIDIA GeForce RTX 3090 (UUID: GPU-955ddd45-3e91-5ca4-86ec-14da31fba132)\n"
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\n"


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        (LISTED, []),
        (LISTED + GIVEN_UP, ["gpu:lost"]),
        ("nvidia-smi has not answered within 60 s.", ["gpu:hangs"]),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", []),
    ],
)
def test_a_card_that_the_driver_gave_up_is_lost(hardware: Any, said: str, keys: list[str]) -> None:
    assert [finding.key for finding in hardware.silent(said, {}, NOW)] == keys


def test_a_card_that_does_not_start_is_not_called_lost(hardware: Any) -> None:
    said = "Unable to determine the device handle for GPU0: 0000:01:00.0: Unknown Error\n"
    [finding] = hardware.silent(said, {}, NOW)
    assert finding.subject == "a GPU does not answer"
    assert "`sudo dmesg" in finding.text
    [finding] = hardware.silent(GIVEN_UP, {}, NOW)
    assert finding.subject == "a GPU is lost"


@pytest.mark.parametrize("number", ["48", "62", "94", "95", "119", "120", "154"])
def test_an_xid_that_needs_somebody_is_told_for_each_card_once(
    hardware: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    monkeypatch.setattr(hardware, "XIDS", tmp_path / "xids.json")
    hardware.XIDS.write_text(json.dumps(catalog.load("gpu_errors")["xids"]))
    log = f"NVRM: Xid (PCI:0000:01:00): {number}, pid=1, name=python, its own words\n"
    harmless = "NVRM: Xid (PCI:0000:01:00): 31, pid=1, name=python, MMU Fault\n"
    other = log.replace("0000:01", "0000:02")
    assert [f.key for f in hardware.failed(harmless + log + log + other)] == [
        f"gpu:xid:{number}:0000:01:00",
        f"gpu:xid:{number}:0000:02:00",
    ]
    [finding] = hardware.failed(log)
    assert "its own words" in finding.text
    back = (
        "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x1 (GPU Reset "
        "Required) to 0x0 (None)\n"
    )
    assert hardware.failed(log + back) == []
    assert hardware.failed("") == []


def test_libraries_newer_than_the_module_are_told_once_the_deploy_had_time_to_reboot(
    hardware: Any,
) -> None:
    memory: dict[str, Any] = {}
    assert hardware.silent(MISMATCH, memory, NOW) == []
    assert hardware.silent(MISMATCH, memory, NOW + 300) == []
    [finding] = hardware.silent(MISMATCH, memory, NOW + 900)
    assert "reboot. If that does not mend it" in finding.text
    assert hardware.silent(LISTED, memory, NOW + 1800) == []
    assert hardware.silent(MISMATCH, memory, NOW + 2700) == []


def test_cards_are_counted_on_the_bus_with_who_holds_them(hardware: Any, tmp_path: Path) -> None:
    made = fake_gpu_files.files("eight-h100", driver="580.178.04", values={})
    for path, text in made.items():
        place = tmp_path / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            place.symlink_to(text[2:])
        else:
            place.write_text(text)
    found, holders = hardware.cards(tmp_path / fake_gpu_files.FOLDER.lstrip("/") / "root")
    assert found == {"10de:2330": 8}  # and not the switches
    assert holders == {"nvidia"}
    assert hardware.cards(tmp_path) == ({}, set())


# `apt-cache policy nvidia-driver`, written by hand in the form that apt prints; versions made up.
POLICY = """\
nvidia-driver:
  Installed: 535.247.01-1~deb12u1
  Candidate: 535.261.03-1~deb12u1
  Version table:
     535.261.03-1~deb12u1 500
        500 http://security.debian.org/debian-security bookworm-security/non-free amd64 Packages
 *** 535.247.01-1~deb12u1 500
        500 http://mirror.lan/debian bookworm/non-free amd64 Packages
        100 /var/lib/dpkg/status
"""


# The same of NVIDIA's repository, which has the next branch too.
FROM_NVIDIA = """\
nvidia-driver-cuda:
  Installed: 580.178.04-1
  Candidate: 580.199.01-1
  Version table:
     595.91.07-1 600
        600 http://mirror.lan/compute/cuda/repos/debian12/x86_64  Packages
     580.199.01-1 1000
        600 http://mirror.lan/compute/cuda/repos/debian12/x86_64  Packages
 *** 580.178.04-1 1000
        100 /var/lib/dpkg/status
"""


def newer_is_greater(version: str, installed: str) -> bool:
    return version > installed  # good enough for these two, where there is no dpkg


@pytest.mark.parametrize(
    ("policy", "fix"),
    [
        (POLICY, ("535.247.01-1~deb12u1", "535.261.03-1~deb12u1")),
        (POLICY.replace("bookworm-security", "bookworm-backports"), None),
        (POLICY.replace("Installed: 535.247", "Installed: 535.261.99"), None),
        (FROM_NVIDIA, ("580.178.04-1", "580.199.01-1")),
        (FROM_NVIDIA.replace("compute/cuda", "elsewhere"), None),
        ("", None),
    ],
)
def test_what_fixes_a_held_driver_is_of_the_security_archive_or_nvidias_of_its_branch(
    waiting: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    policy: str,
    fix: tuple[str, str] | None,
) -> None:
    monkeypatch.setattr(waiting, "newer", newer_is_greater)
    monkeypatch.setattr(waiting, "NVIDIA", tmp_path / "nvidia.json")
    uri = "http://mirror.lan/compute/cuda/repos/debian12/x86_64/"
    waiting.NVIDIA.write_text(json.dumps({"uri": uri}))
    assert waiting.newest_fix(policy) == fix


def test_a_held_driver_is_told_after_thirty_days(
    waiting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "newer", newer_is_greater)
    answers = {"showhold": "nvidia-driver\nlinux-image-amd64\n", "nvidia-driver": POLICY}
    first_seen: dict[str, float] = {}

    def overdue(now: float) -> list[str]:
        fixes = waiting.waiting(first_seen, now, lambda *argv: answers[argv[-1]])
        found: list[str] = waiting.told(fixes, now)
        return found

    assert overdue(NOW) == []
    assert overdue(NOW + 30 * DAY) == []
    old, new = "535.247.01-1~deb12u1", "535.261.03-1~deb12u1"
    assert overdue(NOW + 31 * DAY) == [f"nvidia-driver {old} ({new} for 31 days)"]
    answers["showhold"] = ""
    assert overdue(NOW + 32 * DAY) == []
    assert first_seen == {}


def test_without_word_being_sent_a_login_says_what_is_overdue(
    waiting: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """apt runs it after each update; the first day counts from there."""
    seen, motd = tmp_path / "deeprig/seen.json", tmp_path / "deeprig/waiting.motd"
    monkeypatch.setattr(waiting, "newer", newer_is_greater)
    monkeypatch.setattr(waiting, "SEEN", seen)
    monkeypatch.setattr(waiting, "MOTD", motd)
    monkeypatch.setattr(waiting.os, "geteuid", lambda: 0)
    answers = {"showhold": "nvidia-driver\n", "nvidia-driver": POLICY}
    monkeypatch.setattr(waiting, "output", lambda *argv: answers[argv[-1]])

    def noted(day: int) -> str:
        monkeypatch.setattr(waiting.time, "time", lambda: NOW + day * DAY)
        waiting.note()
        return motd.read_text() if motd.exists() else ""

    assert noted(0) == noted(30) == ""
    assert noted(31) == (
        "deeprig: the driver lacks security fixes: nvidia-driver 535.247.01-1~deb12u1 "
        "(535.261.03-1~deb12u1 for 31 days); `deeprig driver upgrade`, from where you deploy, "
        "moves it.\n"
    )
    answers["showhold"] = ""
    assert noted(32) == ""
    assert json.loads(seen.read_text()) == {}


def test_no_error_names_the_address(watch: Any) -> None:
    delivery = sys.modules["deeprig_box.watch.delivery"]
    url = "http://user:hunter2@127.0.0.1:9/secret-topic"
    with pytest.raises(delivery.Undelivered) as refused:
        delivery.post(delivery.Message("t", "x", "high", "warning"), url)
    assert str(refused.value) == "cannot reach 127.0.0.1:9: Connection refused"
    with pytest.raises(delivery.Undelivered) as refused:
        delivery.mail(delivery.Message("t", "x", "high", "warning"), "ann@a.org", "127.0.0.1:9")
    assert str(refused.value) == "the mail relay 127.0.0.1:9 does not take it: Connection refused"


def test_the_manifest_does_not_keep_the_address() -> None:
    kept = manifest.settings_without_secrets(Rig(notify=TOPIC))
    assert kept["notify"] == "given"
    assert "secret-topic" not in str(kept)
    assert manifest.settings_without_secrets(Rig())["notify"] is None


def test_a_mail_address_needs_somebody_who_takes_mail() -> None:
    fresh = read(DEBIAN_13)
    [said] = objections(fresh, Rig(notify="ann@example.org"))
    assert said.startswith("Rig.notify is a mail address, and the box has no sendmail")
    assert "ann@" not in said
    assert objections(fresh, Rig(notify="ann@example.org", mail_relay="mail.lan:25")) == []
    assert objections(read([*DEBIAN_13, "sendmail=yes"]), Rig(notify="ann@example.org")) == []
    assert objections(fresh, Rig(notify=TOPIC)) == []


def test_the_scripts_run_on_python_3_10() -> None:
    """Ubuntu 22.04's; what only newer ones know would fail there first."""
    for path in (PACKAGE / "watch").glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 10))
