"""What the owner's ~/.ssh/config says of a box, by OpenSSH's own reading."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deeprig.errors import DeeprigError
from deeprig.ssh import ssh_config
from deeprig.ssh.ssh_config import Entry

Configured = Callable[[str], None]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    """A home with this ~/.ssh/config in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".ssh" / "config"
    file.parent.mkdir()
    return lambda text: (file.write_text(text), file.chmod(0o600))[1]


def test_without_a_configuration_a_name_is_itself(config: Configured) -> None:
    assert ssh_config.of("Rig1.lan") == Entry("Rig1.lan", "Rig1.lan")


def test_an_alias_has_its_name_port_user_and_key(config: Configured, tmp_path: Path) -> None:
    config(
        "Host gpu\n HostName 192.0.2.7\n Port 2217\n User installer\n IdentityFile ~/.ssh/work\n"
        "Host other\n Port 9\n"
    )
    found = ssh_config.of("gpu")
    assert (found.hostname, found.port, found.user) == ("192.0.2.7", 2217, "installer")
    assert found.identities == (tmp_path / ".ssh/work",)
    assert not found.through


def test_what_is_included_and_what_matches_count_as_for_ssh(
    config: Configured, tmp_path: Path
) -> None:
    (tmp_path / "more").write_text("Match host gpu exec true\n HostName 192.0.2.8\n")
    config(f"Include {tmp_path}/more\nHost *\n IdentityAgent {tmp_path}/agent.sock\n")
    found = ssh_config.of("gpu")
    assert (found.hostname, found.agent) == ("192.0.2.8", str(tmp_path / "agent.sock"))


def test_a_file_that_ssh_does_not_understand_is_one_line(config: Configured) -> None:
    config("Host gpu\n NoSuchThing yes\n")
    with pytest.raises(DeeprigError, match=r"^ssh does not understand .*config.* line 2") as error:
        ssh_config.of("gpu")
    assert "\n" not in str(error.value)


def test_a_jump_host_asks_nobody_and_must_be_known(config: Configured) -> None:
    config("Host rig*.inside\n ProxyJump me@gate:2200\n")
    words = shlex.split(ssh_config.of("rig1.inside").proxy(2222))
    assert words[0] == "ssh"
    assert {"-oBatchMode=yes", "-oStrictHostKeyChecking=yes"} <= set(words)
    assert words[-4:] == ["-W", "[rig1.inside]:2222", "--", "ssh://me@gate:2200"]


def test_each_of_several_jump_hosts_must_be_known(config: Configured, tmp_path: Path) -> None:
    """ssh itself expands the command that leads to the next one: what comes out is run by it."""
    config("Host rig1.inside\n ProxyJump first,second,third\n")
    words = shlex.split(ssh_config.of("rig1.inside").proxy(22))
    seen = []
    while True:
        seen.append(words[-1])
        assert "-oStrictHostKeyChecking=yes" in words
        [*_, proxy] = ["", *(word for word in words if word.startswith("-oProxyCommand="))]
        if not proxy:
            break
        told = subprocess.run(
            ["ssh", "-F", "none", "-G", proxy, seen[-1]], capture_output=True, text=True, check=True
        ).stdout
        command = next(line for line in told.splitlines() if line.startswith("proxycommand "))
        words = shlex.split(command.removeprefix("proxycommand ").replace("%%", "%"))
    assert seen == ["third", "second", "first"]


def test_a_proxy_command_has_its_tokens_put_in(config: Configured) -> None:
    config("Host gpu\n HostName 192.0.2.7\n ProxyCommand way --to %h:%p --as %r --for %n 100%%\n")
    said = ssh_config.of("gpu").proxy(2222, "deeprig")
    assert said == "way --to 192.0.2.7:2222 --as deeprig --for gpu 100%"


def test_no_name_is_an_option(config: Configured, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(DeeprigError):
        ssh_config.of(f"-oProxyCommand=touch {made}")
    assert not made.exists()


def test_without_an_ssh_there_is_no_configuration(
    config: Configured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config("Host gpu\n HostName 192.0.2.7\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ssh_config.of("gpu") == Entry("gpu", "gpu")
