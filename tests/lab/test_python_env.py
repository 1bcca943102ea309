"""An environment is made once and whole, and is never changed behind its user's back."""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deeprig.runner.runs import Report
from deeprig.settings import Rig
from lab import boxes
from tasks import base, network_access, python_env
from tests.lab.conftest import run_on

pytestmark = pytest.mark.lab

Login = Callable[..., str]
SCRIPT = "cd /; sudo -u ai /usr/local/lib/deeprig/current/deeprig-box python-env"
CHECK = f"{SCRIPT} --check base system numpy"
PIP = "sudo -u ai /home/ai/envs/base/bin/pip"
# A package index with nothing in it but a torch that says what it is.
STAND_IN_INDEX = """set -e
mkdir -p /tmp/index/torch; cd /tmp/index
python3 - <<'END'
import zipfile
info = "torch-0.0.1+stand.in.dist-info"
with zipfile.ZipFile("torch/torch-0.0.1+stand.in-py3-none-any.whl", "w") as wheel:
    wheel.writestr("torch.py", "__version__ = '0.0.1+stand.in'")
    head = "Metadata-Version: 2.1\\nName: torch\\nVersion: 0.0.1+stand.in\\n"
    wheel.writestr(f"{info}/METADATA", head)
    kind = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any"
    wheel.writestr(f"{info}/WHEEL", kind)
    wheel.writestr(f"{info}/RECORD", "")
END
sudo systemd-run --quiet --unit=stand-in-index --working-directory=/tmp/index \\
    python3 -m http.server 8777 --bind 127.0.0.1
until ss -Hltn 'sport = :8777' | grep -q .; do sleep 0.2; done
"""


def build(rig: Rig) -> None:
    assert rig.python and rig.notebook
    asked = python_env.Asked(rig.python, rig.notebook.user)
    python_env.finish_tools(asked=asked)
    python_env.finish(asked=asked)


def build_all(rig: Rig) -> None:
    """The head start too, as a deploy has it."""
    assert rig.python and rig.notebook
    network_access.provide(settings=rig)
    base.have_program()
    asked = python_env.Asked(rig.python, rig.notebook.user)
    python_env.begin_tools(asked=asked)
    python_env.begin(asked=asked)
    build(rig)


def with_python(**settings: object) -> Callable[[Rig], None]:
    def changed(rig: Rig) -> None:
        assert rig.python and rig.notebook
        asked = python_env.Asked(replace(rig.python, **settings), rig.notebook.user)
        python_env.finish_tools(asked=asked)
        python_env.finish(asked=asked)

    return changed


def with_python_and_begin(**settings: object) -> Callable[[Rig], None]:
    """The same with the head start, which writes what is read on the box."""

    def changed(rig: Rig) -> None:
        assert rig.python and rig.notebook
        asked = python_env.Asked(replace(rig.python, **settings), rig.notebook.user)
        python_env.begin_tools(asked=asked)
        python_env.begin(asked=asked)
        python_env.finish_tools(asked=asked)
        python_env.finish(asked=asked)

    return changed


def test_a_power_cut_in_the_middle_of_the_install_is_made_good_by_the_next_run(
    box: boxes.Box, login: Login
) -> None:
    reports: list[Report] = []
    first = threading.Thread(target=lambda: reports.append(run_on(box, build_all)))
    first.start()
    while not login("ls -d /opt/deeprig/notebook-*/lib/python*/site-packages/*", check=False):
        time.sleep(0.5)
    boxes.cut(box.name)
    first.join(120)
    assert reports[0].error
    assert login("ls -d /opt/deeprig/notebook", check=False) == ""  # the control: it was half done

    assert run_on(box, build_all).error is None
    login("cd /; sudo -u ai /opt/deeprig/notebook/bin/python -c 'import jupyterlab, tensorboard'")
    assert login(CHECK).strip() == "ok"
    assert run_on(box, build_all).changes == []


def test_what_has_a_head_start_is_waited_for_and_made_once(box: boxes.Box, login: Login) -> None:
    login("sudo rm -r /home/ai/envs/base /opt/deeprig/notebook")
    report = run_on(box, build_all)
    assert report.error is None
    assert report.changes[:2] == [
        "Python tools, begun | Begin to make what does not stand",
        "Python environments, begun | Begin to make what does not stand",
    ]
    said = "".join(step.output for step in report.steps)
    assert "Install JupyterLab and TensorBoard: at work already, " in said
    log = "/var/log/deeprig/python-env.log"
    begun = login(f"sudo grep -c 'Install JupyterLab and TensorBoard$' {log}")
    assert begun.strip() == "3"  # cut, finished, now
    assert login(CHECK).strip() == "ok"
    assert run_on(box, build_all).changes == []


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


def test_what_a_power_cut_left_damaged_in_uvs_cache_is_fetched_anew(
    box: boxes.Box, login: Login
) -> None:
    login(
        "sudo -u ai sh -c 'cd ~ai/envs/base; truncate -s 0 lib/python3*/site-packages/numpy/_core/"
        "_multiarray_umath*.so; echo building > .deeprig'"  # uv links from its cache: one file
    )
    report = run_on(box, build)
    assert report.changes == ["Python environments | Make ai's environment base"]
    assert "Forget what is damaged: numpy\n" in report.steps[-1].output
    login("cd /; sudo -u ai /home/ai/envs/base/bin/python -c 'import numpy'")
    assert login(CHECK).strip() == "ok"


def test_tools_that_a_power_cut_left_empty_in_uvs_cache_are_fetched_anew(
    box: boxes.Box, login: Login
) -> None:
    """uv does not install a package whose own files are empty, and says only that."""
    login(
        "sudo sh -euc 'cd /opt/deeprig; rm notebook/.deeprig; "
        "truncate -s 0 $(ls cache/archive-v*/*/tornado-*.dist-info/WHEEL)'"
    )
    report = run_on(box, build)
    assert report.changes == ["Python tools | Build the tools' environment"]
    [built] = [step for step in report.steps if "the tools' environment" in step.name]
    assert "Forget what is damaged: tornado\n" in built.output


def test_a_box_of_an_older_version_keeps_its_environment(box: boxes.Box, login: Login) -> None:
    made = "sudo stat -c '%i %y' /home/ai/envs/base/bin/python /home/ai/envs/base/.deeprig"
    login("sudo -u ai sh -c 'echo complete numpy > ~ai/envs/base/.deeprig'")
    before = login(made)
    report = run_on(box, build_all)
    assert report.changes == []
    assert login(made) == before
    assert login(CHECK).strip() == "ok"


def test_a_reinstall_brings_the_versions_that_were_there(box: boxes.Box, login: Login) -> None:
    """The lock in the data folder is of another day; the home is a new one."""
    login("sudo install -d -o ai -g ai /mnt/data-disk/ai")
    locks, older = "/mnt/data-disk/ai/locks", ("numpy", "iniconfig")

    def kept(rig: Rig) -> None:
        assert rig.python and rig.notebook
        settings = replace(rig.python, packages=older)
        asked = python_env.Asked(settings, rig.notebook.user, locks=locks)
        python_env.finish_tools(asked=asked)
        python_env.finish(asked=asked)

    login("sudo rm -r /home/ai/envs/base /home/ai/envs/base.lock")
    assert run_on(box, kept).error is None
    newest = login(f"{PIP} list --format freeze")
    assert "iniconfig==2.0.0\n" not in newest  # the control: the index has newer ones
    block = login(
        "cd /; echo iniconfig==2.0.0 | sudo -u ai /usr/local/bin/uv pip compile --quiet "
        "--generate-hashes --no-header --no-annotate --python /home/ai/envs/base -"
    )
    lock = login(f"sudo sh -c 'echo {locks}/*'").strip()
    text = login(f"sudo cat {lock}")
    old = re.sub(r"(?m)^iniconfig==.*\n(    --hash.*\n)+", block, text)
    assert old != text
    login(f"sudo tee {lock} >/dev/null <<'END'\n{old}END")
    login("sudo rm -r /home/ai/envs")
    assert run_on(box, kept).error is None
    assert "iniconfig==2.0.0\n" in login(f"{PIP} list --format freeze")
    assert login("sudo cat /home/ai/envs/base.lock") == old
    assert run_on(box, kept).changes == []


def test_a_list_of_ones_own_with_a_wrong_checksum_is_not_installed(
    box: boxes.Box, login: Login, tmp_path: Path
) -> None:
    own = tmp_path / "requirements.txt"
    block = login(
        "cd /; echo iniconfig==2.0.0 | sudo -u ai /usr/local/bin/uv pip compile --quiet "
        "--generate-hashes --no-header --no-annotate --no-cache -"
    )
    login(
        "cd /; sudo rm -r /home/ai/envs; sudo -u ai /usr/local/bin/uv cache clean --quiet iniconfig"
    )
    own.write_text(re.sub(r"sha256:.{8}", "sha256:00000000", block))
    made = with_python_and_begin(lock=str(own))
    report = run_on(box, made)
    [said] = [step.output for step in report.steps if step.status == "failed"]
    assert "iniconfig==2.0.0 has another checksum than its lock says" in said
    assert "\n" not in said.strip().splitlines()[-1]

    own.write_text(block)
    assert run_on(box, made).error is None
    assert "iniconfig==2.0.0\n" in login(f"{PIP} list --format freeze")
    assert run_on(box, made).changes == []
    login("sudo rm -r /home/ai/envs")
    assert run_on(box, build).error is None


def test_a_disk_too_small_is_refused_before_the_download(box: boxes.Box, login: Login) -> None:
    login("sudo mount -t tmpfs -o size=400m,mode=755,uid=ai,gid=ai tmpfs /home/ai/envs")
    try:
        report = run_on(box, with_python(frameworks=("jax",)))
        [said] = [step.output for step in report.steps if step.status == "failed"]
        assert "/home/ai/envs/jax needs 0.7 GB on the disk of /home/ai/envs, and 0.3 GB" in said
        assert "are free; make room there, or take it out of Python(frameworks=...)" in said
        assert "Make /home/ai/envs/jax" not in said
        assert login("sudo ls /home/ai/envs").split() == [
            "base",
            "base.lock",
        ]  # the control: that one fits
    finally:
        login("sudo umount /home/ai/envs")


def test_a_framework_gets_an_environment_and_a_kernel_of_its_own(
    box: boxes.Box, login: Login
) -> None:
    report = run_on(box, with_python(frameworks=("jax",)))
    assert report.changes == ["Python environments | Make ai's environment jax"]
    kernels = login("cd /; sudo -u ai /opt/deeprig/notebook/bin/jupyter kernelspec list --json")
    specs = json.loads(kernels)["kernelspecs"]
    shown = {spec["spec"]["display_name"]: spec["spec"]["argv"][0] for spec in specs.values()}
    for name in ("base", "jax"):
        assert shown[f"Python ({name})"] == f"/home/ai/envs/{name}/bin/python"
    assert run_on(box, with_python(frameworks=("jax",))).changes == []
    assert run_on(box, build).changes == []  # not asked for any more, it stays: it is its user's


def test_torch_comes_from_the_index_named_and_the_rest_from_the_usual_one(login: Login) -> None:
    login(STAND_IN_INDEX)
    asked = "--torch-index http://127.0.0.1:8777 torch system torch numpy"
    try:
        login(f"{SCRIPT} {asked}")
        versions = login(
            "cd /; sudo -u ai /home/ai/envs/torch/bin/python -c "
            "'import torch, numpy; print(torch.__version__, numpy.__version__ > \"2\")'"
        )
    finally:
        login("sudo systemctl stop stand-in-index; sudo rm -rf /home/ai/envs/torch")
    assert versions.split() == ["0.0.1+stand.in", "True"]


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
