"""Make the work user's environment ~/envs/NAME and its kernel, or say what stands (--check).

The work user runs it.
Exit status 0 when done, 1 after one line on stderr that says what is wrong.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
from pathlib import Path

from deeprig_box.lib import files
from deeprig_box.lib.errors import BoxError
from deeprig_box.python.step import UV, alone, has, interpreter, mark, marked, run, uv_cache


class Environment:
    """One environment as it is asked for: its place, its packages and where they come from."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.name: str = asked.name
        self.python: str = asked.python
        self.packages: list[str] = asked.packages
        self.backend: str | None = asked.torch_backend
        self.index: str | None = asked.torch_index
        self.gigabytes: float = asked.gigabytes
        self.wanted_cache: Path | None = asked.cache
        self.own: Path | None = asked.own
        self.locks: Path | None = asked.locks
        self.folder = Path.home() / "envs" / asked.name
        kernels = Path.home() / ".local/share/jupyter/kernels"
        self.kernel_file = kernels / f"deeprig-{asked.name}/kernel.json"

    @property
    def cache(self) -> Path:
        return uv_cache(self.wanted_cache)

    def traits(self) -> list[str]:
        """What its mark says it was made of."""
        backend = [f"--torch-backend={self.backend}"] if self.backend else []
        return [*self.packages, *backend, *([f"Python.lock:{self.own.stem}"] if self.own else [])]

    def state(self) -> str:
        """What stands there: ok, absent, unfinished, or a sentence starting with `note`."""
        done = marked(self.folder)
        if not self.folder.exists():
            return "absent"
        if done == "building":
            return "unfinished"
        if not done.startswith("complete"):
            return (
                f"note {self.folder} is not deeprig's and is left alone; move it away to get ours"
            )
        if not has(self.folder, "ipykernel"):
            return (
                f"note {self.folder} no longer runs and is left alone; remove it to have it made "
                "anew, or try Python(update=True)"
            )
        lock = self.folder / ".lock"
        if not self.kernel_file.is_file() or (lock.exists() and lock.stat().st_mode & 0o022):
            return "unregistered"
        missing = ", ".join(sorted(set(self.traits()) - set(done.split()[1:])))
        if missing:
            return f"note {self.folder} was made without {missing}; Python(update=True) adds it"
        return "ok"

    def make(self, update: bool) -> None:
        """Make it, finish what was cut off, or (`update`) renew what is in it."""
        state = self.state()
        if state.startswith("note") and not (update and marked(self.folder)):
            raise BoxError(state.removeprefix("note "))
        if state in ("absent", "unfinished"):
            self._begin(state)
        if update or state in ("absent", "unfinished"):
            self._install(self._lock(update))
            os.sync()
            mark(self.folder, " ".join(["complete", *self.traits()]))
        self._close_locks()
        self._register()

    def _begin(self, state: str) -> None:
        from deeprig_box.python.room import (  # every run asks for --check
            forget_damaged,
            refuse_without_room,
        )

        # It comes and goes in one step: without its mark it would pass for somebody's own.
        draft = self.folder.with_name(f".{self.folder.name}.deeprig")
        shutil.rmtree(draft, ignore_errors=True)
        if state == "unfinished":
            self.folder.rename(draft)
            shutil.rmtree(draft)
            forget_damaged(self.cache)
        refuse_without_room(self.folder, self.cache, self.gigabytes, begun=state == "unfinished")
        draft.mkdir(parents=True)
        mark(draft, "building")
        draft.rename(self.folder)
        venv = [UV, "venv", "--no-project", "--allow-existing", *interpreter(self.python)]
        run(f"Make {self.folder}", [*venv, self.folder], self.cache)

    def _install(self, lock: Path) -> None:
        command: list[str | Path] = [UV, "pip", "install", "--python", self.folder]
        command += ["--require-hashes", "--requirements", lock]
        if self.folder.stat().st_dev != self.cache.stat().st_dev:
            command += ["--link-mode", "copy"]
        what = ", ".join(self.packages) or f"what {lock} names"
        run(f"Install {what} into {self.folder}", [*command, *self._source()], self.cache)

    def _lock(self, update: bool) -> Path:
        """The versions and checksums of what goes in: as they were, or (`update`) today's."""
        from deeprig_box.python.lock import Lock, read

        python = (self.folder / "bin/python").resolve().name
        for_what = "-".join([self.name, python, platform.machine(), *filter(None, [self.backend])])
        index = hashlib.sha256(self.index.encode()).hexdigest()[:12] if self.index else ""
        made_for = [
            *self.traits(),
            python,
            platform.machine(),
            *([f"index:{index}"] if index else []),
        ]
        kept = self.locks / f"{for_what}.lock" if self.locks and self._has_data_folder() else None
        beside = self.folder.with_name(f"{self.name}.lock")
        lock = Lock(beside, kept, " ".join(made_for))
        before = None if update else lock.find()
        if before:
            print(f"The versions are those of {before}", flush=True)
            return lock.keep(read(before))
        return lock.keep(self._resolved())

    def _has_data_folder(self) -> bool:
        return self.locks is not None and os.access(self.locks.parent, os.W_OK)

    def _resolved(self) -> str:
        """What the index has today, with checksums; somebody's own checksums stay as they are."""
        from deeprig_box.python.lock import read, with_own

        request, made = self.folder / ".asked.in", self.folder / ".asked.lock"
        request.write_text("\n".join(["pip", "ipykernel", *self.packages, ""]))
        made.unlink(missing_ok=True)  # uv would keep to what it says
        command: list[str | Path] = [
            UV,
            "pip",
            "compile",
            "--quiet",
            "--generate-hashes",
            "--no-header",
        ]
        command += ["--no-annotate", "--python", self.folder, "--output-file", made, request]
        own = [self.own] if self.own else []
        what = f"Choose the versions for {self.folder}"
        run(what, [*command, *own, *self._source(alone=True)], self.cache)
        text = with_own(read(made), read(self.own) if self.own else "")
        request.unlink()
        made.unlink()
        return text

    def _source(self, alone: bool = False) -> list[str | Path]:
        """uv's words for where torch comes from; `alone` for the verb that names its files so."""
        if self.index:
            project = self._from_index(self.index)
            return [project] if alone else ["--requirements", project]
        return ["--torch-backend", self.backend] if self.backend else []

    def _close_locks(self) -> None:
        from deeprig_box.python.room import close_locks

        close_locks(self.cache)
        for lock in self.folder.glob(".lock"):  # the last, for `state` looks at it
            lock.chmod(0o644)

    def _from_index(self, index: str) -> Path:
        """A project file that gets torch from `index` and nothing else; uv has no option for it."""
        project: Path = self.folder / ".torch-index/pyproject.toml"
        project.parent.mkdir(exist_ok=True)
        project.write_text(
            '[project]\nname = "from-torch-index"\nversion = "0"\ndependencies = ["torch"]\n'
            '[tool.uv.sources]\ntorch = { index = "torch" }\n'
            f'[[tool.uv.index]]\nname = "torch"\nurl = {json.dumps(index)}\nexplicit = true\n'
        )
        return project

    def _register(self) -> None:
        python = str(self.folder / "bin/python")
        spec = {
            "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": f"Python ({self.name})",
            "language": "python",
            "metadata": {"debugger": True},
        }
        files.write(self.kernel_file, json.dumps(spec, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only print what stands")
    parser.add_argument("--update", action="store_true", help="renew the packages in it")
    parser.add_argument("--cache", type=Path, help="uv's cache, if that folder is there")
    parser.add_argument("--locks", type=Path, help="where its lock outlives a reinstall")
    parser.add_argument("--own", type=Path, help="somebody's own requirements, as root wrote them")
    parser.add_argument("--gigabytes", type=float, default=0, help="the room it takes")
    parser.add_argument("--torch-backend", help="for which CUDA, such as cu126")
    parser.add_argument("--torch-index", help="another package index, for torch alone")
    parser.add_argument("name")
    parser.add_argument("python")
    parser.add_argument("packages", nargs="*")
    options = parser.parse_args()
    environment = Environment(options)
    if options.check:
        print(environment.state())
        return
    with alone(environment.folder.parent):
        environment.make(options.update)
