"""The way in, SSH and firewall together: changed, proved by a new login, or taken back.

What is proved is the state after the last step, with everything taken out that goes.
"""

import secrets
from typing import NamedTuple

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import operations
from deeprig.facts.survey import Survey
from deeprig.operations import files, footprint, packages
from deeprig.operations.core import Commands
from deeprig.operations.facts import Shell
from deeprig.parsers import sshd, ufw
from deeprig.parsers.door import Door
from deeprig.settings import Rig, Ssh
from tasks import access_proof, base_packages, firewall, ssh
from tasks.access_facts import (
    Access,
    AccessState,
    Answer,
    Dialled,
    SaidFirst,
    SocketState,
    SshdSays,
)
from tasks.access_proof import (
    GUARD,
    Way,
    begin,
    know_host_key,
    locked_out,
    may_stand,
    prove,
    who_gets_in,
)

BOOT_UNIT = "deeprig-access-boot.service"


class Wall(NamedTuple):
    """The firewall that is wanted: rules beside SSH's, by name; None for one that goes. `left` are
    names of ours that stay where they stand.
    """

    rules: dict[str, ufw.Rule] | None
    left: tuple[str, ...] = ()


@deploy("SSH and firewall")
def change(
    survey: Survey,
    rig: Rig,
    session_files: dict[str, str] | None = None,
) -> None:
    """Keys only through SSH, and nothing else in but what the settings allow.

    `session_files` are more files that sshd reads, path to content.
    """
    files.units("deeprig-access-revert.service", "deeprig-access-revert.timer", BOOT_UNIT)
    operations.enable(name="Be ready for a power cut", unit=BOOT_UNIT, start=False)
    if rig.firewall:
        packages.install(name="Install ufw", packages=list(base_packages.UFW))
    if rig.ssh.strict:
        ssh.strengthen_moduli(survey=survey)
    prove_or_take_back(
        name="Change the way in, proved by a new login",
        contents=_files(rig.ssh, survey) | (session_files or {}),
        wall=_wall(rig, survey),
        way=_way(rig, survey),
        strong_rsa=ssh.strong_rsa(rig.ssh, survey),
    )
    if "firewall" in rig.absent:
        footprint.take_out("firewall", firewall.FOOTPRINT)


def objections(survey: Survey, rig: Rig) -> list[str]:
    """Whom these settings would lock out, a sentence each; asked before anything is touched."""
    way = _way(rig, survey)
    door = host.get_fact(Dialled, _sudo=False)
    now: Answer = host.get_fact(SshdSays, accounts=way.accounts, door=door, files={})
    if now.wrong:
        return [f"sshd does not take its own settings ({now.wrong}); mend /etc/ssh/sshd_config."]
    if rig.firewall and "firewall" not in rig.absent:
        access: Access = host.get_fact(AccessState, paths=[])
        if shut := firewall.shut_by_six(access.in_ufw, door):
            return shut
    we = host.data.get("ssh_user")
    if any(user.name == we and (not user.present or user.sudo is False) for user in rig.users):
        return [f"This inventory logs in as {we}, whom Rig.users takes away or out of sudo."]
    contents = _files(rig.ssh, survey)
    then: Answer = host.get_fact(SshdSays, accounts=way.accounts, door=door, files=contents)
    if then.wrong:
        return [f"sshd would not take deeprig's settings: {then.wrong}."]
    if keyword := sshd.by_password(then.general):
        return [_still_open(keyword, host.get_fact(SaidFirst, keyword=keyword))]
    return locked_out(way, now, then)


def _still_open(keyword: str, file: str) -> str:
    """Why passwords would go on: https://github.com/canonical/cloud-init/issues/5934."""
    if file:
        reason = f"{file} says otherwise before 10-deeprig.conf; take that line out"
    else:
        reason = (
            "it does not read /etc/ssh/sshd_config.d; write `Include /etc/ssh/sshd_config.d/*.conf`"
            " as the first line of /etc/ssh/sshd_config"
        )
    return f"sshd would not have `{keyword} no`: {reason}."


def _files(settings: Ssh, survey: Survey) -> dict[str, str]:
    own: Answer = host.get_fact(SshdSays, accounts=[], door=None, files={ssh.DROP_IN: ""})
    socket = host.get_fact(SocketState)
    return ssh.contents(settings, survey=survey, own=own.general, socket=socket)


def _way(rig: Rig, survey: Survey) -> Way:
    """Where sshd is to listen, by the box's own numbers, and where that is dialled from here."""
    dialled = access_proof.dialled(host)
    door: Door | None = host.get_fact(Dialled, _sudo=False)
    here = door.port if door else dialled
    base: Answer = host.get_fact(SshdSays, accounts=[], door=None, files={ssh.DROP_IN: ""})
    socket = host.get_fact(SocketState)
    ports = set(socket.base if survey.ssh_socket else ()) or sshd.ports(base.general) or {here}
    now: Answer = host.get_fact(SshdSays, accounts=[], door=None, files={})
    if not survey.ssh_socket and here not in sshd.ports(now.general):
        ports |= {here}  # by none of its files, such as `sshd -p`: it stays
    if rig.ssh.port:
        ports = {rig.ssh.port}
    port = here if here in ports else min(ports)
    people: dict[str, tuple[str, ...]] = {str(host.data.get("ssh_user") or "root"): ()}
    if rig.notebook:
        people[rig.notebook.user] = ()
    people |= {user.name: user.keys for user in rig.users if user.present}
    return Way(
        port=port,
        # A forwarded port leads to the one that sshd has; where sshd moves, so does what we dial.
        dialled=dialled if port == here else port,
        others=tuple(sorted(ports - {port})),
        people=tuple(people.items()),
        by_socket=survey.ssh_socket,
    )


def _wall(rig: Rig, survey: Survey) -> Wall | None:
    if "firewall" in rig.absent:
        return Wall(None)
    if rig.firewall is None:
        return None
    guests = bool(rig.passthrough and rig.passthrough.guest)
    left_alone = rig.passthrough is None and "passthrough" not in rig.absent
    return Wall(
        firewall.rules(rig.firewall, survey=survey, guests=guests),
        tuple(firewall.GUESTS) if left_alone else (),  # a guest from before is still there
    )


class Plan(NamedTuple):
    """What is to be done: files to write or take away, commands to run, and what to say of it."""

    files: dict[str, str]
    commands: list[str]
    said: list[str]
    owed: bool

    def __bool__(self) -> bool:
        return bool(self.files or self.commands or self.owed)


@operation()
def prove_or_take_back(
    contents: dict[str, str], wall: Wall | None, way: Way, strong_rsa: bool = False
) -> Commands:
    """Make these files and this firewall hold, if new logins succeed with them.

    `contents` maps a path to what its file holds, nothing for one that must not be there; without
    `wall` the firewall is not ours. The box puts the old state back by itself where the login does
    not come, also after a power cut.
    """
    if not _plan(contents, wall, way, strong_rsa):
        host.noop("the way in is as wanted")
        return
    deploy_name = secrets.token_hex(8)
    yield operations.Step(begin, deploy_name)
    todo = _plan(contents, wall, way, strong_rsa)  # as it is now that no other deploy may change it
    door = host.get_fact(Dialled, _sudo=False)
    question = {"accounts": way.accounts, "door": door}
    now: Answer = host.get_fact(SshdSays, **question, files={})
    then: Answer = host.get_fact(SshdSays, **question, files=todo.files)
    own: Answer = host.get_fact(SshdSays, accounts=[], door=None, files={ssh.DROP_IN: ""})
    inside: list[str] = []
    yield operations.Step(may_stand, deploy_name, way, (own, now, then), todo.said)
    yield operations.Step(who_gets_in, now, inside)
    yield operations.Step(know_host_key)
    # A deploy that was held up may come when the alarm has rung, and another is at it.
    mine = f"{GUARD} mine {deploy_name}"
    for path, text in todo.files.items():
        if text:
            yield from files.put._inner(dest=path, content=text, validate=mine)
        else:
            yield StringCommand(f"{mine} && rm -f", QuoteString(path))
    yield StringCommand(
        f"{GUARD} apply {deploy_name}",
        QuoteString(str(way.port)),
        _stdin="\n".join(["true", *todo.commands]),
    )
    yield operations.Step(prove, deploy_name, way.dialled, inside)


def _plan(contents: dict[str, str], wall: Wall | None, way: Way, strong_rsa: bool) -> Plan:
    now = host.get_fact(AccessState, paths=list(contents))
    changed = {path: text for path, text in contents.items() if now.differs(path, text)}
    commands, sentences = list[str](), list[str]()
    if wall:
        door: Door | None = host.get_fact(Dialled, _sudo=False)
        in_force = now.in_ufw
        to = door._replace(port=way.port) if door else None
        if wall.rules is None:
            commands, sentences = firewall.off(in_force, to)
        else:
            needed, kept = firewall.needed([way.port, *way.others], now.rules, door)
            commands = firewall.on(needed | wall.rules, in_force, {*kept, *wall.left})
            sentences = firewall.six_shut_off(in_force)
            sentences += firewall.guests_shut_off(wall.rules, in_force)
            sentences += [
                f"ufw has `{half.words}` of yours, which stays as it is: {name} is not added."
                for name, rule in (needed | wall.rules).items()
                for half in ufw.against(rule, now.rules)
            ]
    if strong_rsa and not host.get_fact(Shell, script=ssh.RSA_IS_STRONG):
        commands, sentences = [*commands, ssh.MAKE_RSA], [*sentences, ssh.RSA_GOES]
    return Plan(changed, commands, sentences, now.pending)
