"""JupyterLab and TensorBoard answer, to the right person only, also when nobody is logged in."""

from urllib.parse import urlsplit

import pytest
from testinfra.host import Host

from deeprig.parsers.untrusted import number
from deeprig.settings import Notebook, Rig
from tasks.notebook import GUARD_UNIT, SERVER
from tests.host.kernels import compute

UNIT = "deeprig-notebook.service"
TOKEN = "~/.config/deeprig/notebook-token"
HASH_FILE = "/etc/deeprig/notebook-password-hash"
PORTS = ("port", "tensorboard_port")
# What its start puts right and a deploy does not: it leaves alone what answers.
RESTART = "as the work user: `systemctl --user restart deeprig-notebook`, when nothing computes"
KERNEL = (
    "start that kernel in JupyterLab and look at ~/.local/state/deeprig/jupyter.log: it runs in "
    "the user's own environment, and what PYTHONPATH and ~/.ipython name counts there"
)
# Prints 42, by what the kernel talks, whether a variable has the token in it, and the names of all.
LOOK = """
import json, os, pathlib
from ipykernel.connect import get_connection_info
talks = json.loads(get_connection_info())["transport"]
token = (pathlib.Path.home() / ".config/deeprig/notebook-token").read_text().strip()
print(6 * 7, talks, any(token in value for value in os.environ.values()), *sorted(os.environ))
"""
# The token goes by stdin, never by an argument; 000 is curl's word for no answer.
ASK = "curl --silent --max-time 20 --noproxy '*' --output /dev/null --write-out '%%{http_code}' "
STATUS = f"sed 's/^/Authorization: token /' | {ASK} --header @- "
NO_ANSWER = "000"


@pytest.fixture(scope="module")
def notebook(rig: Rig) -> Notebook:
    if rig.notebook is None:
        pytest.skip("this box serves no notebooks (notebook=None)")
    return rig.notebook


def listener(port: int) -> str:
    """A command that prints whose the socket is that gets what is sent to 127.0.0.1 there."""
    return f"""awk '$2 == "0100007F:{port:04X}" && $4 == "0A" {{ print $8 }}' /proc/net/tcp"""


def status(host: Host, notebook: Notebook, url: str, *, token: str = f"cat {TOKEN}") -> str:
    """The HTTP status that the work user gets; `token` is a command that prints one.

    It leaves its file only where nobody but the work user listens.
    """
    ours = f'[ "$({listener(urlsplit(url).port or 80)})" = "$(id -u)" ]'
    with host.sudo(notebook.user):
        return str(host.run(f"{{ {ours} && {token}; }} | {STATUS} %s", url).stdout)


def as_user(host: Host, notebook: Notebook, command: str) -> str:
    with host.sudo(notebook.user):
        return host.check_output(f"XDG_RUNTIME_DIR=/run/user/$(id -u) {command}")


def test_the_systemd_of_the_work_user_runs(host: Host, notebook: Notebook) -> None:
    """Without it neither server runs, and no job can be begun."""
    unit = f"user@{host.user(notebook.user).uid:d}.service"
    state = host.run("systemctl is-active %s", unit).stdout.strip()
    assert state == "active", f"{unit} is {state}"


def test_jupyter_answers_on_its_port(host: Host, notebook: Notebook) -> None:
    assert status(host, notebook, f"http://127.0.0.1:{notebook.port}/api") == "200"


def test_tensorboard_answers_on_its_port(host: Host, notebook: Notebook) -> None:
    assert status(host, notebook, f"http://127.0.0.1:{notebook.tensorboard_port}/") == "200"


def test_jupyter_refuses_a_wrong_token(host: Host, notebook: Notebook) -> None:
    url = f"http://127.0.0.1:{notebook.port}/api/kernels"
    assert status(host, notebook, url, token="echo wrong") == "403"
    assert status(host, notebook, url, token="echo") == "403"
    assert status(host, notebook, url) == "200"  # the control: the right one is let in


@pytest.mark.parametrize("setting", PORTS)
def test_it_listens_on_loopback_only(host: Host, notebook: Notebook, setting: str) -> None:
    port = getattr(notebook, setting)
    bound = host.check_output(f"ss -Hltn 'sport = :{port:d}' | awk '{{print $4}}'").split()
    assert bound == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize("setting", PORTS)
def test_the_work_user_has_the_port(host: Host, notebook: Notebook, setting: str) -> None:
    owner = host.check_output(listener(getattr(notebook, setting)))
    assert owner == str(host.user(notebook.user).uid)


def test_another_account_reaches_neither_server(host: Host, notebook: Notebook) -> None:
    urls = [f"http://127.0.0.1:{getattr(notebook, setting)}/" for setting in PORTS]
    with host.sudo(notebook.user):  # the control: they answer whom they should
        silent = [url for url in urls if host.run(f"{ASK} %s", url).stdout == NO_ANSWER]
    assert silent == [], f"{', '.join(silent)} does not answer its own user"
    with host.sudo("nobody"):
        assert [host.run(f"{ASK} %s", url).stdout for url in urls] == [NO_ANSWER] * 2


def test_the_ports_are_guarded_at_every_boot(host: Host, notebook: Notebook) -> None:
    assert host.service(GUARD_UNIT).is_enabled


def test_nobody_else_has_the_folder_of_the_tmux_sockets(host: Host, notebook: Notebook) -> None:
    folder = host.file(f"/tmp/tmux-{host.user(notebook.user).uid}")
    assert (folder.is_directory, folder.user, folder.mode) == (True, notebook.user, 0o700)


@pytest.mark.parametrize("setting", PORTS)
def test_the_boxs_own_address_does_not_answer(host: Host, notebook: Notebook, setting: str) -> None:
    addresses = host.check_output("hostname -I").split()
    if not addresses:
        pytest.skip("the box has no address but loopback")
    address = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    url = f"http://{address}:{getattr(notebook, setting)}/"
    assert status(host, notebook, url, token="echo") == NO_ANSWER


def test_both_are_windows_of_one_tmux_session(host: Host, notebook: Notebook) -> None:
    command = "tmux -L deeprig list-windows -t notebook -F '#W'"
    windows = as_user(host, notebook, command).splitlines()
    assert {"jupyter", "tensorboard"} <= set(windows)


def test_they_run_now_and_at_boot_without_a_login(host: Host, notebook: Notebook) -> None:
    assert as_user(host, notebook, f"systemctl --user is-active {UNIT}") == "active"
    assert as_user(host, notebook, f"systemctl --user is-enabled {UNIT}") == "enabled"
    assert host.file(f"/var/lib/systemd/linger/{notebook.user}").exists


def test_one_kernel_out_of_memory_stops_no_other(host: Host, notebook: Notebook) -> None:
    policy = as_user(host, notebook, f"systemctl --user show {UNIT} --property=OOMPolicy")
    assert policy == "OOMPolicy=continue"
    listed = host.check_output(f"ss -Hltn 'sport = :{notebook.port:d}'")
    assert listed  # the control: Jupyter is there to be looked at
    with host.sudo(notebook.user):
        pid = number(host.check_output("pgrep -o -u %s -f bin/jupyter-lab", notebook.user))
        assert f"/{UNIT}" in host.check_output("cat %s", f"/proc/{pid}/cgroup")


@pytest.mark.remedy(RESTART)
def test_the_token_is_its_users_alone(host: Host, notebook: Notebook) -> None:
    with host.sudo(notebook.user):
        found = host.check_output(f"stat -c '%U %a %s' {TOKEN}")
    assert found == f"{notebook.user} 600 64"


@pytest.mark.remedy(RESTART)
def test_the_logs_are_their_users_alone(host: Host, notebook: Notebook) -> None:
    with host.sudo(notebook.user):
        logs = host.check_output("stat -c '%U %a' ~/.local/state/deeprig/*.log").splitlines()
    assert len(logs) >= 2
    assert set(logs) == {f"{notebook.user} 600"}


def test_no_log_and_no_process_shows_the_token(host: Host, notebook: Notebook) -> None:
    """Of what may be long, only the words are fetched that could be one, and that it was read."""
    words = "grep -oE '[0-9a-f]{64}|Jupyter Server|jupyter-lab' | sort -u | head -n 1000"
    with host.sudo(notebook.user):
        token = host.check_output(f"head -c 100 {TOKEN}")
        log = host.check_output(f"cat ~/.local/state/deeprig/*.log | {words}").splitlines()
    with host.sudo():
        running = host.check_output(
            f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | {words}"
        ).splitlines()
    assert "Jupyter Server" in log and token not in log
    assert "jupyter-lab" in running and token not in running


def test_the_password_hash_is_its_users_alone(host: Host, notebook: Notebook) -> None:
    if notebook.password_hash is None:
        pytest.skip("this box has a token and no password (Notebook.password_hash)")
    file = host.file(HASH_FILE)
    assert (file.user, file.mode) == (notebook.user, 0o400)


@pytest.fixture(scope="module")
def kernels_words(host: Host, notebook: Notebook) -> str:
    """What a kernel computed, and the names of its variables: one kernel, for it takes a second."""
    return compute(host, notebook, LOOK)


@pytest.mark.remedy(KERNEL)
def test_a_kernel_computes(kernels_words: str) -> None:
    assert kernels_words.split()[0] == "42"


@pytest.mark.remedy("a file of ~/.jupyter says tcp in `transport`; take that line out")
def test_what_a_kernel_runs_and_prints_is_heard_by_nobody_else(kernels_words: str) -> None:
    """On ports of loopback any account could listen."""
    assert kernels_words.split()[1] == "ipc"


@pytest.mark.remedy(
    "take it out of /etc/environment, /etc/profile.d or ~/.config/environment.d, then restart the "
    "notebook"
)
def test_a_kernel_sees_no_token_and_no_library_path(kernels_words: str) -> None:
    """The notebook's: a token of somebody's own, as for a hub of models, is theirs to set."""
    _, _, has_token, *names = kernels_words.split()
    assert "PATH" in names  # the control: they are the kernel's variables
    assert "LD_LIBRARY_PATH" not in names
    assert (has_token, "JUPYTER_TOKEN" in names) == ("False", False)


def test_they_run_with_the_present_settings(host: Host, notebook: Notebook) -> None:
    with host.sudo():
        assert host.check_output(f"{SERVER} state") == "ok"


@pytest.mark.parametrize("folder", ["notebooks", "runs"])
def test_the_work_user_owns_the_folder(host: Host, notebook: Notebook, folder: str) -> None:
    home = host.user(notebook.user).home
    with host.sudo(notebook.user):
        assert host.file(f"{home}/{folder}").is_directory
        assert host.file(f"{home}/{folder}").user == notebook.user
