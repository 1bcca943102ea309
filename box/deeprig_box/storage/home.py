"""Have the folders in the user's part of the data folder, and links to them in the home.

data-folder has it
run as the user: home-links FOLDER [--check]. Nothing that holds a file is touched.
"""

import os
import sys
from pathlib import Path

FOLDERS = ("notebooks", "runs", "cache", "cache/huggingface", "cache/uv")
LINKS = ("notebooks", "runs")


def link_state(own: Path, name: str) -> str:
    """ok, owed, or a note about what the user has there."""
    link, target = Path.home() / name, own / name
    if link.is_symlink():
        now = str(link.readlink())
        return "ok" if now == str(target) else f"note {link} leads to {now} and is left so"
    if not os.path.lexists(link) or (link.is_dir() and not any(link.iterdir())):
        return "owed"
    return (
        f"note {link} has files and stays on the system disk; to have it at {target}, move them "
        "there, remove the empty folder and deploy again"
    )


def models_left_behind(own: Path) -> list[str]:
    """A line where models lie in the old place and nothing does yet in the new one."""
    old, new = Path.home() / ".cache/huggingface", own / "cache/huggingface"
    if old.is_dir() and not old.is_symlink() and any(old.iterdir()) and not any(new.iterdir()):
        return [f"programs look for models in {new} now; what is in {old} can be moved there"]
    return []


def users_part(own: Path, check: bool) -> str:
    """What is below the user's folder and in the home: made, or how it stands.

    "ok", "note ..." where something of the user's is left as it is, or nothing where work is owed.
    """
    missing = [name for name in FOLDERS if not (own / name).is_dir()]
    states = {name: link_state(own, name) for name in LINKS}
    if not check:
        for name in missing:
            (own / name).mkdir()
        for name in (name for name, state in states.items() if state == "owed"):
            link = Path.home() / name
            if link.is_dir():
                link.rmdir()
            link.symlink_to(own / name)
    elif missing or "owed" in states.values():
        return ""
    notes = [state.removeprefix("note ") for state in states.values() if state.startswith("note")]
    notes += models_left_behind(own)
    return f"note {'; '.join(notes)}" if notes else "ok"


def main() -> None:
    own, *more = sys.argv[1:]
    print(users_part(Path(own), check=more == ["--check"]))
