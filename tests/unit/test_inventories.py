"""An inventory file is read as pyinfra reads it, and what is wrong in it is one line."""

import subprocess
import sys
from pathlib import Path

import paramiko
import pytest

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.ssh import known_hosts

HEAD = "from deeprig.settings import Notebook, Rig, box\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "inventory.py"


def test_boxes_come_with_their_settings(file: Path) -> None:
    file.write_text(f'{HEAD}rigs = [box("a", rig=Rig()), box("b", rig=Rig(), port=2222)]\n')
    (_, a), (_, b) = inventories.load(file)
    assert (a["ssh_port"], b["ssh_port"]) == (22, 2222)
    assert a["rig"].notebook.port == 8888


def test_a_proved_port_is_dialled_and_the_first_one_remembered(file: Path, tmp_path: Path) -> None:
    pins = tmp_path / "known_hosts"
    file.write_text(
        "from deeprig.settings import Rig, Ssh, box\n"
        f'rigs = [box("a", rig=Rig(ssh=Ssh(port=2222)), known_hosts="{pins}")]\n'
    )
    [(_, data)] = inventories.load(file)
    assert (data["ssh_port"], data["bootstrap_port"]) == (22, 22)
    known_hosts.pin(pins, "a", 2222, paramiko.ECDSAKey.generate())
    [(_, data)] = inventories.load(file)
    assert (data["ssh_port"], data["bootstrap_port"]) == (2222, 22)


def test_a_tuple_written_by_hand_is_a_box_too(file: Path) -> None:
    file.write_text(f'{HEAD}rigs = [("a", {{"rig": Rig(), "ssh_user": "me"}})]\n')
    [(name, data)] = inventories.load(file)
    assert (name, data["ssh_hostname"], data["ssh_user"]) == ("a", "a", "me")


def test_a_file_beside_the_inventory_can_be_imported(file: Path) -> None:
    file.with_name("my_rigs_beside.py").write_text(f'{HEAD}rigs = [box("a", rig=Rig())]\n')
    file.write_text("from my_rigs_beside import rigs\n")
    assert [name for name, _ in inventories.load(file)] == ["a"]


def test_only_the_boxes_asked_for(file: Path) -> None:
    file.write_text(f'{HEAD}rigs = [box(name, rig=Rig()) for name in ("a", "b", "c")]\n')
    assert [name for name, _ in inventories.load(file, ["c", "a"])] == ["a", "c"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["lab"], ["a2", "b"]),
        (["a*"], ["a1", "a2"]),
        (["lab", "a1"], ["a1", "a2", "b"]),
        (["by_box"], ["b"]),
        (["b"], ["b"]),  # a box of that name goes before the group
        ([], ["a1", "a2", "b"]),
    ],
)
def test_a_group_and_a_pattern_mean_several(file: Path, words: list[str], names: list[str]) -> None:
    file.write_text(
        f'{HEAD}rigs = [box(name, rig=Rig()) for name in ("a1", "a2", "b")]\n'
        'lab = ["b", "a2", "gone"]\nby_box = [rigs[2]]\nb = ["a1"]\nports = [80]\n'
    )
    assert [name for name, _ in inventories.load(file, words)] == names


def test_pyinfra_means_the_same_by_a_group(tmp_path: Path) -> None:
    """The usual inventory hands the groups of rigs.py on."""
    (tmp_path / "rigs.py").write_text(
        f'{HEAD}rigs = [box(name, rig=Rig()) for name in ("a", "b", "c")]\nlab = ["c", "a"]\n'
    )
    usual = Path(__file__).parents[2] / "inventory.py"
    done = subprocess.run(
        [Path(sys.executable).with_name("pyinfra"), usual, "--limit", "lab", "debug-inventory"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    there = subprocess.run(
        [sys.executable, "-c", "from pathlib import Path; from deeprig import inventories; print("
         f"[name for name, _ in inventories.load(Path({str(usual)!r}), ['lab'])])"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert there.stdout.strip() == "['a', 'c']", there.stderr
    assert "lab" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rigs = [", r"^inventory\.py line 1: '\[' was never closed\.$"),
        ("x = 1\nrigs = [y]", r"^inventory\.py line 2: NameError: name 'y' is not defined$"),
        ("import no_such_thing", r"^inventory\.py line 1: ModuleNotFoundError: .*'no_such_thing'$"),
        ("boxes = []", r'inventory\.py has no `rigs`; write rigs = \[box\("rig1\.lan", rig=Rig'),
        ("rigs = []", r"inventory\.py has rigs = \[\]; write rigs ="),
        ('rigs = ["rig1"]', r"inventory\.py: 'rig1' is no box; write box\(\"rig1\.lan\""),
        (
            'rigs = [("rig1", {})]',
            r'inventory\.py: rig1 has no rig; write box\("rig1", rig=Rig\(\)',
        ),
        ('rigs = [("rig1", {"rig": 5})]', r"inventory\.py: the rig of rig1 is 5; write rig=Rig"),
        (
            f'{HEAD}rigs = [box("a", rig=Rig()), box("a", rig=Rig())]',
            r"inventory\.py lists a twice; once is enough\.$",
        ),
        (
            f'{HEAD}rigs = [box("a", rig=Rig()), box("b", hostname="A", rig=Rig())]',
            r"inventory\.py: a and b have one address and port: each would undo what the other did",
        ),
        (
            f'{HEAD}rigs = [\n  box("rig1", rig=Rig(\n    notebook=Notebook(port=80)))]',
            r"^inventory\.py line 4, rig1: Notebook\.port is 80; ",
        ),
    ],
)
def test_what_is_wrong_is_one_line(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(DeeprigError, match=sentence) as error:
        inventories.load(file)
    assert "\n" not in str(error.value)


def test_a_box_that_is_not_there_is_told_which_are(file: Path) -> None:
    file.write_text(f'{HEAD}rigs = [box("a", rig=Rig()), box("b", rig=Rig())]\n')
    with pytest.raises(DeeprigError, match=r"has no box 'c'; it has: a, b\.$"):
        inventories.load(file, ["c"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeeprigError, match=r"nowhere\.py is not there; name the inventory with"):
        inventories.load(tmp_path / "nowhere.py")
