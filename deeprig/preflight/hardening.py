"""What deeprig asks of sshd: never less than the owner of the box asks already."""

from collections.abc import Callable, Collection
from typing import NamedTuple

from deeprig.parsers.sshd import Said, one

Values = dict[str, str]
ALGORITHMS = ("KexAlgorithms", "Ciphers", "MACs", "HostKeyAlgorithms")
ROOT = ("no", "forced-commands-only", "prohibit-password", "yes")


class Option(NamedTuple):
    """A line of ours: what deeprig would have, and how strict a value is (less is stricter)."""

    keyword: str
    wanted: str
    looseness: Callable[[str], float]

    def chosen(self, own: Said) -> str:
        """The stricter of ours and the owner's."""
        theirs = one(own, self.keyword.lower(), self.wanted)
        return theirs if self.looseness(theirs) < self.looseness(self.wanted) else self.wanted


def _limited(text: str) -> float:
    """A number of seconds; 0 is without limit for sshd."""
    return float(text) if text.isdigit() and int(text) else float("inf")


def _root(text: str) -> float:
    text = text.replace("without-password", "prohibit-password")  # the older name of the same
    return float(ROOT.index(text)) if text in ROOT else float("inf")


def _off(text: str) -> float:
    return float(text != "no")


OPTIONS = (
    Option("PasswordAuthentication", "no", _off),
    Option("KbdInteractiveAuthentication", "no", _off),
    Option("PermitRootLogin", "prohibit-password", _root),
    Option("LoginGraceTime", "30", _limited),
    Option("ClientAliveInterval", "60", _limited),
    Option("X11Forwarding", "no", _off),
)
ALIVE = "ClientAliveCountMax"


def choose(own: Said) -> Values:
    """Each line with its value, for a box whose sshd says `own` without ours."""
    values = {option.keyword: option.chosen(own) for option in OPTIONS}
    # The two make one limit: whoever has set it keeps both.
    if one(own, "clientaliveinterval", "0") not in ("", "0"):
        values["ClientAliveInterval"] = one(own, "clientaliveinterval")
        values[ALIVE] = one(own, ALIVE.lower(), "3")
    else:
        values[ALIVE] = "5"
    return values


def narrowed(
    keyword: str, ours: tuple[str, ...], own: Said, client: Collection[str]
) -> tuple[str, ...]:
    """Our algorithms without those that the owner does not offer.

    Theirs, as they are, where the `client` that came in by one of them would know none of the rest.
    """
    theirs = tuple(one(own, keyword.lower()).split(","))
    both = tuple(name for name in ours if name in theirs)
    if theirs == ("",) or (set(both) & {*client}):
        return ours if theirs == ("",) else both
    return theirs if {*theirs} & {*client} else (both or theirs)


def looser(before: Said, after: Said) -> list[str]:
    """Every line of ours that would allow more than what stood there, in words."""
    sentences = []
    for option in OPTIONS:
        was, now = (one(settings, option.keyword.lower(), "?") for settings in (before, after))
        if "?" not in (was, now) and option.looseness(now) > option.looseness(was):
            sentences.append(f"{option.keyword} was {was} and would be {now}")
    for keyword in ALGORITHMS:
        was_list, now_list = (
            one(settings, keyword.lower()).split(",") for settings in (before, after)
        )
        if more := [name for name in now_list if name not in was_list]:
            sentences.append(f"{keyword} would offer {', '.join(more)} as well")
    return sentences
