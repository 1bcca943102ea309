"""A box that speaks German, a bit of Japanese and no English: the whole job, nothing differs."""

from collections.abc import Callable

import pytest

from deploy import build
from lab import boxes
from tests.lab.conftest import deploy, run_on
from tests.lab.test_bootstrap import inside
from tests.lab.test_shells import run_job, verified

pytestmark = pytest.mark.lab

# As Debian's and Ubuntu's installers write it; LANGUAGE goes before LANG.
SPEAKS = """
(apt-get -q update && apt-get -q -y install locales) >/dev/null 2>&1
printf 'de_DE.UTF-8 UTF-8\\nja_JP.UTF-8 UTF-8\\n' > /etc/locale.gen; locale-gen >/dev/null
printf 'LANG=de_DE.UTF-8\\nLANGUAGE=de_DE:de\\nLC_TIME=ja_JP.UTF-8\\nLC_NUMERIC=de_DE.UTF-8\\n' \\
    > /etc/default/locale
"""


@pytest.fixture(scope="module")
def deployed(box: boxes.Box) -> boxes.Box:
    """Deployed after a reboot: from then on systemd and its services speak German too."""
    inside(box, SPEAKS)
    boxes.reboot(box.name)
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    return box


def test_it_does_speak_german(deployed: boxes.Box, login: Callable[..., str]) -> None:
    assert "Installationskandidat" in login("apt-cache policy bash")  # the control for all below
    assert "Installationskandidat" in login("sudo apt-cache policy bash")


def test_the_second_deploy_changes_nothing(deployed: boxes.Box) -> None:
    report = run_on(deployed, build)
    assert (report.error, report.changes) == (None, [])
    assert len(report.steps) >= 40  # the control: it did look


def test_verify_finds_nothing_wrong(deployed: boxes.Box) -> None:
    assert verified(deployed) == []


def test_a_job_runs(deployed: boxes.Box) -> None:
    run_job(deployed, "deutsch")
