"""Says so when it was the link that failed, and not the box."""

import gevent
import paramiko
from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from deeprig import connection


def sentence(name: str, client: paramiko.SSHClient | None = None) -> str:
    """What a person reads when a box stops answering in the middle of a run."""
    return (
        f"{name} has not answered for {connection.patience(client)} seconds; see to its power and "
        "cable, then run the same command again: it goes on where this run ended."
    )


class Watch(BaseStateCallback):
    """After an operation that failed: was the link gone?"""

    @staticmethod
    def operation_host_error(
        state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        client = getattr(host.connector, "client", None)
        if connection.is_dead(client):
            logger.error(sentence(host.name, client))


def watch(state: State) -> None:
    """Have a run say it, once, however many hosts it has."""
    if not any(isinstance(handler, Watch) for handler in state.callback_handlers):
        state.add_callback_handler(Watch())
        # A link that fails while an operation asks something: pyinfra says it in one line, and
        # gevent would print the same once more, as a traceback.
        hub = gevent.get_hub()
        hub.NOT_ERROR = (*hub.NOT_ERROR, PyinfraError)
