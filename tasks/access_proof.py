"""The proof of a changed way in: who gets in by what sshd says, and new logins that get in.

Each function is a step of the operation in tasks/access.py, run while the box's alarm is set.
"""

import shlex
import time
from base64 import b64decode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import paramiko
from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deeprig import operations
from deeprig.errors import DeeprigError
from deeprig.operations.box_program import SCRIPTS
from deeprig.operations.facts import Shell
from deeprig.parsers import sshd
from deeprig.preflight import hardening
from deeprig.ssh import connection, known_hosts, root_shell
from tasks.access_facts import Answer

GUARD = f"{SCRIPTS}/access-guard"
# The box takes the change back after 100 s (deeprig-access-revert.timer); we give up before.
PROOF_SECONDS = 30
# A firewall may take five new connections in half a minute and no more (`ufw limit`).
RETRY_SECONDS = 7
# As long as the box gives another deploy for its proof, and a little more.
WAIT_SECONDS = 120
ED25519 = "ssh-ed25519"
BUSY = 75  # access-guard's word for that


class Way(NamedTuple):
    """The way in that is wanted: sshd's port on the box, the one that is dialled, the others where
    sshd listens too, and who is to get in, with their keys where the settings have them.
    """

    port: int
    dialled: int
    others: tuple[int, ...] = ()
    people: tuple[tuple[str, tuple[str, ...]], ...] = ()
    by_socket: bool = False

    @property
    def accounts(self) -> list[str]:
        """Their names."""
        return [name for name, _ in self.people]


def locked_out(way: Way, now: Answer, then: Answer) -> list[str]:
    """Who gets in by what sshd says now, and would not by what it says then."""
    sentences = []
    for name, keys in way.people:
        if name not in now.accounts or name not in then.accounts:
            continue  # not made yet
        (before, said_before), (after, said_after) = now.accounts[name], then.accounts[name]
        by = sshd.shut_out(after._replace(keys=keys), said_after)
        if by and not sshd.shut_out(before._replace(keys=keys), said_before):
            sentences.append(f"{name} would be locked out, by {by}; {_way_out(name, by)}.")
    return sentences


def _way_out(name: str, by: str) -> str:
    if by.startswith("KbdInteractiveAuthentication"):
        return (
            f"write `KbdInteractiveAuthentication yes` below a `Match User {name}` of your own in "
            "/etc/ssh/sshd_config, which counts for them alone"
        )
    if by.startswith("PasswordAuthentication"):
        return (
            f"passwords are turned off for everybody: let AuthenticationMethods for {name} do "
            "without `password`"
        )
    return f"see what /etc/ssh/sshd_config says of {name}"


def begin(state: State, host: Host, name: str) -> bool:
    """Have the old state kept; wait where another deploy has not proved its own yet."""
    started = time.monotonic()
    while True:
        done, output = host.run_shell_command(
            StringCommand(f"{GUARD} begin {name}; echo ended $?"), _sudo=True
        )
        ended = output.stdout.strip().rpartition("ended ")[2]
        if not done or ended != str(BUSY):
            if ended != "0":
                operations.say(host, output.stderr.strip() or "no answer", wrong=True)
            return ended == "0"
        if time.monotonic() - started > WAIT_SECONDS:
            operations.say(
                host, "Another deploy is still changing the way in; run this again.", wrong=True
            )
            return False
        if time.monotonic() - started < RETRY_SECONDS:
            operations.say(
                host,
                f"Another deploy is changing the way in; waiting for it, {WAIT_SECONDS} s at most.",
            )
        time.sleep(RETRY_SECONDS)


def may_stand(
    state: State,
    host: Host,
    name: str,
    way: Way,
    answers: tuple[Answer, Answer, Answer],
    said: list[str],
) -> bool:
    """By what sshd says without ours, says now, and would say: nobody is locked out, and nothing
    is looser than its owner has it.
    """
    own, now, then = answers
    for sentence in said:
        operations.say(host, sentence)
    wrong = [f"sshd would not take the new settings: {then.wrong}."] if then.wrong else []
    wrong += locked_out(way, now, then)
    wrong += [f"{each}; nothing is to be looser than it was." for each in
              (hardening.looser(own.general, then.general) if then.general else ())]  # fmt: skip
    for sentence in wrong:
        operations.say(host, sentence, wrong=True)
    if wrong:
        _revert(host, name)
        return False
    for account, keys in way.people:
        if account in then.accounts:
            who, says = then.accounts[account]
            if by := sshd.shut_out(who._replace(keys=keys), says):
                operations.say(host, f"{account} cannot log in, as before, by {by}.", wrong=True)
    listens = set() if way.by_socket else sshd.ports(then.general)
    for port in sorted(listens - {way.port, *way.others}):
        operations.say(host, _also_open(host, port))
    return True


def _also_open(host: Host, port: int) -> str:
    line = host.get_fact(
        Shell,
        script=f"grep -iHnE '^[[:space:]]*Port[[:space:]=]+{port}\\b' /etc/ssh/sshd_config "
        "/etc/ssh/sshd_config.d/* | grep -v /10-deeprig.conf | cut -d: -f1,2",
    )
    where = f", by {line}; take that line out to close it" if line else ""
    return f"sshd goes on listening on port {port} as well{where}."


def who_gets_in(state: State, host: Host, now: Answer, inside: list[str]) -> bool:
    """Try the accounts beside our own with the key that is at hand, before anything changes.

    Not those of whom more than a key is asked: paramiko would ask whoever sits here for it.
    """
    data = host.data.dict()
    port = dialled(host)
    others = [
        name
        for name, (_, settings) in now.accounts.items()
        if name != data.get("ssh_user") and sshd.by_key_alone(settings)
    ]
    inside += [name for name in others if _opens(data, name, port)]
    return True


def know_host_key(state: State, host: Host) -> bool:
    """Pin the box's Ed25519 host key by this login, whose own key may be one that goes: sshd is to
    offer no ECDSA any more, and with strict another RSA key.
    """
    data, port = host.data.dict(), dialled(host)
    path, hostname = connection.pins_of(data), str(data.get("ssh_hostname") or host.name)
    with suppress(DeeprigError):  # the proof tells
        known = connection.host_keys(data, port)
        shown = None if any(key.get_name() == ED25519 for key in known) else _ed25519(host)
        if shown:
            known_hosts.pin(path, hostname, port, shown)
    return True


def _ed25519(host: Host) -> paramiko.PKey | None:
    """The box's own, by its public half; None where it has none that can be read."""
    line = host.get_fact(Shell, script="head -c 1000 /etc/ssh/ssh_host_ed25519_key.pub")
    kind, _, rest = line.partition(" ")
    try:
        return (
            paramiko.Ed25519Key(data=b64decode(rest.partition(" ")[0])) if kind == ED25519 else None
        )
    except (paramiko.SSHException, ValueError):
        return None


def dialled(host: Host) -> int:
    """The port that this deploy came in by; the first of the box's doors may be closed."""
    return connection.door_of(getattr(host.connector, "client", None), host.data.dict())


def _opens(data: dict[str, object], name: str, port: int) -> bool:
    with suppress(DeeprigError):
        connection.connect({**data, "ssh_user": name}, port=port).close()
        return True
    return False


def prove(state: State, host: Host, name: str, port: int, inside: Sequence[str] = ()) -> bool:
    """Log in once more through `port`; only that login takes the box's alarm away.

    Those who are `inside` got in with the same key before and must get in again.
    """
    data, left = host.data.dict(), [*inside]
    started = time.monotonic()
    why = ""
    while time.monotonic() - started < PROOF_SECONDS:
        try:
            while left:
                connection.connect({**data, "ssh_user": left[0]}, port=port).close()
                left.pop(0)
            _confirm(data, port, name)
        except DeeprigError as error:
            before, why = why, str(error).partition(";")[0]  # what to do then is not the matter now
            if why != before:
                operations.say(host, f"No new login yet, trying for {PROOF_SECONDS} s: {why}")
            time.sleep(RETRY_SECONDS)
        else:
            _remember_door(host, data, port)
            return True
    operations.say(host, f"No new login through port {port}: {why}", wrong=True)
    _revert(host, name)
    return False


def _revert(host: Host, name: str) -> None:
    status, _ = host.run_shell_command(
        StringCommand(GUARD, "revert", name), _sudo=True, _timeout=30
    )
    back = "are back" if status else "come back by themselves within two minutes"
    operations.say(host, f"The SSH and firewall settings from before {back}.", wrong=True)


def _confirm(data: dict[str, object], port: int, name: str) -> None:
    client = connection.connect(data, port=port)
    sudo = root_shell.as_root(data)
    try:
        _, output, errors = client.exec_command(
            f"{sudo}{GUARD} confirm {shlex.quote(name)}", timeout=20
        )
        if output.channel.recv_exit_status():
            raise DeeprigError(errors.read().decode(errors="replace").strip() or "no confirmation")
    except (OSError, EOFError) as error:
        raise DeeprigError(f"the new login broke off ({error})") from None
    finally:
        client.close()


def _remember_door(host: Host, data: dict[str, object], port: int) -> None:
    """Pin the host key for the proved door, and dial it from now on, also after a reboot."""
    path, hostname = Path(str(data["ssh_known_hosts_file"])), str(data["ssh_hostname"])
    try:
        # A door that was moved by hand has no line yet: the box is known by one of its others.
        for before in dict.fromkeys([dialled(host), *connection.doors(data)]):
            keys = known_hosts.keys_of(path, hostname, before)
            for key in keys:
                known_hosts.pin(path, hostname, port, key, instead_of=before)
            if keys:
                break
    except DeeprigError as error:  # the way in is proved all the same
        operations.say(host, str(error))
    host.connector.data["ssh_port"] = port
