"""What sshd decides for an account, and what deeprig may ask of it."""

import paramiko
import pytest

from deeprig.facts.survey import read
from deeprig.parsers import door, ssh_socket, sshd
from deeprig.parsers.ssh_socket import Socket
from deeprig.parsers.sshd import Account, Said
from deeprig.parsers.untrusted import NotSo
from deeprig.preflight import hardening, ssh_algorithms
from deeprig.settings import Ssh
from tasks import access, ssh
from tasks.access_facts import Answer
from tests.unit.recorded import DEBIAN_12, DEBIAN_13

ANNA = Account("anna", ("anna", "users"), "192.168.1.5")
# As OpenSSH 10.0 on Debian 13 prints it, shortened.
USUAL = """\
port 22
permitrootlogin without-password
pubkeyauthentication yes
passwordauthentication no
kbdinteractiveauthentication no
authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2
authenticationmethods any
pubkeyacceptedalgorithms ssh-ed25519,rsa-sha2-512,rsa-sha2-256
requiredrsasize 1024
logingracetime 120
clientaliveinterval 0
clientalivecountmax 3
x11forwarding yes
""".splitlines()
TWO_FACTORS = "authenticationmethods publickey,keyboard-interactive"


def said(*lines: str, without: str = "-") -> Said:
    """Those lines in the place of sshd's own of the same keyword."""
    new = {line.split(" ")[0] for line in lines} | {without}
    return sshd.read([line for line in USUAL if line.split(" ")[0] not in new] + [*lines])


@pytest.mark.parametrize(
    ("lines", "by"),
    [
        ([], ""),
        (["allowusers ai", "allowusers deeprig"], "AllowUsers ai deeprig"),
        (["allowusers ai", "allowusers an*"], ""),
        (["allowusers anna@192.168.1.*"], ""),
        (["allowusers anna@192.168.0.0/16"], ""),
        (["allowusers anna@10.0.0.0/8"], "AllowUsers anna@10.0.0.0/8"),
        (["denyusers anna"], "DenyUsers anna"),
        (["denyusers *", "allowusers anna"], "DenyUsers *"),
        (["allowgroups ssh"], "AllowGroups ssh"),
        (["allowgroups ssh users"], ""),
        (["allowgroups !users *"], "AllowGroups !users *"),
        (["denygroups users"], "DenyGroups users"),
        (["pubkeyauthentication no"], "PubkeyAuthentication no"),
        (
            [TWO_FACTORS],
            "KbdInteractiveAuthentication no, while AuthenticationMethods asks for "
            "publickey,keyboard-interactive",
        ),
        ([f"{TWO_FACTORS} publickey"], ""),
        ([TWO_FACTORS, "kbdinteractiveauthentication yes"], ""),
        (["authorizedkeysfile none"], "AuthorizedKeysFile none"),
        (["authorizedkeysfile none", "authorizedkeyscommand /usr/bin/sss_ssh_authorizedkeys"], ""),
    ],
)
def test_who_is_let_in_and_by_what_not(lines: list[str], by: str) -> None:
    assert sshd.shut_out(ANNA, said(*lines)) == by


@pytest.mark.parametrize(
    ("lines", "ports"),
    [
        (["port 22"], {22}),
        (["port 22", "port 2022"], {22, 2022}),
        (["port 22", "listenaddress [::]:22", "listenaddress 0.0.0.0:22"], {22}),
        (["port 22", "listenaddress 192.168.1.9:2022", "listenaddress 127.0.0.1:22"], {2022}),
        (["port 22", "listenaddress fe80::1%eth0:22", "listenaddress [::1]:2022"], {22}),
    ],
)
def test_where_sshd_listens_beyond_loopback(lines: list[str], ports: set[int]) -> None:
    assert sshd.ports(said(*lines)) == ports


def test_root_and_keys() -> None:
    root = Account("root", ("root",))
    assert sshd.shut_out(root, said()) == ""
    assert sshd.shut_out(root, said("permitrootlogin no")) == "PermitRootLogin no"
    short = paramiko.RSAKey.generate(2048)
    anna = ANNA._replace(keys=(f"ssh-rsa {short.get_base64()} anna",))
    assert sshd.shut_out(anna, said()) == ""
    assert "RequiredRSASize 3072" in sshd.shut_out(anna, said("requiredrsasize 3072"))
    only = "pubkeyacceptedalgorithms ssh-ed25519"
    assert "lacks ssh-rsa" in sshd.shut_out(anna, said(only))


def test_who_came_in_before_and_would_not_after_is_said_with_the_way_out() -> None:
    way = access.Way(port=22, dialled=22, people=(("anna", ()), ("new", ())))
    before = Answer({}, {"anna": (ANNA, said(TWO_FACTORS, "kbdinteractiveauthentication yes"))})
    after = Answer({}, {"anna": (ANNA, said(TWO_FACTORS))})
    [sentence] = access.locked_out(way, before, after)
    assert sentence.startswith("anna would be locked out, by KbdInteractiveAuthentication no")
    assert "Match User anna" in sentence
    assert access.locked_out(way, after, after) == []  # nor before


@pytest.mark.parametrize(
    ("lines", "keyword"),
    [
        ([], ""),
        (["passwordauthentication yes"], "PasswordAuthentication"),
        (["kbdinteractiveauthentication yes"], "KbdInteractiveAuthentication"),
    ],
)
def test_who_may_come_in_without_a_key(lines: list[str], keyword: str) -> None:
    assert sshd.by_password(said(*lines)) == keyword
    assert sshd.by_password({}) == ""  # sshd that says nothing


@pytest.mark.parametrize(
    ("line", "keyword", "value"),
    [
        ("permitrootlogin no", "PermitRootLogin", "no"),
        ("permitrootlogin forced-commands-only", "PermitRootLogin", "forced-commands-only"),
        ("permitrootlogin yes", "PermitRootLogin", "prohibit-password"),
        ("permitrootlogin without-password", "PermitRootLogin", "prohibit-password"),
        ("logingracetime 10", "LoginGraceTime", "10"),
        ("logingracetime 0", "LoginGraceTime", "30"),
        ("clientaliveinterval 300", "ClientAliveInterval", "300"),
        ("clientaliveinterval 15", "ClientAliveInterval", "15"),
        ("clientaliveinterval 0", "ClientAliveInterval", "60"),
        ("x11forwarding no", "X11Forwarding", "no"),
        ("passwordauthentication yes", "PasswordAuthentication", "no"),
    ],
)
def test_the_stricter_of_ours_and_the_owners_stands(line: str, keyword: str, value: str) -> None:
    assert hardening.choose(said(line))[keyword] == value


def test_no_line_of_ours_is_looser_than_the_owners() -> None:
    """Every line of the file that is written, against owners who are stricter than we are."""
    strict = said(
        "permitrootlogin no", "logingracetime 5", "clientaliveinterval 15", "x11forwarding no",
        "kexalgorithms curve25519-sha256", "ciphers aes256-gcm@openssh.com,aes128-ctr",
        "macs hmac-sha2-512-etm@openssh.com", "hostkeyalgorithms ssh-ed25519",
        "requiredrsasize 4096", "allowtcpforwarding local", "allowagentforwarding no",
        "pubkeyauthentication no",
    )  # fmt: skip
    for lines in (DEBIAN_13, DEBIAN_12):
        for settings in (Ssh(), Ssh(strict=True)):
            text = ssh.contents(settings, survey=read(lines), own=strict, socket=Socket())
            written = [line for line in text[ssh.DROP_IN].splitlines() if line and line[0] != "#"]
            words = [line.split(" ", 1) for line in written if not line.startswith("HostKey ")]
            known = {option.keyword for option in hardening.OPTIONS}
            known |= {*hardening.ALGORITHMS, hardening.ALIVE, "RequiredRSASize"}
            assert {keyword for keyword, _ in words} <= known  # a new line needs its measure
            after = strict | {keyword.lower(): (value,) for keyword, value in words}
            assert hardening.looser(strict, after) == []
            assert after["requiredrsasize"] == ("4096",)


@pytest.mark.parametrize(
    ("own", "left"),
    [
        ("", ("a", "b", "c")),
        ("c,a,x", ("a", "c")),
        ("a,x", ("a", "x")),  # we came in by x, and know no a
        ("y,z", ("y", "z")),
    ],
)
def test_no_algorithm_goes_that_the_client_needs(own: str, left: tuple[str, ...]) -> None:
    theirs = {"macs": (own,)} if own else {}
    assert hardening.narrowed("MACs", ("a", "b", "c"), theirs, ("c", "x")) == left


def test_what_is_looser_is_named() -> None:
    after = said("permitrootlogin yes", "kexalgorithms a,b")
    assert hardening.looser(said("permitrootlogin no", "kexalgorithms a"), after) == [
        "PermitRootLogin was no and would be yes",
        "KexAlgorithms would offer b as well",
    ]


def test_the_certificates_of_a_host_are_offered() -> None:
    for lines, strict in ((DEBIAN_13, False), (DEBIAN_12, True)):
        keys = ssh_algorithms.choose(read(lines), strict=strict).host_keys
        assert {"ssh-ed25519-cert-v01@openssh.com", "rsa-sha2-512-cert-v01@openssh.com",
                "rsa-sha2-256-cert-v01@openssh.com"} <= {*keys}  # fmt: skip


# `systemctl show -p Listen` and `systemctl cat` of Ubuntu 24.04's unit, with its generator.
UBUNTU = """\
Listen=0.0.0.0:22 (Stream)
Listen=[::]:22 (Stream)
# /usr/lib/systemd/system/ssh.socket
[Socket]
ListenStream=0.0.0.0:22
ListenStream=[::]:22
BindIPv6Only=ipv6-only
""".splitlines()


@pytest.mark.parametrize(
    ("lines", "listens", "base"),
    [
        (UBUNTU, ["0.0.0.0:2222", "[::]:2222"], (22,)),
        (["Listen=[::]:22 (Stream)"], ["0.0.0.0:2222", "[::]:2222"], ()),
        (["Listen=0.0.0.0:22 (Stream)"], ["0.0.0.0:2222"], ()),
        (["Listen=192.168.1.9:22 (Stream)"], ["192.168.1.9:2222"], ()),
        ([], ["0.0.0.0:2222", "[::]:2222"], ()),
    ],
)
def test_a_socket_moves_with_its_addresses(
    lines: list[str], listens: list[str], base: tuple[int, ...]
) -> None:
    socket = ssh_socket.read(lines)
    assert socket.at(2222) == listens
    assert socket.base == base
    survey = read([*DEBIAN_13[:-1], "ssh_socket=enabled"])
    text = ssh.contents(Ssh(port=2222), survey=survey, own={}, socket=socket)[ssh.SOCKET_DROP_IN]
    assert [line for line in text.splitlines() if line.startswith("ListenStream=")] == [
        "ListenStream=", *(f"ListenStream={each}" for each in listens)
    ]  # fmt: skip


def test_where_the_socket_would_listen_without_ours() -> None:
    ours = [f"# {ssh_socket.DROP_IN}", "ListenStream=", "ListenStream=0.0.0.0:2222"]
    owners = [
        "# /etc/systemd/system/ssh.socket.d/override.conf",
        "ListenStream=",
        "ListenStream=2022",
    ]
    assert ssh_socket.read([*UBUNTU, *ours]).base == (22,)
    both = ssh_socket.read([*UBUNTU, *ours, *owners])
    assert both.base == (2022,)
    generated = ["# /run/systemd/generator/ssh.socket.d/addresses.conf", "ListenStream=",
                 "ListenStream=0.0.0.0:2222"]  # fmt: skip
    assert ssh_socket.read([*UBUNTU, *generated]).base == ()  # sshd's own settings say


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("203.0.113.7 192.168.1.9 22 eth0", door.Door("203.0.113.7", "192.168.1.9", 22, "eth0")),
        ("fe80::1%eth0 fe80::2%eth0 22", door.Door("fe80::1", "fe80::2", 22)),
        ("::ffff:10.0.0.1 ::ffff:10.0.0.2 22 eth0", door.Door("10.0.0.1", "10.0.0.2", 22, "eth0")),
    ],
)
def test_a_connection_as_the_box_sees_it(line: str, there: door.Door) -> None:
    assert door.read(line) == there


@pytest.mark.parametrize("line", ["a b 22", "10.0.0.1 10.0.0.2 0 eth0", "10.0.0.1 10.0.0.2 22 -x"])
def test_what_is_no_connection_is_refused(line: str) -> None:
    with pytest.raises(NotSo):
        door.read(line)


@pytest.mark.parametrize(
    "line",
    ["requiredrsasize x", "requiredrsasize \u00b2", "logingracetime \u00b2", "port 99999",
     "clientaliveinterval -1", "clientalivecountmax " + "9" * 5000, "listenaddress 0.0.0.0:99999",
     "listenaddress 10.0.0.2:x", "listenaddress [::]"],
)  # fmt: skip
def test_a_number_that_is_none_is_refused_where_it_is_read(line: str) -> None:
    """Else one box ends the run of all: nothing there expects that a number is none."""
    with pytest.raises(NotSo):
        sshd.read(["permitrootlogin no", line])


def test_an_address_may_name_its_routing_table() -> None:
    said = sshd.read(["port 22", "listenaddress 10.0.0.2:2222 rdomain vrf-mgmt"])
    assert sshd.ports(said) == {2222}
