"""What sshd would decide: its own answer for one account (`sshd -T -C`), read and judged."""

import fnmatch
import ipaddress
from base64 import b64decode
from collections.abc import Iterable
from typing import NamedTuple

import paramiko

from deeprig.parsers import untrusted

Said = dict[str, tuple[str, ...]]  # keyword in small letters to its values, one for each line

MOST_LINES = 1000
# What each method of AuthenticationMethods needs, beside a client that can do it.
NEEDS = {
    "publickey": "pubkeyauthentication",
    "password": "passwordauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "hostbased": "hostbasedauthentication",
    "gssapi-with-mic": "gssapiauthentication",
}
KEYWORDS = {
    "pubkeyauthentication": "PubkeyAuthentication",
    "passwordauthentication": "PasswordAuthentication",
    "kbdinteractiveauthentication": "KbdInteractiveAuthentication",
    "hostbasedauthentication": "HostbasedAuthentication",
    "gssapiauthentication": "GSSAPIAuthentication",
}

# What is counted with later: a box that says something else is refused where it is read.
NUMBERS = {
    "port": (1, 65535),
    "requiredrsasize": (0, 65536),
    "logingracetime": (0, 2**31),
    "clientaliveinterval": (0, 2**31),
    "clientalivecountmax": (0, 2**31),
}

_keyword = untrusted.parser("keyword of sshd's", r"[a-z0-9]{2,60}", 60)
_group = untrusted.parser("group", r"[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,63}", 64)


class Account(NamedTuple):
    """Somebody of the box, their groups, where they come from, and their keys where known."""

    name: str
    groups: tuple[str, ...] = ()
    address: str = ""
    keys: tuple[str, ...] = ()


def read(lines: Iterable[str]) -> Said:
    """What `sshd -T` printed. Raises NotSo."""
    values_of: dict[str, list[str]] = {}
    for number, line in enumerate(lines):
        if number >= MOST_LINES:
            raise untrusted.NotSo("sshd -T prints no end of settings")
        keyword, _, value = line.strip().partition(" ")
        values_of.setdefault(_keyword(keyword), []).append(value)
    settings = {keyword: tuple(values) for keyword, values in values_of.items()}
    for keyword, (low, high) in NUMBERS.items():
        for value in settings.get(keyword, ()):
            untrusted.number(value, low, high)
    ports(settings)
    return settings


def group(text: str) -> str:
    """The name, if it may be a group's; raises NotSo."""
    return _group(text)


def one(said: Said, keyword: str, default: str = "") -> str:
    """The value of a keyword that stands once."""
    return said.get(keyword, (default,))[0]


def ports(said: Said) -> set[int]:
    """Where sshd listens beyond loopback, where it opens its ports itself. Raises NotSo.

    An address may bring its own port, whatever `Port` says.
    """
    listens = said.get("listenaddress", ())
    addresses = [value.partition(" ")[0] for value in listens]  # before `rdomain X`
    places = [address.rpartition(":") for address in addresses]
    beyond = [port for address, _, port in places if not _is_loopback(address)]
    numbers = beyond if places else said.get("port", ())
    return {untrusted.number(value, 1, 65535) for value in numbers}


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def shut_out(who: Account, said: Said) -> str:
    """By which setting of sshd's this account gets in with no key; empty where it does."""
    if by := _not_named(who, said):
        return by
    if who.name == "root" and one(said, "permitrootlogin") == "no":
        return "PermitRootLogin no"
    lists = [methods.split(",") for value in said.get("authenticationmethods", ("any",))
             for methods in value.split()]  # fmt: skip
    if ["any"] in lists:
        lists = [["publickey"]]
    lacking = [[method for method in methods if not _usable(method, said)] for methods in lists]
    if all(lacking):
        needed = NEEDS.get(lacking[0][0].partition(":")[0], "")
        methods_asked = " ".join(said.get("authenticationmethods", ("any",)))
        by = f"{KEYWORDS.get(needed, lacking[0][0])} no"
        return (
            by
            if methods_asked == "any"
            else f"{by}, while AuthenticationMethods asks for {methods_asked}"
        )
    if any("publickey" in method for methods in lists for method in methods):
        files = one(said, "authorizedkeysfile", ".ssh/authorized_keys")
        if files == "none" and one(said, "authorizedkeyscommand", "none") == "none":
            return "AuthorizedKeysFile none"
        return _no_key(who, said)
    return ""


def _no_key(who: Account, said: Said) -> str:
    """By what none of their keys is taken; empty where one is, or where none is known."""
    accepted = one(said, "pubkeyacceptedalgorithms").split(",")
    shortest = int(one(said, "requiredrsasize", "0"))
    why = ""
    for line in who.keys:
        kind, text = line.split()[:2]
        names = [kind, "rsa-sha2-256", "rsa-sha2-512"] if kind == "ssh-rsa" else [kind]
        if accepted != [""] and not set(names) & set(accepted):
            why = f"PubkeyAcceptedAlgorithms, which lacks {kind}"
        elif kind == "ssh-rsa" and paramiko.RSAKey(data=b64decode(text)).get_bits() < shortest:
            why = f"RequiredRSASize {shortest}, which their key is too short for"
        else:
            return ""
    return why


def by_password(said: Said) -> str:
    """The setting by which somebody gets in with a password or a code; empty where nobody does."""
    both = ("passwordauthentication", "kbdinteractiveauthentication")
    return next((KEYWORDS[key] for key in both if one(said, key, "no") != "no"), "")


def by_key_alone(said: Said) -> bool:
    """Whether a key is enough, by what AuthenticationMethods asks for."""
    methods = " ".join(said.get("authenticationmethods", ("any",))).split()
    return bool({"any", "publickey"} & {*methods})


def _usable(method: str, said: Said) -> bool:
    name = method.partition(":")[0]
    return one(said, NEEDS.get(name, name), "no") == "yes"


def _not_named(who: Account, said: Said) -> str:
    """As sshd's allowed_user: those denied, then those allowed, by name and then by group."""
    named = {key: _patterns(said, key) for key in
             ("denyusers", "allowusers", "denygroups", "allowgroups")}  # fmt: skip
    for pattern in named["denyusers"]:
        if _is_user(who, pattern):
            return f"DenyUsers {pattern}"
    if named["allowusers"] and not any(_is_user(who, p) for p in named["allowusers"]):
        return f"AllowUsers {' '.join(named['allowusers'])}"
    for pattern in named["denygroups"]:
        if _matches(who.groups, [pattern]):
            return f"DenyGroups {pattern}"
    if named["allowgroups"] and not _matches(who.groups, named["allowgroups"]):
        return f"AllowGroups {' '.join(named['allowgroups'])}"
    return ""


def _patterns(said: Said, keyword: str) -> list[str]:
    return [pattern for value in said.get(keyword, ()) for pattern in value.split()]


def _is_user(who: Account, pattern: str) -> bool:
    user, at, host = pattern.rpartition("@")
    if not at:
        return _matches((who.name,), [host])
    return _matches((who.name,), [user]) and _is_host(who.address, host)


def _is_host(address: str, pattern: str) -> bool:
    if "/" in pattern:
        try:
            return ipaddress.ip_address(address) in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    return _matches((address,), [pattern])


def _matches(names: Iterable[str], patterns: Iterable[str]) -> bool:
    """As sshd's match_pattern: `*` and `?`; `!` before a pattern takes a match away."""
    matched = False
    for pattern in patterns:
        bare = pattern.removeprefix("!").replace("[", "[[]")
        if any(fnmatch.fnmatchcase(name, bare) for name in names):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched
