"""systemd reads what a deploy has written of its units, in the very deploy that writes it."""

import re
import subprocess
from pathlib import Path

import pytest

from deeprig.operations import core
from tests.lanes import ROOT


@pytest.mark.parametrize(
    ("says", "read"), [("no", True), ("yes", False), ("no\nyes", False), ("no\nno", True)]
)
def test_a_unit_that_has_changed_is_read_anew(tmp_path: Path, says: str, read: bool) -> None:
    """systemctl is a stand-in, which answers a line for each unit."""
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\nprintf '{says}\\n'\n")
    (tmp_path / "systemctl").chmod(0o755)
    script = core.units_are_read(["deeprig-a.service", "deeprig-b.timer"])
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True
    )
    assert bool(done.stdout) is read


def test_no_part_puts_a_unit_by_other_means() -> None:
    """Else nobody asks whether systemd has read it; what restarts a service asks by itself."""
    put = re.compile(r"config_files\.(?:copy|write)\(\s*f?\"?(?:/etc/systemd/system|[A-Z_]*UNIT\b)")
    found = {
        file.name
        for file in (ROOT / "tasks").glob("*.py")
        if put.search(file.read_text()) or "NeedDaemonReload" in file.read_text()
    }
    assert found == {"gpu_settings.py"}  # with the daemon, which it restarts
