"""Files of the work user's that other programs read, too: ours is not broken by them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from deeprig.facts import people
from tests.lanes import ROOT
from tests.unit.box_scripts import SCRIPTS, loaded


def test_uv_and_pip_take_the_boxs_index_whatever_the_user_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with loaded("python.step") as step:
        step.UV_FILES = (str(tmp_path / "ours/uv.toml"), str(tmp_path / "uv.toml"))
        step.PIP_FILES = (str(tmp_path / "ours/pip.conf"), str(tmp_path / "pip.conf"))
        found = step.environment(tmp_path)
        assert (found["UV_NO_CONFIG"], found["PIP_CONFIG_FILE"]) == ("1", os.devnull)
        (tmp_path / "ours").mkdir()
        for file in (step.UV_FILES[1], step.PIP_FILES[1]):  # of somebody for the whole box
            Path(file).write_text("index-url = https://mirror.lan/simple\n")
        found = step.environment(tmp_path)
        assert found["UV_CONFIG_FILE"] == step.UV_FILES[1]
        assert found["PIP_CONFIG_FILE"] == step.PIP_FILES[1]
        assert "UV_NO_CONFIG" not in found  # it would leave out that file as well
        said = step.explain(
            "error sending request for url (https://mirror.lan/simple/uv/): dns error"
        )
        assert said.startswith(f"cannot reach mirror.lan ({step.UV_FILES[1]} names it): ")
        for file in (step.UV_FILES[0], step.PIP_FILES[0]):  # of the settings, and it alone
            Path(file).write_text("[global]\nindex-url = https://index.lan/simple\n")
        found = step.environment(tmp_path)
        assert found["UV_CONFIG_FILE"] == step.UV_FILES[0]
        assert (found["PIP_CONFIG_FILE"], found["PIP_INDEX_URL"]) == (
            os.devnull,  # pip would read the box's beside ours
            "https://index.lan/simple",
        )


def test_pip_leaves_the_users_file_out_then(tmp_path: Path) -> None:
    """The control for PIP_CONFIG_FILE: what pip itself says of its files."""
    home = tmp_path / ".config/pip"
    home.mkdir(parents=True)
    (home / "pip.conf").write_text("[global]\nindex-url = https://nowhere.invalid/simple\n")
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    pip = ["python3", "-m", "pip", "config", "list"]

    def listed(**more: str) -> str:
        done = subprocess.run(pip, env=env | more, capture_output=True, text=True, check=True)
        return done.stdout

    assert "nowhere.invalid" in listed()
    assert "nowhere.invalid" not in listed(PIP_CONFIG_FILE=os.devnull)


def test_the_notebooks_own_file_pins_what_decides_whether_the_link_works() -> None:
    text = (ROOT / "templates/etc/deeprig/jupyter_server_config.py.j2").read_text()
    for name in (
        "ip", "port", "root_dir", "base_url", "allow_origin", "allow_origin_pat", "websocket_url",
        "disable_check_xsrf", "allow_credentials", "certfile", "sock", "tornado_settings",
        "contents_manager_class", "identity_provider_class", "authorizer_class",
    ):  # fmt: skip
        assert re.search(rf"c\.ServerApp\.{name} =", text), name


@pytest.mark.parametrize("unit", ["deeprig-notebook.service", "deeprig-jobs.service"])
def test_a_tmux_of_ours_is_where_a_login_looks_for_it(unit: str) -> None:
    path = f"etc/systemd/user/{unit}"
    files = [ROOT / "templates" / f"{path}.j2", ROOT / "files" / path]
    [text] = [file.read_text() for file in files if file.exists()]
    assert "\nUnsetEnvironment=TMUX_TMPDIR\n" in text


def test_homes_are_where_the_accounts_say(tmp_path: Path) -> None:
    accounts = "root:x:0:0::/root:\nai:x:1000:1000::/srv/home/ai:\nnobody:x:65534:1::/none:\n"
    for name, script in {
        "getent": f'[ "$2" ] && grep "^$2:" {tmp_path}/passwd || cat {tmp_path}/passwd',
        "id": "exit 0",
        "stat": "echo anna; echo root; echo UNKNOWN",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "passwd").write_text(accounts)
    script = f"{people.SCRIPT}\neveryone; home_of ai"
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["ai", "anna", "/srv/home/ai"]


def test_no_home_is_made_up_from_a_name() -> None:
    """But for the deploy user's, which is ours to place, and what only counts or hides names."""
    allowed = {
        "deeprig/bootstrap/deploy_user.sh",
        "deeprig_cli/verify/scrub.py",
        "deeprig/facts/people.sh",
    }
    made_up = re.compile(r"/home/(\*|\$|\{|%s)|f?\"/home\"\)? *(/|if)|/home/?['\"] *\+")
    folders = ("deeprig", "deeprig_cli", "tasks", "files", "templates", "tests/host")
    found = {
        str(file.relative_to(ROOT))
        for folder in folders
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
        and made_up.search(file.read_text(errors="replace"))
    }  # fmt: skip
    assert found <= allowed


def state(folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    script = (SCRIPTS / "notebook-window").read_text()
    functions = script[: script.index('\ncase "$1" in')]
    return subprocess.run(
        ["sh", "-c", f"{functions}\n{words}", "sh", "none"], capture_output=True, text=True,
        env={"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PATH": "/usr/bin:/bin"},
        check=False,
    )  # fmt: skip


def test_a_home_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    assert state(tmp_path, 'can_write "$HOME"').returncode == 0
    assert list(tmp_path.iterdir()) == []
    done = state(tmp_path, "can_write /proc/self")
    assert done.returncode == 1
    assert done.stderr.strip().startswith("/proc/self cannot be written to; `df -h /proc/self`")


def test_the_jupyter_of_the_tools_is_not_led_by_variables() -> None:
    text = (SCRIPTS / "notebook-window").read_text()
    assert text.count('"$bin/python" -E "$bin/') == 2  # PYTHONPATH is for kernels
    assert "unset JUPYTER_TOKEN" in text


@pytest.mark.parametrize(
    ("home", "variables", "said"),
    [
        ("/home/ai", {}, ""),
        ("/home/" + "a" * 21, {}, ""),  # 107 letters with the longest name of a socket
        ("/home/" + "a" * 22, {}, "/run/user/1000/jupyter"),
        ("/home/ai", {"XDG_DATA_HOME": "/srv/" + "a" * 50}, "/run/user/1000/jupyter"),
        ("/home/ai", {"JUPYTER_DATA_DIR": "/srv/" + "a" * 50}, "/run/user/1000/jupyter"),
        ("/home/ai", {"JUPYTER_RUNTIME_DIR": "/srv/" + "a" * 60}, "/run/user/1000/jupyter"),
        ("/home/ai", {"JUPYTER_RUNTIME_DIR": "/srv/a"}, "/srv/a"),
    ],
)
def test_kernels_have_their_sockets_where_the_path_is_short_enough(
    home: str, variables: dict[str, str], said: str
) -> None:
    script = (SCRIPTS / "notebook-window").read_text()
    begin = script.index("        data=${JUPYTER_DATA_DIR")
    lines = script[begin : script.index("        # -E: PYTHONPATH", begin)]
    found = subprocess.run(
        ["sh", "-euc", f'{lines}\necho "${{JUPYTER_RUNTIME_DIR-}}"'], check=True,
        env={"HOME": home, "XDG_RUNTIME_DIR": "/run/user/1000", **variables},
        capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    assert found == said
    longest = f"{found or home + '/.local/share/jupyter/runtime'}/kernel-{'x' * 36}-ipc-99"
    assert len(longest) <= 107
