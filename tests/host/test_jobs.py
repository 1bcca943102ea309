"""Jobs can be begun on the box, and nothing that restarts the notebook ends them."""

import json

import pytest
from testinfra.host import Host

from deeprig.settings import Notebook, Rig
from deeprig.ssh import as_user
from deeprig.ssh.box_source import BOX


@pytest.fixture
def notebook(rig: Rig) -> Notebook:
    if rig.notebook is None:
        pytest.skip("this box has no work user whose jobs could run (notebook=None)")
    return rig.notebook


def test_the_box_says_which_jobs_it_has(host: Host, notebook: Notebook) -> None:
    with host.sudo():  # the program becomes the work user, so its answer is apart from root's
        jobs = json.loads(host.check_output(as_user.taken([BOX, "job", "list"])))
    assert isinstance(jobs, list)
    with host.sudo(notebook.user):  # the control: the work user sees the same
        assert [job["name"] for job in json.loads(host.check_output(f"{BOX} job list"))] == [
            job["name"] for job in jobs
        ]


def test_jobs_have_a_service_of_their_own(host: Host, notebook: Notebook) -> None:
    show = "XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user show --property=LoadState --value"
    with host.sudo(notebook.user):
        assert host.check_output(f"{show} deeprig-jobs.service") == "loaded"
        assert host.check_output(f"{show} deeprig-nobody.service") == "not-found"  # the control
