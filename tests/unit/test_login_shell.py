"""Commands that every login shell passes on whole, and answers without what it prints itself."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from testinfra.host import Host

from deeprig.errors import DeeprigError
from deeprig.settings import Rig
from deeprig.ssh import connection, root_shell
from deeprig_cli.verify import live_host
from fast_ssh import login_shell
from tests.unit import ssh_server
from tests.unit.local_shell import environment
from tests.unit.ssh_server import Server

SHELLS = [shell for name in ("sh", "bash", "zsh", "fish", "tcsh") if (shell := shutil.which(name))]
ODD = (
    "printf '%s\\n' 'it'\"'\"'s' \"$((6 * 7))\" '!x' 'back\\slash' '\u00fc'\n"
    'read -r line; echo "$line"'
)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_comes_through_each_shell_as_it_is(shell: str) -> None:
    done = subprocess.run(
        [shell, "-c", login_shell.for_any(ODD)],
        input="from stdin\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["it's", "42", "!x", "back\\slash", "\u00fc", "from stdin"]


def test_nothing_in_it_means_anything_to_fish_or_csh() -> None:
    """Within single quotes these take `!`, a backslash and the end of a line for their own."""
    line = login_shell.for_any(ODD)
    assert re.fullmatch(r"exec sh -c '[^'!\\\n]*'", line)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    with ssh_server.serve(environment(tmp_path)) as running:
        key = f"[127.0.0.1]:{running.port} {running.host_key.get_name()} "
        Path(tmp_path, "known_hosts").write_text(f"{key}{running.host_key.get_base64()}\n")
        yield running


def loud(folder: Path) -> list[str]:
    """A login shell that prints before it runs what it is given."""
    file = folder / "loud"
    file.write_text('#!/bin/sh\necho "*** welcome ***"; echo hello >&2; exec sh "$@"\n')
    file.chmod(0o755)
    return [str(file), "-c"]


def becomes_another(folder: Path) -> list[str]:
    """One whose start-up file puts another program in its place."""
    file = folder / "other"
    file.write_text('#!/bin/sh\necho "open terminal failed: not a terminal" >&2; exit 1\n')
    file.chmod(0o755)
    return [str(file), "-c"]


def host(box: Server, folder: Path, kind: str) -> Host:
    data = ssh_server.data(box, folder) | {"rig": Rig(connection=kind)}  # type: ignore[arg-type]
    return live_host.connect("rig1", data, folder / "questions")


@pytest.mark.parametrize("kind", ["fast", "ssh"])
def test_verify_takes_no_noise_for_an_answer(box: Server, tmp_path: Path, kind: str) -> None:
    box.shell = loud(tmp_path)
    live = host(box, tmp_path, kind)
    assert live.check_output("echo active") == "active"
    with live.sudo():
        assert live.check_output("echo $AS_ROOT") == "yes"
    assert live.run("echo why >&2; exit 3").stderr == "why\n"
    live.backend.close()


def test_the_verbs_take_no_noise_for_an_answer(box: Server, tmp_path: Path) -> None:
    box.shell = loud(tmp_path)
    with connection.connect(ssh_server.data(box, tmp_path)) as client:
        transport = client.get_transport()
        assert transport
        done = root_shell.run(transport, "cat; echo no >&2; exit 4", stdin="given")
        assert done == root_shell.Done(4, "given", "no\n")
        followed = root_shell.follow(transport, "echo from 12; echo log")
        assert followed.makefile("rb").read() == b"from 12\nlog\n"
        assert root_shell.run(transport, "echo $LC_ALL").out == "C\n"


def test_a_shell_that_begins_no_command_is_told_with_what_it_says(
    box: Server, tmp_path: Path
) -> None:
    box.shell = becomes_another(tmp_path)
    with pytest.raises(DeeprigError, match=r"no command begins.*open terminal failed"):
        host(box, tmp_path, "fast").run("true")
    with connection.connect(ssh_server.data(box, tmp_path)) as client:
        transport = client.get_transport()
        assert transport
        assert root_shell.run(transport, "true").last_words.startswith("open terminal failed")


def test_one_channel_at_a_time_is_enough(box: Server, tmp_path: Path) -> None:
    """As `MaxSessions 1` has it."""
    box.most_channels = 1
    live = host(box, tmp_path, "fast")
    for _ in range(2):
        assert live.check_output("echo mine") == "mine"
        with live.sudo():
            assert live.check_output("echo $AS_ROOT") == "yes"
    live.backend.close()


def test_a_box_that_opens_no_channel_is_told_in_one_sentence(box: Server, tmp_path: Path) -> None:
    box.most_channels = 0
    with pytest.raises(DeeprigError, match=r"opens no channel for a command.*MaxSessions"):
        host(box, tmp_path, "ssh").run("true")


def test_the_channel_is_refused_as_sshd_does(box: Server, tmp_path: Path) -> None:
    box.most_channels = 0  # the control: the stand-in does refuse
    with connection.connect(ssh_server.data(box, tmp_path)) as client:
        transport = client.get_transport()
        assert transport
        with pytest.raises(paramiko.ChannelException):
            transport.open_session()
