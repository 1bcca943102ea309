"""Where the project's files lie: in a checkout, or as a wheel has brought them (hatch_build.py)."""

import sys
from pathlib import Path

CODE = Path(__file__).parents[1]  # the folder of the packages
_BROUGHT = Path(__file__).parent / "_tree"
INSTALLED = _BROUGHT.is_dir()
# deploy.py, tasks/, templates/, files/, box/, tests/host/
ROOT = _BROUGHT if INSTALLED else CODE


def let_import() -> None:
    """Have `deploy`, `tasks` and `tests.host` be ours: a wheel claims none of these names."""
    if INSTALLED and str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def command(line: str) -> str:
    """What a person types to run this: a checkout has its programs in .venv/bin."""
    return line if INSTALLED else f".venv/bin/{line}"


def files(*folders: str) -> list[Path]:
    """All that lies below these folders of the project, but what tools leave there; in order."""
    paths = (path for folder in folders for path in place(folder).rglob("*"))
    return sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts)


def place(part: str) -> Path:
    """Where this part of the project is."""
    path = ROOT / part
    return path if path.exists() else CODE / part
