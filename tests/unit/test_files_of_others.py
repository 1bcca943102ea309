"""Files that have no name of ours: what their owner wrote stays."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from deeprig import operations
from deeprig.operations import managed_files
from deeprig.runner import runs
from deeprig.runner.runs import Report
from deeprig.settings import Rig
from tasks import containers, driver_absent, network_access
from tests.lanes import ROOT

INDEX = Rig(pypi_index="https://index.lan/simple")
BOTH = "/etc/pip.conf /etc/uv/uv.toml "


def changes(rig: Rig, theirs: str) -> Report:
    """What would be done on a box where these files are somebody's."""
    free = " ".join(path for path in BOTH.split() if path not in theirs.split())
    data: dict[str, Any] = {
        "rig": rig,
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": {"^# Written by deeprig": free},
    }
    report = runs.run(
        "@fake/rig1", data, lambda rig: network_access.provide(settings=rig), dry=True
    )
    assert report.error is None
    return report


@pytest.mark.parametrize(
    ("theirs", "written"),
    [
        ("", {"/etc/deeprig/pip.conf", "/etc/deeprig/uv.toml", "/etc/pip.conf", "/etc/uv/uv.toml"}),
        (BOTH, {"/etc/deeprig/pip.conf", "/etc/deeprig/uv.toml"}),
        ("/etc/pip.conf ", {"/etc/deeprig/pip.conf", "/etc/deeprig/uv.toml", "/etc/uv/uv.toml"}),
    ],
)
def test_an_index_goes_into_our_file_and_beside_nobodys(
    theirs: str, written: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(operations, "say", lambda host, line: said.append(line))
    names = [name.rpartition("Write ")[2] for name in changes(INDEX, theirs).changes]
    assert {name for name in names if name.startswith("/")} == written
    assert [line.partition(" is not deeprig's")[0] for line in said] == theirs.split()


def test_certificates_alone_leave_the_boxs_index_to_deeprig_as_well() -> None:
    with_authority = Rig(proxy="http://proxy.lan:3128")
    names = [
        name.rpartition("Write ")[2] for name in changes(with_authority, "/etc/pip.conf ").changes
    ]
    assert [name for name in names if "pip" in name or "uv" in name] == ["/etc/uv/uv.toml"]


def test_no_setting_writes_no_file() -> None:
    assert not [name for name in changes(Rig(), "").changes if "pip" in name or "uv" in name]


def test_whose_a_file_is_stands_in_its_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        "ours": "# Written by deeprig (templates/etc/x): edit it there.\na = 1\n",
        "theirs": "[global]\n# Written by deeprig (no)\n",
        "empty": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)

    class Here:
        def get_fact(self, fact: Any, script: str) -> str:
            return subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout

    monkeypatch.setattr(managed_files, "host", Here())
    paths = [str(tmp_path / name) for name in (*texts, "absent")]
    assert managed_files.of_others(*paths) == {str(tmp_path / "theirs")}
    monkeypatch.setattr(Here, "get_fact", lambda *_, **__: "")  # the question failed
    assert managed_files.of_others(*paths) == set(paths)


@pytest.mark.parametrize(
    ("words", "ours", "theirs"),
    [
        (containers.FOOTPRINT.files[0], '{"labels": ["deeprig=written"]}', '{"dns": ["10.0.0.1"]}'),
        (
            next(
                f for f in driver_absent.footprint(repository_stays=True).files if "/etc/dkms" in f
            ),
            "# Written by deeprig (templates/etc/dkms): edit it there.\n",
            'MAKE[0]="make IGNORE_CC_MISMATCH=1"\n',
        ),
    ],
)
def test_what_goes_with_a_component_is_ours(
    words: str, ours: str, theirs: str, tmp_path: Path
) -> None:
    folder = "/etc/docker" if "docker" in words else "/etc/dkms"
    file = tmp_path / ("daemon.json" if "docker" in words else "nvidia.conf")
    found = []
    for text in (ours, theirs):
        file.write_text(text)
        asked = f"echo {words.replace(folder, str(tmp_path))}"
        found.append(subprocess.check_output(["sh", "-c", asked], text=True).split())
    assert found == [[str(file)], []]


def test_every_file_that_is_written_has_our_name_or_a_reason() -> None:
    """By the path: who meets `deeprig` in it knows whose it is, and nobody else writes there."""
    paths = [
        f"/{file.relative_to(ROOT / top)}".removesuffix(".j2")
        for top in ("files", "templates")
        for file in (ROOT / top).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    assert {path for path in paths if "deeprig" not in path} == {
        "/etc/dkms/module.conf",  # tasks/boot_guard.py: where no file of somebody's stands
        "/etc/systemd/network/wake-on-lan.conf",  # a template; its drop-in has our name
    }
