"""The way in as it is: what sshd and ufw have been told, and whether a proof is owed."""

import hashlib
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from deeprig.operations.box_fact import BoxFact
from deeprig.parsers import door, ssh_socket, sshd, ufw, untrusted
from deeprig.parsers.door import Door
from deeprig.parsers.sshd import Account, Said
from deeprig.parsers.ufw import Half
from tasks import firewall

FOLDER = "/etc/ssh/sshd_config.d"


class Access(NamedTuple):
    """The way in as it is: files (SHA-256 and mode), ufw's rules in their order, its policies for
    what comes in, goes out and passes through, whether it is on, what stood before deeprig, whether
    a proof is owed, and whether ufw does IPv6.
    """

    files: dict[str, str]
    rules: tuple[Half, ...] = ()
    policies: tuple[str, ...] = ()
    firewall_on: bool = False
    before: firewall.Before | None = None
    pending: bool = False
    six: bool = True

    @property
    def in_ufw(self) -> firewall.Now:
        """Of it all, what ufw has."""
        return firewall.Now(self.rules, self.policies, self.firewall_on, self.before, self.six)

    def differs(self, path: str, content: str) -> bool:
        """True where the file must be written, or taken away if `content` is empty."""
        expected = f"{hashlib.sha256(content.encode()).hexdigest()} 644" if content else "-"
        return self.files.get(path, "-") != expected


class AccessState(BoxFact[Access]):
    """sshd's and ufw's settings, in one question."""

    @staticmethod
    def default() -> Access:
        return Access({})

    def command(self, paths: list[str]) -> str:
        return (
            f'for f in {shlex.join(paths)}; do [ -f $f ] || {{ echo "file $f -"; continue; }}; '
            'echo "file $f $(sha256sum < $f | cut -c1-64) $(stat -c %a $f)"; done; '
            "[ -e /var/lib/deeprig/access/pending ] && echo pending; "
            f"{firewall.ASK_BEFORE}; "
            "command -v ufw >/dev/null || exit 0; "
            f'six=$({ufw.ASK_SIX}); echo "ipv6 ${{six:-off}}"; '
            # What `ufw status` looks at, without starting ufw, which takes longer than all else.
            'for v in 4 ${six:+6}; do sed -n "s/^### tuple ### /rule $v /p" '
            "/etc/ufw/user${v#4}.rules 2>/dev/null; done; "
            "for p in INPUT OUTPUT FORWARD; do "
            'sed -n "s/^DEFAULT_${p}_POLICY=\\"*\\([A-Z]*\\).*/policy \\1/p" /etc/default/ufw; '
            "done; grep -qix 'ENABLED=\"*yes\"*' /etc/ufw/ufw.conf && "
            "iptables -n -L ufw-user-input >/dev/null 2>&1 && echo firewall on; true"
        )

    def process(self, output: list[str]) -> Access:
        lines = [line.strip().split(" ", 1) for line in output]
        answers: dict[str, list[str]] = {}
        for word, *rest in lines:
            answers.setdefault(word, []).append(*rest or [""])
        files = (rest.split(" ", 1) for rest in answers.get("file", ()))
        return Access(
            files={path: state for path, state in files},
            rules=tuple(map(ufw.read, answers.get("rule", ()))),
            policies=tuple(answers.get("policy", ())),
            firewall_on="firewall" in answers,
            before=firewall.before(answers.get("before", [])),
            pending="pending" in answers,
            six=answers.get("ipv6") != ["off"],
        )


class Dialled(BoxFact[Door | None]):
    """Our own connection as the box sees it; None where it was not asked over SSH.

    Ask it with `_sudo=False`.
    """

    @staticmethod
    def default() -> None:
        return None

    def command(self) -> str:
        return f'[ -z "$SSH_CONNECTION" ] || {{ {door.ASK}; }}'

    def process(self, output: list[str]) -> Door | None:
        return door.read(output[0])


class Answer(NamedTuple):
    """What sshd says in general and of each account that is there; `wrong` is why it says nothing.

    What it says in general is for nobody in particular: no Match holds.
    """

    general: Said
    accounts: dict[str, tuple[Account, Said]]
    wrong: str = ""


class SshdSays(BoxFact[Answer]):
    """What sshd decides, or would decide if these files of its folder were like this."""

    @staticmethod
    def default() -> Answer:
        return Answer({}, {})

    def command(self, accounts: Sequence[str], door: Door | None, files: dict[str, str]) -> str:
        """`files` maps a path to its content, empty for one that is not there."""
        changes = [_change(path, text) for path, text in files.items() if _is_read(path)]
        who = (
            f"host={door.client},addr={door.client},laddr={door.server},lport={door.port}"
            if door
            else "host=,addr=127.0.0.1,laddr=127.0.0.1,lport=22"
        )
        return "\n".join(
            [
                # sshd says nothing where its own folder below /run is not there.
                "(umask 022; mkdir -p /run/sshd; t=$(mktemp -d) || exit 0",
                'trap \'rm -rf "$t"\' EXIT; mkdir "$t/d"',
                f'cp -L {FOLDER}/* "$t/d/" 2>/dev/null',
                *changes,
                # The same Include lines, with the copy in the folder's place.
                'cp -L /etc/ssh/sshd_config "$t/c"; '
                'sed -i -E "/^[[:space:]]*Include/I s#(/etc/ssh/)?sshd_config[.]d/#$t/d/#g" '
                '"$t/c" $(ls -d "$t"/d/* 2>/dev/null)',
                'say() { n=$1; shift; said=$(timeout 20 sshd -T -f "$t/c" "$@" 2>&1) || '
                f'{{ echo "wrong $said" | sed "s#$t/d#{FOLDER}#; s#$t/c#/etc/ssh/sshd_config#; q"; '
                'exit 0; }; echo "$said" | sed "s/^/$n /"; }',
                "say -",
                f'for u in {shlex.join(accounts)}; do id "$u" >/dev/null 2>&1 || continue; '
                'echo "groups $u $(id -Gn "$u")"; '
                f'say "=$u" -C "user=$u,"{shlex.quote(who)}; done; true)',
            ]
        )

    def process(self, output: list[str]) -> Answer:
        answers: dict[str, list[str]] = {}
        for line in output:
            word, _, rest = line.strip().partition(" ")
            answers.setdefault(word, []).append(rest)
        if wrong := answers.get("wrong"):
            return Answer({}, {}, untrusted.words(wrong[0]))
        accounts = {}
        for line in answers.get("groups", ()):
            name, *groups = line.split()
            who = Account(untrusted.user_name(name), tuple(map(sshd.group, groups)))
            accounts[name] = (who, sshd.read(answers.get(f"={name}", ())))
        return Answer(sshd.read(answers.get("-", ())), accounts)


class SaidFirst(BoxFact[str]):
    """Which of sshd's files has a keyword first, our own aside; empty where none has."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self, keyword: str) -> str:
        line = shlex.quote(f"^[[:space:]]*{keyword}[[:space:]=]")
        return (
            f"grep -liE {line} {FOLDER}/*.conf /etc/ssh/sshd_config "
            "2>/dev/null | grep -v /10-deeprig.conf | head -n 1; true"
        )

    def process(self, output: list[str]) -> str:
        return untrusted.words(output[0]) if output else ""


def _is_read(path: str) -> bool:
    return path.startswith(f"{FOLDER}/")


def _change(path: str, text: str) -> str:
    """What gives the copy of sshd's folder this file, or takes it out."""
    copy = shlex.quote(path.removeprefix(f"{FOLDER}/"))
    return f'printf %s {shlex.quote(text)} > "$t/d/"{copy}' if text else f'rm -f "$t/d/"{copy}'


class SocketState(BoxFact[ssh_socket.Socket]):
    """What systemd's ssh.socket listens on, and by which files."""

    @staticmethod
    def default() -> ssh_socket.Socket:
        return ssh_socket.Socket()

    def command(self) -> str:
        return ssh_socket.ASK

    def process(self, output: list[str]) -> ssh_socket.Socket:
        return ssh_socket.read(output)
