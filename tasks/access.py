"""The way in, SSH and firewall together: changed, proved by a new login, or taken back."""

import time
from pathlib import Path

from pyinfra.api.command import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from deeprig import connection, known_hosts
from deeprig.errors import DeeprigError
from deeprig.settings import Firewall, Ssh
from deeprig.survey import Survey
from tasks import archive, config_files, firewall, operations, packages, ssh
from tasks.access_facts import AccessState
from tasks.operations import Commands

GUARD = "/usr/local/lib/deeprig/access-guard"
BOOT_UNIT = "deeprig-access-boot.service"
# The box takes the change back after 100 s (deeprig-access-revert.timer); we give up before.
PROOF_SECONDS = 30
RETRY_SECONDS = 4


@deploy("SSH and firewall")
def change(
    survey: Survey,
    ssh_settings: Ssh,
    firewall_settings: Firewall | None,
    session_files: dict[str, str] | None = None,
    guests: bool = False,
) -> None:
    """Keys only through SSH, and nothing else in but what the settings allow.

    `session_files` are more files that sshd reads, path to content; `guests` of the box itself get
    their addresses from it.
    """
    config_files.copy(GUARD, mode="755")
    for unit in ("deeprig-access-revert.service", "deeprig-access-revert.timer", BOOT_UNIT):
        config_files.copy(f"/etc/systemd/system/{unit}")
    operations.enable(name="Be ready for a power cut", unit=BOOT_UNIT, start=False)
    if firewall_settings:
        packages.install(name="Install ufw", packages=list(archive.UFW))
    if ssh_settings.strict:
        ssh.strengthen_host_keys(survey=survey)

    here = int(host.data.get("ssh_port") or 22)
    port = ssh_settings.port or here
    wanted = (
        firewall.rules(firewall_settings, port=port, survey=survey, guests=guests)
        if firewall_settings
        else None
    )
    prove_or_take_back(
        name="Change the way in, proved by a new login",
        files=ssh.files(ssh_settings, survey=survey) | (session_files or {}),
        rules=wanted,
        port=port,
        old_port=here,
    )


@operation()
def prove_or_take_back(
    files: dict[str, str], rules: dict[str, str] | None, port: int, old_port: int
) -> Commands:
    """Make these files and firewall rules hold, if a new login through `port` succeeds with them.

    `files` maps a path to its content, empty for a file that must not be there; `rules` maps the
    name of a ufw rule to the command that adds it, None where the firewall is not ours. The box
    puts the old state back by itself where the login does not come, also after a power cut.
    """
    now = host.get_fact(AccessState, paths=list(files))
    changed = {path: text for path, text in files.items() if now.differs(path, text)}
    missing = {n: c for n, c in (rules or {}).items() if n not in now.rules}
    stale = [n for n in now.rules if rules is not None and n not in rules]
    switch = firewall.SWITCH_ON if rules is not None and not now.firewall_on else []
    if not (changed or missing or stale or switch or now.pending):
        host.noop("the way in is as wanted")
        return

    yield StringCommand(GUARD, "begin")
    for path, text in changed.items():
        if text:
            yield from operations.put._inner(dest=path, content=text)
        else:
            yield StringCommand("rm -f", QuoteString(path))
    old_door = firewall.ssh_rule(old_port) if rules is not None else {}
    commands = [*old_door.values(), *missing.values(), *switch]
    yield StringCommand(GUARD, "apply", _stdin="\n".join(["true", *commands]))
    yield FunctionCommand(prove, (port,), {})
    for name in {*stale, *old_door} - set(rules or {}):
        yield StringCommand(firewall.removal(name))


def prove(state: State, host: Host, port: int) -> bool:
    """Log in once more through `port`; only that login takes the box's alarm away."""
    data = host.data.dict()
    started = time.monotonic()
    why = ""
    while time.monotonic() - started < PROOF_SECONDS:
        try:
            _confirm(data, port)
        except DeeprigError as error:
            before, why = why, str(error).partition(";")[0]  # what to do then is not the matter now
            if why != before:
                operations.say(host, f"No new login yet, trying for {PROOF_SECONDS} s: {why}")
            time.sleep(RETRY_SECONDS)
        else:
            _remember_door(host, data, port)
            return True
    operations.say(host, f"No new login through port {port}: {why}", wrong=True)
    status, _ = host.run_shell_command(StringCommand(GUARD, "revert"), _sudo=True, _timeout=30)
    back = "are back" if status else "come back by themselves within two minutes"
    operations.say(host, f"The SSH and firewall settings from before {back}.", wrong=True)
    return False


def _confirm(data: dict[str, object], port: int) -> None:
    client = connection.connect(data, port=port)
    sudo = "" if data.get("ssh_user") == "root" else "sudo -n "
    try:
        _, output, errors = client.exec_command(f"{sudo}{GUARD} confirm", timeout=20)
        if output.channel.recv_exit_status():
            raise DeeprigError(errors.read().decode(errors="replace").strip() or "no confirmation")
    except (OSError, EOFError) as error:
        raise DeeprigError(f"the new login broke off ({error})") from None
    finally:
        client.close()


def _remember_door(host: Host, data: dict[str, object], port: int) -> None:
    """Pin the host key for the proved door, and dial it from now on, also after a reboot."""
    path, hostname = Path(str(data["ssh_known_hosts_file"])), str(data["ssh_hostname"])
    before = int(str(data["ssh_port"]))
    try:
        for key in known_hosts.keys_of(path, hostname, before):
            known_hosts.pin(path, hostname, port, key, instead_of=before)
    except DeeprigError as error:  # the way in is proved all the same
        operations.say(host, str(error))
    host.connector.data["ssh_port"] = port
