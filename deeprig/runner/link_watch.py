"""Says so when it was the link that failed, and not the box."""

import gevent
import paramiko
from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from deeprig.ssh import connection


def sentence(name: str, link: paramiko.Transport | None = None) -> str:
    """What a person reads when a box stops answering in the middle of a run."""
    return (
        f"{name} has not answered for {connection.patience(link)} seconds; see to its power and "
        "cable, then run the same command again: it goes on where this run ended."
    )


class Watch(BaseStateCallback):
    """For a box that a run lost: was the link gone?"""

    @staticmethod
    def operation_host_error(
        state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        link = connection.dead_link(getattr(host.connector, "client", None))
        if link and not hasattr(host.connector, "lost"):
            logger.error(sentence(host.name, link))

    @staticmethod
    def host_disconnect(state: State, host: Host) -> None:
        """The fast connector remembers it, also where a question failed and no operation."""
        link = getattr(host.connector, "lost", None)
        if link and host in state.failed_hosts:
            logger.error(sentence(host.name, link))


def watch(state: State) -> None:
    """Have a run say it, once, however many hosts it has."""
    if not any(isinstance(handler, Watch) for handler in state.callback_handlers):
        state.add_callback_handler(Watch())
        print_no_traceback(of=PyinfraError)  # a link that fails while an operation asks something


def print_no_traceback(*, of: type[BaseException]) -> None:
    """Of an error that is said in words where it ends; gevent would print it once more before."""
    hub = gevent.get_hub()
    if of not in hub.NOT_ERROR:
        hub.NOT_ERROR = (*hub.NOT_ERROR, of)
