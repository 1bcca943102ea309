"""Notebooks, runs and caches outlive a reinstall, and nothing of the user's is ever moved."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest

from deeprig.facts import reinstall
from deeprig.operations.facts import WouldErase
from deeprig.settings import Rig, User
from deeprig.ssh import connection
from deploy import build
from lab import boxes
from tasks import base, data_folder, sessions, users
from tasks.base import survey
from tests.lab.conftest import DEEPRIG, ROOT, deploy, host_data, run_on, shell, wait_for

pytestmark = pytest.mark.lab

Login = Callable[..., str]
DATA = "/mnt/data-disk"
OWN = f"{DATA}/ai"
HAVE = f"Data folder | Have {DATA} for ai"
SCRIPT = "sudo /usr/local/lib/deeprig/current/deeprig-box data-folder"
CHECK = f"{SCRIPT} --check {DATA} ai"


@pytest.fixture(scope="module", autouse=True)
def deployed(box: boxes.Box) -> None:
    report = run_on(box, build)
    assert report.error is None, report.steps


def folders(rig: Rig) -> None:
    """Only the data folder."""
    found = survey(rig)
    assert rig.storage and rig.notebook and found
    base.have_program()
    data_folder.provide(settings=rig.storage, survey=found, user=rig.notebook.user)


def test_a_second_run_changes_nothing(box: boxes.Box) -> None:
    assert run_on(box, build).changes == []


def test_a_command_over_ssh_knows_the_caches(box: boxes.Box, login: Login) -> None:
    """The work user's own login, with no shell started and no terminal."""
    public = box.key.with_suffix(".pub").read_text().strip()
    login(f"sudo -u ai sh -c 'mkdir -p -m 700 ~/.ssh; echo {public} > ~/.ssh/authorized_keys'")
    session = connection.connect(host_data(box) | {"ssh_user": "ai"})
    try:
        said = shell(session, "echo $HF_HOME; /usr/local/bin/uv cache dir").split()
        made = shell(
            session,
            "/usr/local/bin/uv venv -q --no-python-downloads --python /usr/bin/python3 e; "
            "/usr/local/bin/uv pip install -q --python e iniconfig 2>&1",
        )
        kept = shell(session, f"ls {OWN}/cache/uv").split()
    finally:
        session.close()
    assert said == [f"{OWN}/cache/huggingface", f"{OWN}/cache/uv"]
    assert made == ""  # uv warns where it cannot link from its cache
    assert any("wheels" in name or "archive" in name for name in kept)


def test_files_in_the_home_stay_where_they_are(box: boxes.Box, login: Login) -> None:
    login("sudo -u ai sh -c 'rm ~ai/notebooks; mkdir ~ai/notebooks; echo 42 > ~ai/notebooks/mine'")
    assert run_on(box, folders).changes == []
    assert login("sudo cat ~ai/notebooks/mine").strip() == "42"
    assert "/home/ai/notebooks has files and stays on the system disk" in login(CHECK)
    login("sudo rm -r ~ai/notebooks")
    assert run_on(box, folders).changes == [HAVE]
    assert login("sudo readlink ~ai/notebooks").strip() == f"{OWN}/notebooks"


def test_an_empty_folder_becomes_the_link_and_another_link_stays(
    box: boxes.Box, login: Login
) -> None:
    login("sudo -u ai sh -c 'rm ~ai/runs ~ai/notebooks; mkdir ~ai/runs; ln -s /srv ~ai/notebooks'")
    assert run_on(box, folders).changes == [HAVE]
    assert login("sudo readlink ~ai/runs ~ai/notebooks").split() == [f"{OWN}/runs", "/srv"]
    assert "leads to /srv and is left so" in login(CHECK)
    login("sudo rm ~ai/notebooks")
    assert run_on(box, folders).error is None


def test_models_in_the_old_place_are_spoken_of_and_not_moved(login: Login) -> None:
    login("sudo -u ai sh -c 'mkdir -p ~ai/.cache/huggingface/hub; touch ~ai/.cache/huggingface/t'")
    assert f"programs look for models in {OWN}/cache/huggingface now" in login(CHECK)
    login("sudo rm -r ~ai/.cache/huggingface")
    assert login(CHECK).strip() == "ok"


def test_a_folder_of_a_number_that_is_nobodys_is_handed_over(box: boxes.Box, login: Login) -> None:
    """As after a reinstall that gave the user another number, and was cut short half way."""
    login(
        f"sudo sh -c 'touch {OWN}/runs/mine {OWN}/runs/done; ln -sf /etc/passwd {OWN}/runs/out; "
        f"touch {OWN}/runs/roots; chown -hR 4321:4321 {OWN}; chown -h ai:ai {OWN}/runs/done; "
        f"chown root: {OWN}/runs/roots'"
    )
    assert run_on(box, folders).changes == [HAVE]
    owners = login(f"sudo sh -c 'cd {OWN}/runs; stat -c \"%n %U %G\" . mine done out roots'")
    assert owners.splitlines() == [
        ". ai ai", "mine ai ai", "done ai ai", "out ai ai", "roots root root"
    ]  # fmt: skip
    assert login("stat -c %U /etc/passwd").strip() == "root"
    assert run_on(box, folders).changes == []


def test_somebody_elses_folder_is_refused(box: boxes.Box, login: Login) -> None:
    login(f"sudo chown deeprig {OWN}")
    report = run_on(box, folders)
    login(f"sudo chown ai {OWN}")
    assert report.error
    assert report.steps[-1].output == (
        f"{OWN} belongs to deeprig, not to ai; if it is to be ai's, run `sudo chown -R ai: {OWN}`."
    )
    assert run_on(box, folders).changes == []


def test_a_new_account_gets_the_number_its_folder_bears(box: boxes.Box, login: Login) -> None:
    key = box.key.with_suffix(".pub").read_text().strip()

    def with_people(rig: Rig) -> None:
        people = tuple(User(name=name, keys=(key,)) for name in ("anna", "otto", "new"))
        users.provide(settings=people, data_folder=DATA)

    login(
        f"sudo sh -c 'mkdir {DATA}/anna {DATA}/otto; chown 4567 {DATA}/anna; chown ai {DATA}/otto'"
    )
    assert run_on(box, with_people).error is None
    assert login("id -u anna").strip() == "4567"
    assert login("id -u otto").strip() not in ("1000", "4567")  # ai has that number
    assert login("id -u new").strip().isdigit()
    assert run_on(box, with_people).changes == []
    login("for u in anna otto new; do sudo userdel -r $u; done")
    login(f"sudo rm -r {DATA}/anna {DATA}/otto")


def test_nothing_is_written_where_a_disk_is_not_mounted(login: Login) -> None:
    """A file system in memory stands in for the disk: a container can mount that."""
    ask = f"{SCRIPT} --disk /srv/disk /srv/disk/data ai"
    login("sudo mkdir /srv/disk")
    assert login(f"{ask} 2>&1", check=False).startswith(
        "The disk for /srv/disk is not mounted, so nothing is written to /srv/disk/data; "
    )
    assert login("ls /srv/disk") == ""
    login("sudo mount -t tmpfs -o mode=755 tmpfs /srv/disk")
    login(f"{ask}; sudo test -d /srv/disk/data/ai/notebooks")  # the control
    login("sudo umount /srv/disk; sudo rmdir /srv/disk")


def test_notebooks_wait_for_a_disk_that_is_not_there(login: Login) -> None:
    login(f"sudo mv {OWN}/notebooks {OWN}/away; sudo pkill -f bin/jupyter-lab")
    log = "sudo tail -n 3 ~ai/.local/state/deeprig/jupyter.log"
    wait_for(lambda: "which is not there: is the data disk mounted?" in login(log), 60)
    assert login(f"sudo ls {OWN}").split() == ["away", "cache", "locks", "runs"]  # none is made
    state = "sudo /usr/local/lib/deeprig/current/deeprig-box notebook-server state"
    assert "JupyterLab does not answer" in login(state)
    login(f"sudo mv {OWN}/away {OWN}/notebooks")
    wait_for(lambda: login(state).strip() == "ok", 60)


def test_running_services_hear_of_other_caches(box: boxes.Box, login: Login) -> None:
    def elsewhere(rig: Rig) -> None:
        sessions.provide(caches=sessions.Caches("ai", {"HF_HOME": "/srv/models"}))

    tell = "Sessions | Tell ai's services"
    assert tell in run_on(box, elsewhere).changes
    assert run_on(box, elsewhere).changes == []
    state = "sudo /usr/local/lib/deeprig/current/deeprig-box notebook-server state"
    assert login(state).startswith("it runs with old settings")
    assert tell in run_on(box, build).changes
    assert login(state).strip() == "ok"


def test_the_plan_says_what_a_reinstall_would_erase(box: boxes.Box, login: Login) -> None:
    done = subprocess.run(
        [DEEPRIG, "plan", "--inventory", str(box.inventory), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    [report] = json.loads(done.stdout)
    assert [place["path"] for place in report["reinstall_erases"]] == ["/home"]
    assert report["reinstall_erases"][0]["bytes"] > 10**6
    assert report["changes"] == []

    login(
        "sudo mkdir -p /data/ai/notebooks /data/ai/cache/uv; "
        "sudo head -c 12000000 /dev/zero | sudo tee /data/ai/notebooks/n > /dev/null; "
        "sudo head -c 30000000 /dev/zero | sudo tee /data/ai/cache/uv/c > /dev/null"
    )
    found: list[reinstall.ReinstallImpact] = []

    def look(rig: Rig) -> None:
        from pyinfra.context import host

        found.append(host.get_fact(WouldErase, folder="/data"))

    assert run_on(box, look, dry=True).error is None
    assert str(found[0]).startswith(
        "a reinstall would erase /data 42 MB (notebooks 12 MB, caches 30 MB), /home "
    )
    login("sudo rm -r /data")


def test_a_box_without_storage_is_left_as_it_is(box: boxes.Box, login: Login) -> None:
    assert run_on(box, lambda rig: build(replace(rig, storage=None)), dry=True).changes == [
        "Manifest | Write /var/lib/deeprig/manifest.json"
    ]


def test_a_reinstall_keeps_notebooks_and_runs(box: boxes.Box, login: Login) -> None:
    login("sudo -u ai sh -c 'echo 42 > ~ai/notebooks/mine; echo 1 > ~ai/runs/loss'")
    before = login(f"sudo find {DATA} -type f -exec sha256sum {{}} +")
    boxes.reinstall(box.name, bootstrap=True)
    with pytest.raises(AssertionError):  # the control: the home itself is another
        login("sudo ls ~ai/notebooks/mine")
    assert login(f"sudo find {DATA} -type f -exec sha256sum {{}} +") == before

    # By its own process: pyinfra remembers the host key from before as long as it runs.
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    assert login("sudo -u ai sh -c 'cat ~ai/notebooks/mine ~ai/runs/loss'").split() == ["42", "1"]
