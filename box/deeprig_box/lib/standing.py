"""How what a command looks after stands: what `check` says of it, and what `apply` would mend."""

from typing import NamedTuple

OK, OWED, LATER, REFUSED = "ok", "owed", "later", "refused"


class Standing(NamedTuple):
    """`say` is for the person who watches: why it is so, or what they should know all the same."""

    state: str
    say: str = ""
