"""What is done about disks, asked of pyinfra without a machine."""

import json

import pytest

from deeprig.facts.disks import uuid_when_made
from deeprig.facts.survey import read
from deeprig.runner.runs import Report
from deeprig.settings import Disk, Rig, Storage
from tasks import sessions
from tests.unit.recorded import DEBIAN_13
from tests.unit.test_deploy import plan
from tests.unit.test_disks import EMPTY, EMPTY_2, SYSTEM, B, C

TREE = json.dumps({"blockdevices": [SYSTEM, EMPTY, EMPTY_2]})
MACHINE = [
    *(line for line in DEBIAN_13 if line != "container=yes"),
    f"disks={TREE}",
    "root=/dev/mapper/vg-root",
    "root_volume=/dev/vg/root",
    f"room={500 * 2**30}",
]
EVERYTHING = Storage(disks=[Disk(serials=[B, C], raid=1)], swap_gib=8, grow_root=True)
UUID = uuid_when_made((B, C))


def about_disks(report: Report) -> list[str]:
    names = [step.name.partition(" | ")[::2] for step in report.steps]
    return [name for component, name in names if component == "Storage"]


def test_a_machine_gets_what_the_settings_ask_for() -> None:
    names = about_disks(plan(Rig(storage=EVERYTHING), MACHINE))
    assert [name for name in names if not name.startswith("Write ")] == [
        "Install what disks need",
        "Tell SSDs every week what is free",
        "Watch the disks' health",
        "Have systemd read deeprig-array.service, deeprig-array.timer",
        "Start an array also without one of its disks",
        "Have the data disk at /data",
        "Have systemd read swap.deeprig.swap",
        "Have a swap file of 8 GiB",
        "Swap at boot",
        "Swap only when it must be",
        "Give the root volume what is free",
    ]


def test_without_settings_no_disk_is_touched() -> None:
    assert about_disks(plan(Rig(), MACHINE)) == [
        "Install what disks need",
        "Tell SSDs every week what is free",
        "Watch the disks' health",
    ]


def test_a_virtual_machine_is_not_asked_for_its_disks_health() -> None:
    names = about_disks(plan(Rig(), [*MACHINE, "virtual=yes"]))
    assert names == ["Install what disks need", "Tell SSDs every week what is free"]


def test_a_container_has_nothing_done_to_disks() -> None:
    report = plan(Rig(storage=EVERYTHING))
    assert report.error is None
    assert about_disks(report) == []


def test_a_wrong_serial_is_refused_before_anything_is_touched() -> None:
    report = plan(Rig(storage=Storage(disks=[Disk(serials=["TYPO"])])), MACHINE)
    assert report.error is not None
    assert report.steps == []


@pytest.mark.parametrize(
    ("storage", "survey", "copies"),
    [
        (Storage(), MACHINE, False),
        (Storage(), [*MACHINE, "apart=yes"], True),
        (EVERYTHING, MACHINE, True),
        (Storage(folder="/srv/data", disks=[Disk(serials=[B])]), MACHINE, False),
    ],
)
def test_uv_copies_only_where_its_cache_is_on_another_disk(
    storage: Storage, survey: list[str], copies: bool
) -> None:
    found = sessions.caches(Rig(storage=storage), read(survey))
    assert found
    assert ("UV_LINK_MODE" in found.variables) is copies
    assert found.variables["HF_HOME"] == f"{storage.folder}/ai/cache/huggingface"


def test_nobody_has_caches_without_a_data_folder() -> None:
    assert sessions.caches(Rig(storage=None), read(MACHINE)) is None
    assert sessions.caches(Rig(notebook=None), read(MACHINE)) is None
    assert sessions.sshd_files(None) == {}
