"""sshd's settings: keys only, algorithms for the OpenSSH on the box, one port."""

from deeprig import operations
from deeprig.facts.survey import Survey
from deeprig.operations import files
from deeprig.parsers import ssh_socket
from deeprig.parsers.sshd import Said, one
from deeprig.preflight import hardening, ssh_algorithms
from deeprig.preflight.hardening import narrowed
from deeprig.settings import Ssh

DROP_IN = "/etc/ssh/sshd_config.d/10-deeprig.conf"
SOCKET_DROP_IN = ssh_socket.DROP_IN
HOST_KEYS = ("/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key")
SHORTEST_RSA = 3072


def contents(
    settings: Ssh, *, survey: Survey, own: Said, socket: ssh_socket.Socket
) -> dict[str, str]:
    """The files that make the settings hold, path to content; "" for one that must not be there.

    `own` is what sshd says without deeprig's files: what is stricter there stays as strict.
    """
    offered = ssh_algorithms.choose(survey, strict=settings.strict)
    rsa_bits = max(SHORTEST_RSA, int(one(own, "requiredrsasize", "0") or 0))
    drop_in = files.render(
        DROP_IN,
        port=settings.port,
        hardening=hardening.choose(own),
        strict=settings.strict,
        rsa_bits=rsa_bits if survey.openssh_version >= (9, 1) else 0,
        kex=_both("KexAlgorithms", offered.kex, own),
        ciphers=_both("Ciphers", offered.ciphers, own),
        macs=_both("MACs", offered.macs, own),
        host_keys=_both("HostKeyAlgorithms", offered.host_keys, own),
        host_key_files=HOST_KEYS if offered.rsa_4096 else HOST_KEYS[:1],
    )
    # sshd ignores `Port` where systemd holds the socket, and Debian has no generator for it.
    moved = (
        files.render(SOCKET_DROP_IN, listen=socket.at(settings.port))
        if survey.ssh_socket and settings.port
        else ""
    )
    return {DROP_IN: drop_in, SOCKET_DROP_IN: moved}


def _both(keyword: str, ours: tuple[str, ...], own: Said) -> tuple[str, ...]:
    return narrowed(keyword, ours, own, ssh_algorithms.known(keyword))


RSA_IS_STRONG = f"ssh-keygen -lf {HOST_KEYS[1]}.pub | grep '^4096 '"
# Part of what is proved, and taken back with it: whoever has pinned this key must still get in.
MAKE_RSA = (
    f"n={HOST_KEYS[1]}.deeprig; rm -f $n $n.pub; ssh-keygen -q -t rsa -b 4096 -N '' -f $n && "
    f"mv -f $n.pub {HOST_KEYS[1]}.pub && mv -f $n {HOST_KEYS[1]}"
)
RSA_GOES = (
    "The RSA host key is replaced by one of 4096 bits: whoever has pinned that one alone takes the "
    "Ed25519 one, which stays."
)


def strong_rsa(settings: Ssh, survey: Survey) -> bool:
    """Whether the policy wants an RSA host key of 4096 bits."""
    return settings.strict and ssh_algorithms.choose(survey, strict=True).rsa_4096


def strengthen_moduli(survey: Survey) -> None:
    """What ssh-audit's policy wants of moduli beside sshd's settings."""
    offered = ssh_algorithms.choose(survey, strict=True)
    if any("group-exchange" in name for name in offered.kex):
        weak = "$1 !~ /^#/ && $5 < 3071"
        operations.shell(
            name="Drop Diffie-Hellman moduli below 3072 bits",
            unless=f"awk '{weak} {{w = 1}} END {{if (!w) print \"strong\"}}' /etc/ssh/moduli",
            commands=[
                f"awk '!({weak})' /etc/ssh/moduli > /etc/ssh/moduli.deeprig && "
                "mv /etc/ssh/moduli.deeprig /etc/ssh/moduli"
            ],
        )
