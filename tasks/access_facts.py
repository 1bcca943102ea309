"""The way in as it is: what sshd and ufw have been told, and whether a proof is owed."""

import hashlib
import shlex
from typing import NamedTuple

from tasks import firewall
from tasks.box_fact import BoxFact

# How ufw writes what the comment of each rule of ours begins with.
OURS = firewall.PREFIX.encode().hex()


class Access(NamedTuple):
    """The way in as it is: files (SHA-256 and mode), names of our ufw rules, a proof owed."""

    files: dict[str, str]
    rules: list[str]
    firewall_on: bool
    pending: bool

    def differs(self, path: str, content: str) -> bool:
        """True where the file must be written, or taken away if `content` is empty."""
        wanted = f"{hashlib.sha256(content.encode()).hexdigest()} 644" if content else "-"
        return self.files.get(path, "-") != wanted


class AccessState(BoxFact[Access]):
    """sshd's and ufw's settings, in one question."""

    @staticmethod
    def default() -> Access:
        return Access({}, [], False, False)

    def command(self, paths: list[str]) -> str:
        return (
            f'for f in {shlex.join(paths)}; do [ -f $f ] || {{ echo "file $f -"; continue; }}; '
            'echo "file $f $(sha256sum < $f | cut -c1-64) $(stat -c %a $f)"; done; '
            "[ -e /var/lib/deeprig/access/pending ] && echo pending; "
            "command -v ufw >/dev/null || exit 0; "
            # What `ufw status` looks at, without starting ufw, which takes longer than all else.
            f"sed -n 's/^### tuple ### .* comment={OURS}\\(\\([0-9a-f][0-9a-f]\\)*\\)$/rule \\1/p' "
            "/etc/ufw/user.rules /etc/ufw/user6.rules 2>/dev/null | sort -u; "
            "grep -qix 'ENABLED=\"*yes\"*' /etc/ufw/ufw.conf && "
            "iptables -n -L ufw-user-input >/dev/null 2>&1 || exit 0; "
            'for p in INPUT_POLICY=\\"DROP OUTPUT_POLICY=\\"ACCEPT FORWARD_POLICY=\\"ACCEPT; '
            'do grep -q "^DEFAULT_$p" /etc/default/ufw || exit 0; done && echo firewall on; true'
        )

    def process(self, output: list[str]) -> Access:
        lines = [line.strip().split(" ", 1) for line in output]
        files = (rest[0].split(" ", 1) for word, *rest in lines if word == "file")
        return Access(
            files={path: state for path, state in files},
            rules=[
                bytes.fromhex(rest[0]).decode(errors="replace")
                for word, *rest in lines
                if word == "rule"
            ],
            firewall_on=["firewall", "on"] in lines,
            pending=["pending"] in lines,
        )
