"""Somebody who works with conda goes on working with it; our servers do not run on its Python.

conda cannot be had from the archives that the lab reaches, so its place is taken by a stand-in.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Callable

import pytest

from lab import boxes
from tasks import network_access
from tests.host.kernels import COMPUTE
from tests.lab.conftest import DEEPRIG, ROOT, deploy, run_on

pytestmark = pytest.mark.lab

Login = Callable[..., str]
SHELL = "su --login ai --command {}"
HOME = "/home/ai"
# What an installer, `conda init`, `conda create -n vision` and `ipykernel install --user` leave in
# a home. The Pythons are real, each with a prefix of its own; the command `conda` only activates.
STAND_IN = r"""
set -e
cd ~
v=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
for prefix in miniforge3 miniforge3/envs/vision; do
    mkdir -p $prefix/bin $prefix/lib $prefix/conda-meta
    touch $prefix/conda-meta/history
    cp /usr/bin/$v $prefix/bin/$v
    ln -s $v $prefix/bin/python
    ln -s $v $prefix/bin/python3
    cp -r /usr/lib/$v $prefix/lib/
done
/usr/bin/python3 -m pip install --quiet --no-warn-conflicts \
    --target miniforge3/envs/vision/lib/$v/dist-packages ipykernel
for file in jupyter-lab tensorboard; do
    printf '#!/bin/sh\necho the stand-in of conda was started >&2\nexit 1\n' > miniforge3/bin/$file
done
cat > miniforge3/bin/conda <<'END'
#!/bin/sh
# A stand-in for conda: `conda activate-base` prints what puts its base on the PATH.
echo "export CONDA_PREFIX='$HOME/miniforge3' CONDA_DEFAULT_ENV=base CONDA_SHLVL=1"
echo "export CONDA_EXE='$HOME/miniforge3/bin/conda' PATH='$HOME/miniforge3/bin:$PATH'"
END
chmod 755 miniforge3/bin/conda miniforge3/bin/jupyter-lab miniforge3/bin/tensorboard
cat >> .bashrc <<'END'
# >>> conda initialize >>>
eval "$("$HOME/miniforge3/bin/conda" activate-base)"
# <<< conda initialize <<<
END
printf 'channels:\n  - conda-forge\nauto_activate: true\n' > .condarc
mkdir -p .conda .jupyter .local/share/jupyter/kernels/vision
printf '%s\n' $HOME/miniforge3 $HOME/miniforge3/envs/vision > .conda/environments.txt
python=$HOME/miniforge3/envs/vision/bin/python
cat > .local/share/jupyter/kernels/vision/kernel.json <<END
{"argv": ["$python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
 "display_name": "vision (conda)", "language": "python"}
END
# What nb_conda_kernels asks of a Jupyter that has it; ours has not.
cat > .jupyter/jupyter_config.json <<'END'
{"ServerApp": {"kernel_spec_manager_class": "nb_conda_kernels.CondaKernelSpecManager"}}
END
# Else using it would write these, and the content be another. Some of it is no Python of this one.
python3 -m compileall -q miniforge3 || true
"""
CONTENT = (
    f"sudo tar --directory {HOME} --sort=name --create miniforge3 .bashrc .condarc .conda .jupyter "
    ".local/share/jupyter/kernels/vision | sha256sum"
)


@pytest.fixture(scope="module")
def content(box: boxes.Box) -> str:
    """A hash of all that conda left in the home, before the deploy."""
    assert run_on(box, lambda rig: network_access.provide(settings=rig)).error is None
    script = (
        "sudo apt-get update -qq; sudo apt-get install -y -qq --no-install-recommends python3-pip "
        f">/dev/null; sudo -u ai sh -c {shlex.quote(STAND_IN)}; {CONTENT}"
    )
    done = subprocess.run(
        [DEEPRIG, "lab", "ssh", box.name, script],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


def interactive(login: Login, command: str) -> str:
    """What the user sees in an interactive shell."""
    shell = SHELL.format(shlex.quote(f"bash -i -c {shlex.quote(command)}"))
    return login(f"sudo {shell} 2>/dev/null").strip()


def prefix_of(login: Login, kernel: str) -> str:
    """sys.prefix of the Python of a kernel that JupyterLab starts."""
    words = ["/opt/deeprig/notebook/bin/python", "-c", COMPUTE, "8888", kernel]
    code = "import sys; print(sys.prefix)"
    return login(f"cd /; sudo -u ai {shlex.join([*words, code])}").strip()


def test_the_stand_in_bends_shells_as_conda_does(content: str, login: Login) -> None:
    assert interactive(login, "command -v python") == f"{HOME}/miniforge3/bin/python"
    assert interactive(login, "command -v jupyter-lab") == f"{HOME}/miniforge3/bin/jupyter-lab"
    assert interactive(login, "python -c 'import sys; print(sys.prefix)'") == f"{HOME}/miniforge3"


def test_it_deploys_and_verifies(content: str, box: boxes.Box) -> None:
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    checked = subprocess.run(
        [DEEPRIG, "verify", "--inventory", str(box.inventory), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    failed = [c for c in json.loads(checked.stdout) if c["outcome"] not in ("passed", "skipped")]
    assert failed == []
    assert checked.returncode == 0


def test_a_second_deploy_changes_nothing(box: boxes.Box) -> None:
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    [total] = re.findall(r"Grand total +(\d+) +(\S+) +(\S+) +(\d+)", done.stdout + done.stderr)
    operations, success, errors, unchanged = total
    assert (success, errors, unchanged) == ("-", "-", operations)


@pytest.mark.parametrize("server", ["jupyter-lab", "tensorboard"])
def test_our_servers_run_on_our_tools(login: Login, server: str) -> None:
    process = f"/proc/$(pgrep -o -u ai -f bin/{server})"
    argv = login(f"sudo cat {process}/cmdline | tr '\\0' ' '").split()
    assert argv[0].startswith("/opt/deeprig/notebook-") and argv[0].endswith("/bin/python")
    assert "miniforge3" not in login(f"sudo readlink {process}/exe; sudo cat {process}/maps")
    variables = login(f"sudo cat {process}/environ | tr '\\0' '\\n'")
    assert "PATH=" in variables  # the control: they are its variables
    assert "conda" not in variables.lower() and "miniforge3" not in variables


def test_the_kernel_of_a_conda_environment_computes_beside_ours(login: Login) -> None:
    assert prefix_of(login, "vision") == f"{HOME}/miniforge3/envs/vision"
    assert prefix_of(login, "deeprig-base") == f"{HOME}/envs/base"


def test_shells_are_bent_as_before_and_uv_is_found(login: Login) -> None:
    assert interactive(login, "command -v python") == f"{HOME}/miniforge3/bin/python"
    assert interactive(login, "echo $CONDA_DEFAULT_ENV") == "base"
    assert interactive(login, "command -v uv") == "/usr/local/bin/uv"


def test_all_that_conda_left_is_there_byte_for_byte(content: str, login: Login) -> None:
    assert login(CONTENT).strip() == content
    python = f"{HOME}/miniforge3/envs/vision/bin/python"
    login(f"cd /; sudo -u ai {python} -B -c 'import ipykernel'")
    login(f"sudo -u ai sh -c 'echo >> {HOME}/.condarc'")
    assert login(CONTENT).strip() != content  # the control: one byte more is another hash
