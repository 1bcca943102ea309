"""Sees what an operation yields before pyinfra runs it: only then is a change known as one."""

from collections.abc import Iterator

from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State


class Watch(BaseStateCallback):
    """Wraps the commands of each operation as it starts."""

    @staticmethod
    def operation_host_start(state: State, host: Host, op_hash: str) -> None:
        if not isinstance(host.connector, Watched) or op_hash not in state.ops[host]:
            return
        operation = state.get_op_data_for_host(host, op_hash)
        commands, connector = operation.command_generator, host.connector

        def seen() -> Iterator[PyinfraCommand]:
            for command in commands():
                connector.forget()
                connector.callback(isinstance(command, FunctionCommand))
                try:
                    yield command
                finally:
                    connector.callback(False)
                    connector.forget()

        operation.command_generator = seen


class Watched:
    """What a connector is that wants to be told."""

    def forget(self) -> None:
        """Something is about to change, or has changed."""
        raise NotImplementedError

    def callback(self, running: bool) -> None:
        """A Python function of the deploy runs now, or has ended: it may do anything."""
        raise NotImplementedError


def watch(state: State) -> None:
    """Have the connectors of a run told, once for each run."""
    if not any(isinstance(handler, Watch) for handler in state.callback_handlers):
        state.add_callback_handler(Watch())
