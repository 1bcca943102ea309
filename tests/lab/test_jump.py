"""A box that is reached through another one alone, under a name that ~/.ssh/config makes up."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeprig.ssh import known_hosts
from lab import boxes, container
from tests.lab.conftest import DEEPRIG, PYINFRA, ROOT
from tests.lab.tunnels import tunnel

pytestmark = pytest.mark.lab

# Only the jump host may knock: a firewall of the site, which no deploy of ours touches.
ONLY_BY = """
table inet site {{
  chain input {{
    type filter hook input priority -200;
    iif lo accept
    ip saddr != {jump} tcp dport {{ 22, 2222, 9 }} ct state new drop
  }}
}}
"""
CONFIG = """
Host gate
  HostName {jump.host}
  User deeprig
  IdentityFile {jump.key}
  UserKnownHostsFile {jump.known_hosts}
Host far
  HostName {far.host}
  ProxyJump gate
"""


@pytest.fixture(scope="module")
def jump(request: pytest.FixtureRequest) -> Iterator[boxes.Box]:
    yield from _made(request, "t-jump-gate", bare=False)


@pytest.fixture(scope="module")
def far(request: pytest.FixtureRequest, jump: boxes.Box) -> Iterator[boxes.Box]:
    """As its installer left it, behind the other one."""
    for box in _made(request, "t-jump-far", bare=True):
        close(box, jump)
        box.known_hosts.unlink(missing_ok=True)
        yield box


def _made(request: pytest.FixtureRequest, name: str, *, bare: bool) -> Iterator[boxes.Box]:
    if name in [old.name for old in boxes.every()]:
        boxes.down(name)
    yield boxes.up(name, os=str(request.config.getoption("--os")), bare=bare)
    if not os.environ.get("KEEP"):
        boxes.down(name)


def close(box: boxes.Box, jump: boxes.Box) -> None:
    process = str(container.host_pid(box.name, 1))
    subprocess.run(
        ["nsenter", "--net", "--target", process, "nft", "-f", "-"],
        input=ONLY_BY.format(jump=jump.host), text=True, check=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, jump: boxes.Box, far: boxes.Box
) -> Iterator[Path]:
    """A home whose ssh configuration leads there."""
    made = tmp_path_factory.mktemp("home")
    (made / ".ssh").mkdir(mode=0o700)
    (made / ".ssh/config").write_text(CONFIG.format(jump=jump, far=far))
    with pytest.MonkeyPatch.context() as patch:
        # The boxes stay where they are.
        patch.setenv("XDG_STATE_HOME", str(Path("~/.local/state").expanduser()))
        patch.setenv("HOME", str(made))
        yield made


def run(*words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in words], cwd=ROOT, input=stdin, capture_output=True, text=True,
        check=False, timeout=900,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def contact(far: boxes.Box) -> subprocess.CompletedProcess[str]:
    return run(
        DEEPRIG, "bootstrap", "far", "--yes", "--password-stdin", "--key", far.key,
        "--known-hosts", far.known_hosts, stdin=f"{far.password}\n",
    )  # fmt: skip


def inventory(far: boxes.Box, ssh: str = "") -> Path:
    """The lab's, with the alias for an address; `ssh` is a setting of the way in."""
    text = far.inventory.read_text().replace(f'hostname="{far.host}"', 'hostname="far"')
    assert '"far"' in text
    if ssh:
        text = text.replace("rig=Rig(", f"rig=Rig(ssh={ssh},").replace("import ", "import Ssh, ")
    file = far.folder / "jump.py"
    file.write_text(text)
    return file


def deploy(file: Path) -> subprocess.CompletedProcess[str]:
    return run(PYINFRA, "-y", file, "deploy.py")


def test_the_box_is_behind_the_other_one(far: boxes.Box) -> None:
    """The control: from here nobody gets in."""
    done = run("ssh", "-F", "none", "-oConnectTimeout=3", "-oBatchMode=yes", far.host, "true")
    assert "timed out" in done.stderr


def test_a_jump_host_that_is_not_known_is_told_in_one_line(home: Path, far: boxes.Box) -> None:
    config = home / ".ssh/config"
    before = config.read_text()
    config.write_text(before.replace("UserKnownHostsFile", "UserKnownHostsFile /dev/null #"))
    try:
        done = contact(far)
    finally:
        config.write_text(before)
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert said.startswith("far port 22 is not reached through gate (Host key verification failed)")


def test_first_contact_goes_through_it(home: Path, far: boxes.Box) -> None:
    done = contact(far)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deeprig logs in on far port 22" in done.stdout
    assert known_hosts.doors(far.known_hosts, "far", 22) == (22,)


def test_the_whole_deploy_and_its_proof_go_through_it(home: Path, far: boxes.Box) -> None:
    done = deploy(inventory(far))
    assert done.returncode == 0, done.stdout + done.stderr
    again = deploy(inventory(far))
    [total] = re.findall(r"Grand total +(\d+) +(\S+)", again.stdout + again.stderr)
    assert total[1] == "-", again.stdout + again.stderr


def test_it_is_verified_through_it(home: Path, far: boxes.Box) -> None:
    done = run(DEEPRIG, "verify", "--inventory", inventory(far))
    assert done.returncode == 0, done.stdout + done.stderr


def test_plan_and_jobs_and_wake_go_through_it(home: Path, far: boxes.Box) -> None:
    file = inventory(far)
    done = run(DEEPRIG, "plan", "--inventory", file)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(DEEPRIG, "run", far.name, "first", "--inventory", file, "--", "echo reached")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(DEEPRIG, "wake", far.name, "--inventory", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_notebook_is_opened_through_it(home: Path, far: boxes.Box) -> None:
    with tunnel(inventory(far), "--json") as opened:
        assert opened.answers()


def test_the_printed_block_leads_there_too(home: Path, far: boxes.Box, tmp_path: Path) -> None:
    block = run(DEEPRIG, "tunnel", "--inventory", inventory(far), "--print-ssh-config")
    (tmp_path / "config").write_text(block.stdout)
    done = run(
        "ssh", "-F", tmp_path / "config", "-oBatchMode=yes", "-oClearAllForwardings=yes",
        far.name, "hostname",
    )  # fmt: skip
    assert done.stdout.strip() == far.name, done.stderr


def test_a_port_is_moved_through_it_and_back_however_the_setting_goes(
    home: Path, far: boxes.Box
) -> None:
    done = deploy(inventory(far, "Ssh(port=2222)"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert known_hosts.doors(far.known_hosts, "far", 22) == (2222, 22)

    verify = (DEEPRIG, "verify", "--tier", "config", "--inventory")
    done = run(*verify, inventory(far))  # the line is taken out
    assert done.returncode == 0, done.stdout + done.stderr
    assert "far is dialled at port 2222: a login was proved there last" in done.stderr

    done = deploy(inventory(far, "Ssh(port=22)"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert known_hosts.doors(far.known_hosts, "far", 22) == (22, 2222)
    done = run(*verify, inventory(far))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is dialled at" not in done.stderr


def test_it_is_powered_off_through_it(home: Path, far: boxes.Box) -> None:
    done = run(DEEPRIG, "off", far.name, "--force", "--inventory", inventory(far))
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(DEEPRIG, "verify", "--tier", "config", "--inventory", inventory(far))
    assert done.returncode == 2
    # The gate asks who has the address for three seconds; a try before that gets no answer at all.
    why = r"is not reached through gate \((No route to host|nothing comes back)"
    assert re.search(why, done.stdout + done.stderr), done
