"""Make uv and the tool environment of JupyterLab and TensorBoard, or say which stand (--check).

--check prints "uv" and "tools", each if it stands. Exit status 0 when done, 1 after one line on
stderr that says what is wrong.
"""

import argparse
import os
import shutil
from pathlib import Path

from deeprig_box.lib import proc
from deeprig_box.lib.errors import BoxError
from deeprig_box.python.step import (
    OPT,
    PYTHONS,
    UV,
    alone,
    has,
    interpreter,
    mark,
    marked,
    run,
    uv_cache,
)

TOOLS = OPT / "notebook"
WHEELS = Path("/usr/share/python-wheels")
MOST_WORDS = 1 << 20  # bytes of a command line


def fetch_python(choice: str) -> None:
    if choice == "system":
        return
    try:
        run(f"Get Python {choice}", [UV, "python", "install", "--no-bin", choice])
    except BoxError as wrong:
        raise BoxError(f'{wrong}. Python(python="system") takes the box\'s own instead') from None


def uv_stands(version: str) -> bool:
    return os.access(UV, os.X_OK) and marked(OPT / "uv") == f"complete {version}"


def make_uv(version: str) -> None:
    folder = OPT / "uv"
    if folder.exists():
        shutil.rmtree(folder)
    # Another pip for that one package would take longer to install than it does.
    venv = ["/usr/bin/python3", "-I", "-m", "venv", "--without-pip"]
    run("Make an environment for uv", [*venv, folder])
    pip: list[str | Path] = [folder / "bin/python", the_boxs_pip(), "install"]
    options = ["--disable-pip-version-check", "--retries", "2", "--require-hashes"]
    run(f"Install uv {version}", [*pip, *options, "-r", OPT / "uv.lock"])
    os.sync()
    mark(folder, f"complete {version}")
    link = Path("/usr/local/bin/uv")
    if link.is_symlink() or not link.exists():  # somebody's own uv stays
        point(link, UV)


def the_boxs_pip() -> Path:
    """pip as python3-venv brings it: a wheel, which Python runs as it lies there."""
    wheels = sorted(WHEELS.glob("pip-*.whl"))
    if not wheels:
        raise BoxError(f"{WHEELS} has no pip; `sudo apt install --reinstall python3-pip-whl`")
    return wheels[-1] / "pip"


def point(link: Path, target: Path) -> None:
    """Make `link` lead to `target` in one step."""
    draft = link.with_name(f".{link.name}.deeprig")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.rename(link)


def tools_stand(name: str) -> bool:
    folder = OPT / name
    if not TOOLS.is_symlink() or TOOLS.readlink() != folder:
        return False
    # A system upgrade can take the Python away from under an environment.
    return marked(folder) == "complete" and has(folder, "tornado", "argon2")


def make_tools(name: str, python: str) -> None:
    """Build the tool environment beside the one in use, switch to it, remove what nobody uses."""
    from deeprig_box.python.room import (  # here, for every run asks for --check
        close_locks,
        forget_damaged,
    )

    folder = OPT / name
    if folder.exists():  # it was never finished
        shutil.rmtree(folder)
        forget_damaged(uv_cache())
    fetch_python(python)
    run("Make the tool environment", [UV, "venv", "--no-project", *interpreter(python), folder])
    sync: list[str | Path] = [UV, "pip", "sync", "--require-hashes", "--compile-bytecode"]
    run(
        "Install JupyterLab and TensorBoard",
        [*sync, "--python", folder / "bin/python", OPT / "notebook.lock"],
    )
    for lock in (folder / ".lock", PYTHONS / ".lock"):  # uv lets everybody write them
        lock.unlink(missing_ok=True)
    close_locks(uv_cache())
    # Its own kernel would tempt people to compute in root's tool environment.
    shutil.rmtree(folder / "share/jupyter/kernels", ignore_errors=True)
    os.sync()
    mark(folder, "complete")
    point(TOOLS, folder)
    for old in OPT.glob("notebook-*"):
        if old != folder and old.is_dir() and not in_use(old):
            shutil.rmtree(old)


def in_use(folder: Path) -> bool:
    """Whether any process has a file below this folder mapped, or was started from there."""
    sign = f"{folder}/".encode()
    for process in proc.every():
        try:
            with (process / "maps").open("rb") as maps, (process / "cmdline").open("rb") as words:
                # Anybody's, so of any length. Who pretends keeps a folder.
                if any(sign in line for line in maps) or sign in words.read(MOST_WORDS):
                    return True
        except OSError:
            continue  # it ended meanwhile
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only print what stands")
    parser.add_argument("--tools", nargs=2, metavar=("NAME", "PYTHON"), help="the tools as well")
    parser.add_argument("version", help="uv's")
    options = parser.parse_args()
    name, python = options.tools or ("", "")
    if options.check:
        uv, tools = uv_stands(options.version), name and tools_stand(name)
        print(*(["uv"] if uv else []), *(["tools"] if tools else []))
        return
    # Nobody but root can open that folder, and so hold us up. Another run may make them meanwhile.
    with alone(uv_cache()):
        if not uv_stands(options.version):
            make_uv(options.version)
    with alone(uv_cache()):
        if name and not tools_stand(name):
            make_tools(name, python)
