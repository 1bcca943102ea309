"""systemd's ssh.socket: where it listens, and where it would without deeprig."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from deeprig.parsers import untrusted

DROP_IN = "/etc/systemd/system/ssh.socket.d/50-deeprig.conf"
ASK = "systemctl show -p Listen ssh.socket; systemctl cat ssh.socket 2>/dev/null || true"
GENERATED = "/run/systemd/generator"
ALL = ("0.0.0.0", "[::]")

_listen = re.compile(r"(?:(\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:.]+\]):)?(\d{1,5})")


class Socket(NamedTuple):
    """`listens` are addresses that it has; `base` are the ports without deeprig's file, none where
    sshd's own settings decide.
    """

    listens: tuple[str, ...] = ()
    base: tuple[int, ...] = ()

    def at(self, port: int) -> list[str]:
        """What to listen on to have every address of now at another port.

        A port alone would be IPv6 only, where the unit says so as Ubuntu's does.
        """
        addresses = {text.rpartition(":")[0] for text in self.listens}
        if not addresses or "[::]" in addresses:
            addresses |= {*ALL}
        return [f"{address}:{port}" for address in sorted(addresses)]


def read(output: Iterable[str]) -> Socket:
    """What ASK printed. Raises NotSo."""
    listens, base, file, generated = list[str](), list[int](), "", False
    for line in map(str.strip, output):
        if match := re.fullmatch(r"Listen=(\S+) \(Stream\)", line):
            listens.append(_address(match[1]))
        elif match := re.fullmatch(r"# (/\S+)", line):
            file = untrusted.path(match[1])
        elif match := re.fullmatch(r"ListenStream\s*=\s*(\S*)", line):
            generated |= file.startswith(GENERATED)
            if file == DROP_IN:
                continue
            if told := _listen.fullmatch(match[1]):
                base.append(untrusted.number(told[2], 1, 65535))
            elif not match[1]:
                base = []
    return Socket(tuple(listens), () if generated else tuple(dict.fromkeys(base)))


def _address(text: str) -> str:
    match = _listen.fullmatch(text)
    if not match:
        raise untrusted.NotSo(f"{text[:80]!r} is nothing that sshd listens on")
    return text
