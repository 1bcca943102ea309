"""The rigs.py that `deeprig init` writes: it loads, says what was found, and is careful."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import paramiko
import pytest

from deeprig import inventories
from deeprig.bootstrap.first_contact import Outcome
from deeprig.errors import DeeprigError
from deeprig.facts.survey import Survey, read
from deeprig.settings import Disk, Rig
from deeprig_cli.init import inventory_text
from deeprig_cli.init.command import choose, public_half
from deeprig_cli.init.inventory_text import Chosen
from deeprig_cli.init.questions import Questions
from tests.unit.recorded import DEBIAN_13, UBUNTU_LIKE
from tests.unit.test_disks import EMPTY, OTHER, SYSTEM, B, holding
from tests.unit.test_survey import KEY

DAY = date(2026, 11, 25)
UUID = "8f3c0c5e-4f0f-4e0e-9a44-0c9a2b6f7d10"
CARD = "card=enp5s0|3c:7c:3f:00:11:22|wired|/usr/lib/systemd/network/99-default.link|networkd"
CHOSEN = Chosen(name="rig1.lan", key="", work_user="anna")
UNASKED = Questions(asks=False)


def surveyed(*more: str) -> Survey:
    return read([line for line in DEBIAN_13 if line != "container=yes"] + list(more))


def with_disks(*devices: dict[str, Any]) -> Survey:
    tree = json.dumps({"blockdevices": [SYSTEM, *devices]})
    return surveyed(f"disks={tree}", "root=/dev/nvme0n1p2")


def loaded(chosen: Chosen, survey: Survey, folder: Path) -> tuple[str, Rig, str]:
    """The text, and the settings that it comes to."""
    text = inventory_text.whole(chosen, survey, DAY)
    file = folder / "rigs.py"
    file.write_text(text)
    [(name, data)] = inventories.load(file)
    assert name == chosen.name
    return text, data["rig"], data["ssh_hostname"]


def test_a_box_without_anything_special(tmp_path: Path) -> None:
    text, rig, hostname = loaded(CHOSEN, surveyed(), tmp_path)
    assert (rig.notebook and rig.notebook.user, hostname) == ("anna", "rig1.lan")
    assert rig.users == () and rig.containers is None
    assert rig.wake_on_lan is None  # no card was found
    assert rig.driver == Rig().driver and rig.storage == Rig().storage
    assert "Debian GNU/Linux 13 (trixie), x86_64" in text and "no NVIDIA card was found" in text
    assert "2026-11-25" in text


def test_what_a_remark_suggests_works_when_it_is_taken_in(tmp_path: Path) -> None:
    text = inventory_text.whole(CHOSEN, surveyed(), DAY)
    taken, count = re.subn(r"# (\w+=[A-Z])", r"\1", text)
    assert count == 2
    (tmp_path / "rigs.py").write_text(taken)
    [(_, data)] = inventories.load(tmp_path / "rigs.py")
    assert data["rig"].python.frameworks == ("torch",)
    assert data["rig"].containers is not None


def test_all_that_can_be_chosen(tmp_path: Path) -> None:
    public = tmp_path / "key.pub"
    public.write_text(KEY)
    paramiko.ECDSAKey.generate().write_private_key_file(str(tmp_path / "key"))
    chosen = Chosen(
        name="rig1",
        hostname="192.168.1.50",
        port=2222,
        key=str(tmp_path / "key"),
        work_user="ai",
        new_user=True,
        public_key=str(public),
        frameworks=("torch", "jax"),
        docker=True,
        disk=Disk(serials=(B,)),
    )
    survey = read([*DEBIAN_13, *UBUNTU_LIKE, CARD, "route=enp5s0"])
    text, rig, hostname = loaded(chosen, survey, tmp_path)
    assert hostname == "192.168.1.50"
    assert rig.python and rig.python.frameworks == ("torch", "jax")
    assert rig.storage and rig.storage.disks == (Disk(serials=(B,)),)
    assert rig.containers and [user.name for user in rig.users] == ["ai"]
    assert rig.wake_on_lan == Rig().wake_on_lan
    assert "GPUs found: 1 x" in text and "GeForce RTX 3090 (10de:2204)" in text
    assert "enp5s0 (3c:7c:3f:00:11:22) is armed" in text


def test_every_line_fits_and_a_card_of_each_kind_is_counted(tmp_path: Path) -> None:
    cards = [f"gpu=0000:0{n}:00.0 10de:2204 030000" for n in range(1, 5)]
    text, _, _ = loaded(CHOSEN, surveyed(*cards, "kernel=6.12.1"), tmp_path)
    assert "# GPUs found: 4 x GeForce RTX 3090 (10de:2204)" in text
    assert "# They get driver 580, open modules and CUDA 13.1; `deeprig plan` says why." in text


def test_disks_are_told_with_what_is_on_them_and_none_is_taken_unasked(tmp_path: Path) -> None:
    data = holding(EMPTY, fstype="ext4", uuid=UUID)
    for disk, said in (
        (EMPTY, f"/dev/sdb, 4.0 TB, empty, serial {B}"),
        (data, f"/dev/sdb, 4.0 TB, a gpt partition table with ext4, UUID {UUID}"),
    ):
        survey = with_disks(disk)
        text = re.sub(r"\n +# ", " ", loaded(CHOSEN, survey, tmp_path)[0])
        assert f" Disk found: {said} No data disk" in text
        assert UNASKED.data_disk(survey) is None
    assert [d.path for d in inventory_text.others(with_disks(EMPTY))] == [
        "/dev/sdb"
    ]  # not the system's


@pytest.mark.parametrize(
    ("device", "word", "disk"),
    [
        (EMPTY, B, Disk(serials=(B,))),
        (EMPTY, "/dev/sdb", Disk(serials=(B,))),
        (holding(EMPTY, fstype="ext4", uuid=UUID), UUID, Disk(uuid=UUID)),
        (holding(EMPTY, fstype="ext4", uuid=UUID), B, Disk(uuid=UUID)),  # never formatted
        (EMPTY, "none", None),
    ],
)
def test_a_disk_is_named_by_what_is_on_it(device: dict[str, Any], word: str, disk: Disk) -> None:
    assert Questions(asks=False, disk=word).data_disk(with_disks(device)) == disk


@pytest.mark.parametrize("word", ["nonsense", OTHER, "S4EVNF0M123456"])  # and the system's own
def test_a_disk_that_cannot_be_for_data_is_refused(word: str) -> None:
    with pytest.raises(DeeprigError, match=f"No disk '{word}' .*there are: {B}"):
        Questions(asks=False, disk=word).data_disk(with_disks(EMPTY))


def test_frameworks_follow_the_cards_unless_named() -> None:
    card = surveyed("gpu=0000:01:00.0 10de:2204 030000")
    assert UNASKED.which_frameworks(surveyed()) == ()
    assert UNASKED.which_frameworks(card) == ("torch",)
    assert Questions(asks=False, frameworks="none").which_frameworks(card) == ()
    named = Questions(asks=False, frameworks="jax, torch,jax")
    assert named.which_frameworks(card) == ("jax", "torch")
    with pytest.raises(DeeprigError, match="'keras' is none of torch, jax, tensorflow"):
        Questions(asks=False, frameworks="keras").which_frameworks(card)


def test_a_card_that_nothing_drives_is_told_with_the_way_out(tmp_path: Path) -> None:
    text, _, _ = loaded(CHOSEN, surveyed("gpu=0000:01:00.0 10de:1180 030000"), tmp_path)
    assert "ends with driver 470" in text and "# What would work: Rig(driver=None)" in text
    assert max(len(line) for line in text.splitlines()) <= 102


def outcome(key: Path | None) -> Outcome:
    return Outcome(
        hostname="rig1", port=22, user="deeprig", key=key, known_hosts=Path("known_hosts"),
        fingerprint="SHA256:x", changed=(), public=KEY,
    )  # fmt: skip


def test_what_the_agent_did_needs_no_key_and_its_public_half_goes_to_the_work_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """~/.ssh has another key's .pub file, or none at all."""
    monkeypatch.setenv("HOME", str(tmp_path))
    questions = Questions(asks=False, work_user="anna", frameworks="none")
    survey = read([*DEBIAN_13, "route=enp5s0"])
    found = choose("rig1", outcome(None), "anna", survey, questions)
    assert (found.key, found.public_key) == ("", KEY)
    text, rig, _ = loaded(found, survey, tmp_path)
    assert "key=" not in text
    assert rig.users[0].keys == (KEY,)


def test_the_half_beside_the_key_is_named_if_it_is_its_own(tmp_path: Path) -> None:
    key = tmp_path / "work_key"
    assert public_half(outcome(key)) == KEY
    (tmp_path / "work_key.pub").write_text(f"{KEY.partition(' me@')[0]} another comment")
    assert public_half(outcome(key)) == f"{key}.pub"
    (tmp_path / "work_key.pub").write_text("ssh-ed25519 AAAA other")
    assert public_half(outcome(key)) == KEY
