"""An environment is made once and whole, and is never changed behind its user's back."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from deeprig.runs import Report
from deeprig.settings import Rig
from lab import boxes
from tasks import network_access, python_env
from tests.lab.conftest import run_on

pytestmark = pytest.mark.lab

Login = Callable[..., str]
CHECK = "cd /; sudo -u ai /usr/local/lib/deeprig/base-env --check system numpy"
PIP = "sudo -u ai /home/ai/envs/base/bin/pip"


def build(rig: Rig) -> None:
    assert rig.python and rig.notebook
    network_access.provide(settings=rig)
    python_env.provide(settings=rig.python, user=rig.notebook.user)


def with_python(**settings: object) -> Callable[[Rig], None]:
    def changed(rig: Rig) -> None:
        assert rig.python and rig.notebook
        python = replace(rig.python, **settings)
        python_env.provide(settings=python, user=rig.notebook.user)

    return changed


def test_a_power_cut_in_the_middle_of_the_install_is_made_good_by_the_next_run(
    box: boxes.Box, login: Login
) -> None:
    reports: list[Report] = []
    first = threading.Thread(target=lambda: reports.append(run_on(box, build)))
    first.start()
    while not login("ls -d /opt/deeprig/notebook-*/lib/python*/site-packages/*", check=False):
        time.sleep(0.5)
    boxes.cut(box.name)
    first.join(120)
    assert reports[0].error
    assert login("ls -d /opt/deeprig/notebook", check=False) == ""  # the control: it was half done

    assert run_on(box, build).error is None
    login("cd /; sudo -u ai /opt/deeprig/notebook/bin/python -c 'import jupyterlab, tensorboard'")
    assert login(CHECK).strip() == "ok"
    assert run_on(box, build).changes == []


def test_other_packages_wait_for_update(box: boxes.Box, login: Login) -> None:
    more = ("numpy", "iniconfig")
    assert run_on(box, with_python(packages=more)).changes == []
    assert "iniconfig" not in login(f"{PIP} list")
    said = login(f"{CHECK} iniconfig")
    assert "made without iniconfig; Python(update=True) adds it" in said

    assert run_on(box, with_python(packages=more, update=True)).error is None
    assert "iniconfig" in login(f"{PIP} list")
    assert run_on(box, with_python(packages=more)).changes == []


def test_an_environment_that_was_never_finished_is_made_anew(box: boxes.Box, login: Login) -> None:
    login("sudo -u ai sh -c 'echo building > ~ai/envs/base/.deeprig; rm -r ~ai/envs/base/lib'")
    assert run_on(box, build).changes == ["Python environments | Make ai's environment base"]
    assert login(CHECK).strip() == "ok"


def test_a_finished_one_that_broke_is_left_to_its_user(box: boxes.Box, login: Login) -> None:
    login("sudo -u ai sh -c 'echo mine > ~ai/envs/base/mine; rm -r ~ai/envs/base/lib'")
    report = run_on(box, build)
    assert report.error is None
    assert report.changes == []
    assert "no longer runs and is left alone; remove it" in login(CHECK)
    login("sudo -u ai cat /home/ai/envs/base/mine")

    login("sudo rm -r ~ai/envs/base")
    assert run_on(box, build).error is None
    assert login(CHECK).strip() == "ok"


def test_somebodys_own_environment_of_that_name_is_left_alone(box: boxes.Box, login: Login) -> None:
    login("sudo -u ai sh -c 'cd ~ai/envs; mv base ours; mkdir base; touch base/mine'")
    assert run_on(box, build).changes == []
    assert "is not deeprig's and is left alone" in login(CHECK)
    login("sudo -u ai sh -c 'cd ~ai/envs; rm base/mine; rmdir base; mv ours base'")


def test_a_python_that_cannot_be_fetched_is_one_line(box: boxes.Box) -> None:
    def unreachable(rig: Rig) -> None:
        network_access.provide(settings=replace(rig, proxy="http://127.0.0.1:9"))
        with_python(python="3.12")(rig)

    report = run_on(box, unreachable)
    assert run_on(box, build).error is None  # the control: the box's own Python needs no fetching
    [said] = [step.output for step in report.steps if step.status == "failed"]
    assert "cannot reach github.com: it refuses the connection" in said
    assert 'Python(python="system")' in said
    assert "\n" not in said.strip()
