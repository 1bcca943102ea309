"""Which algorithms sshd offers on a box, and whether our own client could still get in."""

from dataclasses import dataclass
from typing import Any

import paramiko

from deeprig import catalog
from deeprig.facts.survey import Survey


@dataclass(frozen=True, kw_only=True)
class Algorithms:
    """What goes into sshd's settings, in order of preference."""

    kex: tuple[str, ...]
    ciphers: tuple[str, ...]
    macs: tuple[str, ...]
    host_keys: tuple[str, ...]
    rsa_4096: bool = False
    policy: str = ""


def choose(survey: Survey, *, strict: bool) -> Algorithms:
    """The usual algorithms or, if strict, ssh-audit's policy; always those the box's sshd knows."""
    usual = catalog.load("ssh_algorithms")["usual"]
    row = _strict_row(survey) if strict else {}
    names = {**usual, **row}
    return Algorithms(
        kex=tuple(name for name in names["kex"] if name in survey.kex),
        ciphers=tuple(name for name in names["ciphers"] if name in survey.ciphers),
        macs=tuple(name for name in names["macs"] if name in survey.macs),
        host_keys=tuple(names["host_keys"]),
        rsa_4096=row.get("rsa_4096", False),
        policy=row.get("policy", ""),
    )


def _strict_row(survey: Survey) -> dict[str, Any]:
    system = f"{survey.system}-{survey.version}"
    rows = catalog.load("ssh_algorithms")["strict"]
    row_of_system: dict[str, Any] = next((row for row in rows if row["system"] == system), {})
    return row_of_system


def known(keyword: str) -> tuple[str, ...]:
    """What the SSH client that pyinfra brings (paramiko) can do, by sshd's word for the kind."""
    kinds = {"KexAlgorithms": "kex", "Ciphers": "ciphers", "MACs": "macs"}
    algorithms: tuple[str, ...] = getattr(  # untyped there
        paramiko.Transport, f"_preferred_{kinds.get(keyword, 'keys')}"
    )
    return algorithms


def objections(survey: Survey, *, strict: bool) -> list[str]:
    """Why these algorithms would lock out the SSH client that pyinfra brings (paramiko)."""
    offered = choose(survey, strict=strict)
    if set(offered.kex) & set(known("KexAlgorithms")):
        return []
    return [
        f"Ssh.strict is True, which leaves {', '.join(offered.kex) or 'nothing'} for the key "
        f"exchange, and paramiko {paramiko.__version__} here knows none of them: deeprig would "
        "lock itself out; leave strict off until pyinfra takes paramiko 5."
    ]
