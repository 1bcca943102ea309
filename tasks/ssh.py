"""sshd's settings: keys only, algorithms for the OpenSSH on the box, one port."""

from deeprig import ssh_algorithms
from deeprig.settings import Ssh
from deeprig.survey import Survey
from tasks import config_files, operations

DROP_IN = "/etc/ssh/sshd_config.d/10-deeprig.conf"
SOCKET_DROP_IN = "/etc/systemd/system/ssh.socket.d/50-deeprig.conf"
HOST_KEYS = ("/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key")


def files(settings: Ssh, *, survey: Survey) -> dict[str, str]:
    """The files that make the settings hold, path to content; "" for one that must not be there."""
    offered = ssh_algorithms.choose(survey, strict=settings.strict)
    drop_in = config_files.render(
        DROP_IN,
        port=settings.port,
        strict=settings.strict,
        openssh=survey.openssh_version,
        kex=offered.kex,
        ciphers=offered.ciphers,
        macs=offered.macs,
        host_keys=offered.host_keys,
        host_key_files=HOST_KEYS if offered.rsa_4096 else HOST_KEYS[:1],
    )
    # sshd ignores `Port` where systemd holds the socket, and Debian has no generator for it.
    moved_socket = survey.ssh_socket and settings.port
    socket = config_files.render(SOCKET_DROP_IN, port=settings.port) if moved_socket else ""
    return {DROP_IN: drop_in, SOCKET_DROP_IN: socket}


def strengthen_host_keys(survey: Survey) -> None:
    """What ssh-audit's policy wants of host keys and moduli beside sshd's settings."""
    offered = ssh_algorithms.choose(survey, strict=True)
    if offered.rsa_4096:
        key = HOST_KEYS[1]
        operations.bring_about(
            name="Make the RSA host key anew with 4096 bits, the Ed25519 one stays",
            holds=f"ssh-keygen -lf {key}.pub | grep '^4096 '",
            commands=[f"rm -f {key} {key}.pub && ssh-keygen -q -t rsa -b 4096 -N '' -f {key}"],
        )
    if any("group-exchange" in name for name in offered.kex):
        weak = "$1 !~ /^#/ && $5 < 3071"
        operations.bring_about(
            name="Drop Diffie-Hellman moduli below 3072 bits",
            holds=f"awk '{weak} {{w = 1}} END {{if (!w) print \"strong\"}}' /etc/ssh/moduli",
            commands=[
                f"awk '!({weak})' /etc/ssh/moduli > /etc/ssh/moduli.deeprig && "
                "mv /etc/ssh/moduli.deeprig /etc/ssh/moduli"
            ],
        )
