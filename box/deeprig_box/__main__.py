"""`deeprig-box COMMAND ...`; `deeprig-box help` names the commands, `help COMMAND` says more."""

import contextlib
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from deeprig_box.lib.errors import BoxError

PRIVATE, USUAL = 0o077, 0o022


class Command(NamedTuple):
    """Its module, and what it runs in: a language for what it parses, and a umask; None is the
    caller's. What `converges` has `check` and `apply` (lib/standing.py). It takes `least` words.
    """

    module: str
    language: str | None = None
    umask: int | None = USUAL
    converges: bool = False
    least: int = 0


COMMANDS = {
    "apt-repository": Command("apt.repository", "C", converges=True, least=2),
    "as-user": Command("lib.run_as", umask=None, least=3),
    "boot-guard": Command("boot.guard", "C.UTF-8", converges=True),
    "boot-trial": Command("boot.trial", "C.UTF-8", converges=True),
    "bounded": Command("lib.bounded", umask=None, least=2),
    "data-disk": Command("storage.disk", "C", converges=True),
    "data-folder": Command("storage.folder", "C", converges=True),
    "driver-load": Command("nvidia.load", "C.UTF-8", converges=True),
    "driver-may-come": Command("driver.desired", "C.UTF-8", converges=True),
    "driver-move": Command("driver.cli", "C.UTF-8"),
    "driver-set": Command("driver.install", "C.UTF-8", converges=True),
    "driver-waiting": Command("nvidia.held_updates"),
    "home-links": Command("storage.home", umask=None, least=1),
    "job": Command("jobs.cli", umask=None),
    "job-window": Command("jobs.window", umask=PRIVATE, least=1),
    "notebook-guard": Command("notebook.guard", "C"),
    "notebook-kernels": Command("notebook.kernels", umask=None),
    "notebook-run": Command("notebook.run", umask=None, least=2),
    "notebook-server": Command("notebook.server", "C", converges=True),
    "passthrough-guest": Command("passthrough.guest", "C.UTF-8", converges=True),
    "passthrough-now": Command("passthrough.rebind", "C", umask=None, converges=True),
    "power-limits": Command("nvidia.power_limits", "C", umask=None),
    "python-env": Command("python.env"),
    "reboot-gate": Command("boot.gate", "C.UTF-8"),
    "tool-env": Command("python.tools"),
    "watch": Command("watch.cli", "C", umask=PRIVATE),
}


def main() -> None:
    """Run a command; one line on stderr and status 1 say what is wrong.

    Those that bring something about have `check`, a line of JSON (lib/standing.py), and `apply`.
    """
    name, *words = sys.argv[1:] or ["help"]
    if name in ("help", "--help", "-h"):
        print(told(words[0] if words else ""))
        return
    if name not in COMMANDS:
        sys.exit(f"deeprig-box has no command {name!r}; `deeprig-box help` names them.")
    if len(words) < COMMANDS[name].least:
        sys.exit(f"deeprig-box {name} lacks words; `deeprig-box help {name}` says what it takes.")
    sys.argv = [f"deeprig-box {name}", *words]
    with contextlib.suppress(OSError):  # what `ps` shows
        Path("/proc/self/comm").write_text(name)
    command = COMMANDS[name]
    if command.umask is not None:
        os.umask(command.umask)
    if command.language:
        os.environ["LC_ALL"] = command.language
    try:
        module = import_module(f"deeprig_box.{command.module}")
        if command.converges and words[:1] == ["check"]:
            print(json.dumps(module.check(words[1:])._asdict()))
        elif command.converges and words[:1] == ["apply"]:
            module.apply(words[1:])
        else:
            sys.exit(module.main())
    except BoxError as error:
        sentence = str(error)
        sys.exit(sentence if sentence.endswith((".", "?")) else f"{sentence}.")
    except OSError as error:
        sys.exit(f"{error.filename or 'The box'}: {error.strerror or error}.")


def told(name: str) -> str:
    """What a command takes; of no command, the names of all."""
    if name in COMMANDS:
        import ast  # for this alone

        path = Path(__file__).parent / f"{COMMANDS[name].module.replace('.', '/')}.py"
        return (ast.get_docstring(ast.parse(path.read_text())) or "").rstrip()
    return "\n".join(["deeprig-box COMMAND ..., or help COMMAND. Commands:", *COMMANDS])


if __name__ == "__main__":
    main()
