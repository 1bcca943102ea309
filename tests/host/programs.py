"""Programs that may hang in the kernel, asked on a box within a time of their own."""

from typing import NamedTuple

from testinfra.host import Host

from deeprig.ssh import bounded


class Answer(NamedTuple):
    """What a program said, and how it ended: 124 where it did not in time."""

    out: str
    status: int
    err: str = ""

    @property
    def text(self) -> str:
        return f"{self.out}\n{self.err}"


def ask(host: Host, *argv: str, seconds: int = bounded.SECONDS) -> Answer:
    """The answer of a program that is run as whoever asks. A driver that hangs takes no check
    with it.
    """
    done = host.run(bounded.command(*argv, seconds=seconds))
    return Answer(done.stdout, done.rc, done.stderr)
