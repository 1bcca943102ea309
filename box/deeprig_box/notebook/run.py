"""A notebook run from its first cell to its last, and kept with its outputs after every cell.

Called with SOURCE and RESULT by the tools' Python, as the work user. What its cells print stands in
the job's log while they run. Exit status 1 where a cell failed; what was run up to there is kept.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

USUAL_KERNEL = "deeprig-base"
START_SECONDS = 180


class Client(NotebookClient):  # type: ignore[misc]
    """Shows what cells say as they say it, and nobody else hears it."""

    folder = ""  # this user's alone

    def create_kernel_manager(self) -> Any:
        """By sockets in a folder: ports of loopback tell any account what is run and printed."""
        made = super().create_kernel_manager()
        made.transport = "ipc"
        made.connection_file = str(Path(self.folder, "kernel.json"))
        return made

    def output(self, outs: list[Any], msg: dict[str, Any], display_id: str, cell_index: int) -> Any:
        content = msg["content"]
        if msg["msg_type"] == "stream":
            print(content["text"], end="", flush=True)
        elif msg["msg_type"] == "error":
            print("\n".join(content["traceback"]), flush=True)
        elif "text/plain" in content.get("data", {}):
            print(content["data"]["text/plain"], flush=True)
        return super().output(outs, msg, display_id, cell_index)


def kernel(notebook: Any) -> str:
    """The one that the notebook names, if the box has it."""
    named = notebook.metadata.get("kernelspec", {}).get("name", "")
    have = KernelSpecManager(ensure_native_kernel=False).find_kernel_specs()
    if named in have:
        return str(named)
    if USUAL_KERNEL not in have:
        sys.exit(f"There is neither a kernel {named!r} nor {USUAL_KERNEL} here; deploy again.")
    if named:
        print(f"There is no kernel {named!r} here; it runs in {USUAL_KERNEL}.", flush=True)
    return USUAL_KERNEL


def save(notebook: Any, result: Path) -> None:
    new = result.with_name(f".{result.name}.new")
    nbformat.write(notebook, new)
    new.replace(result)


def stop(*_: object) -> None:
    raise SystemExit(143)


def main() -> None:
    source, result = map(Path, sys.argv[1:])
    try:
        notebook = nbformat.read(source, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError, KeyError):
        sys.exit(f"{source} is no notebook that can be read; open it in JupyterLab.")
    cells = [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    client = Client(
        notebook, kernel_name=kernel(notebook), timeout=None, startup_timeout=START_SECONDS,
        resources={"metadata": {"path": str(result.parent)}},
    )  # fmt: skip
    client.on_cell_execute = lambda cell, cell_index: print(
        f"--- cell {cells.index(cell_index) + 1} of {len(cells)}", flush=True
    )
    client.on_cell_executed = lambda **_: save(notebook, result)
    signal.signal(signal.SIGTERM, stop)
    try:
        with tempfile.TemporaryDirectory(dir=os.environ.get("XDG_RUNTIME_DIR")) as client.folder:
            client.execute()
    except CellExecutionError as error:
        sys.exit(f"A cell failed: {error.ename}: {error.evalue}")
    except DeadKernelError:
        sys.exit("The kernel died; was the memory full? `journalctl -k -g oom` says.")
    finally:
        save(notebook, result)
        print(f"Kept with its outputs: {result}", flush=True)
