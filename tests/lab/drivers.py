"""What the driver's lanes share: an inventory with a driver, deploys, what apt would do.

The packages are stand-ins that the lab makes, lab/stand_ins, unless a lane says they are real.
"""

import json
import re
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

from deeprig import inventories
from deeprig.operations import box_program
from deeprig.runner import runs
from deeprig.settings import Rig
from lab import boxes
from tasks import base, cuda, driver, gpu_settings
from tests.lab.conftest import DEEPRIG, ROOT, TABLES_DAY, variant

Login = Callable[..., str]
RTX_3090 = "10de:2204"
INSTALL = "sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends"
STATE = "sudo /usr/local/lib/deeprig/current/deeprig-box driver-set state"
FILES = "sudo find /etc/apt -type f | sort | xargs sudo sha256sum"
SET = box_program.command("from deeprig_box.nvidia import driver; print(*driver.driver_set())")


def inventory(box: boxes.Box, name: str, *settings: str, day: date = TABLES_DAY) -> Path:
    """The box's own inventory with these settings, without what other lanes look at."""
    others = "storage=None, firewall=None, wake_on_lan=None"
    return variant(
        box,
        box.inventory.with_name(name),
        ("import Notebook, Python, Rig, Storage,", "import Cuda, Driver, Rig,"),
        ('notebook=Notebook(user="ai")', ", ".join(["notebook=None", *settings])),
        ('python=Python(python="system")', "python=None"),
        ('storage=Storage(folder="/mnt/data-disk")', others),
        day=day,
    )


def on(box: boxes.Box, command: str) -> None:
    """Run what may take minutes without a word."""
    subprocess.run(
        [DEEPRIG, "lab", "ssh", box.name, command],
        cwd=ROOT, check=True, capture_output=True, timeout=1800,
    )  # fmt: skip


def run(box: boxes.Box, file: Path) -> runs.Report:
    """What concerns the driver and CUDA of a deploy, and nothing else: it is much the shorter."""

    def build(rig: Rig) -> None:
        survey = base.survey(rig=rig)
        plan = base.decide(rig=rig, survey=survey) if survey else None
        assert plan is not None and rig.driver
        base.have_program()
        driver.install(plan=plan, rig=rig)
        gpu_settings.provide(settings=rig.driver, plan=plan)
        if rig.cuda:
            cuda.install(plan=plan, rig=rig)

    [(_, found)] = inventories.load(file)
    return runs.run(box.name, found, build)


def moved(report: runs.Report) -> list[str]:
    """The operations that changed something in a run that went well."""
    assert report.error is None, [s.output for s in report.steps if s.status == "failed"]
    assert report.steps
    return report.changes


def refused(report: runs.Report) -> str:
    """The one line that a failed run ended with."""
    assert report.error
    said = "".join(step.output for step in report.steps if step.status == "failed").strip()
    assert "Traceback" not in said
    return [*said.splitlines(), *report.refusals][-1]


def changes(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The operations that changed something in a deploy that went well."""
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    blocks = said.split("--> Starting operation: ")[1:]
    assert blocks, said
    return [block.splitlines()[0].strip() for block in blocks if "] Success" in block]


def sentence(done: subprocess.CompletedProcess[str], words: str) -> str:
    """The one line with these words that a failed deploy ended with."""
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    found = {line.partition("] ")[2] for line in said.splitlines() if words in line}
    assert len(found) == 1, said
    return found.pop()


def verified(file: Path) -> dict[str, list[str]]:
    """Outcome -> "component: check" of `deeprig verify`; an AssertionError where it fails."""
    done = subprocess.run(
        [DEEPRIG, "verify", "--inventory", str(file), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    checks = json.loads(done.stdout)
    wrong = [check for check in checks if check["outcome"] == "failed"]
    assert done.returncode == 0, f"{wrong}\n{done.stderr}"
    found: dict[str, list[str]] = {}
    for check in checks:
        found.setdefault(check["outcome"], []).append(f"{check['component']}: {check['check']}")
    return found


def packages(login: Login, names: list[str] | None = None) -> dict[str, str]:
    """Name -> version of the driver's installed packages, or of these."""
    asked = names or login(f"sudo {SET}").split()
    form = "'${Package} ${Version}\\n'"
    rows = login(f"dpkg-query -W -f {form} {' '.join(asked)}").splitlines()
    return {name: version for name, _, version in (row.partition(" ") for row in rows)}


def would_move(login: Login, verb: str, names: set[str]) -> set[str]:
    """Which of these packages `apt-get VERB` would touch; it is only simulated."""
    said = login(f"apt-get -s {verb} 2>&1", check=False)
    return set(re.findall(r"^(?:Inst|Remv) (\S+)", said, re.MULTILINE)) & names


def transactions(login: Login) -> list[list[str]]:
    """What each run of apt installed, oldest first, by apt's own record."""
    record = login("sudo cat /var/log/apt/history.log")
    return [
        re.findall(r"(\S+?):\w+ \(", line) for line in re.findall(r"^Install: (.*)$", record, re.M)
    ]
