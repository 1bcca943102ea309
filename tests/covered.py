"""How much of each folder the unit tests ran, lines and branches: `python -m tests.covered`.

Told and not judged: what runs on a box is shown by the lab's lanes, which this does not see.
"""

import json
import tempfile
from pathlib import Path

from coverage import Coverage

FOLDERS = ("deeprig", "deeprig_cli", "tasks", "box", "fast_ssh")


def table(files: dict[str, dict[str, int]]) -> str:
    """`files` are coverage's summaries by path below the project."""
    rows = []
    for folder in (*FOLDERS, ""):
        below = f"{folder}/" if folder else ""
        found = [said for name, said in files.items() if name.startswith(below)]
        lines = _share(found, "covered_lines", "num_statements")
        branches = _share(found, "covered_branches", "num_branches")
        rows.append(f"{folder or 'together':12} {lines:>8} {branches:>9} {len(found):>6}")
    return "\n".join(["Coverage        lines  branches  files", *rows])


def _share(found: list[dict[str, int]], part: str, whole: str) -> str:
    total = sum(said[whole] for said in found)
    return f"{sum(said[part] for said in found) / total:.1%}" if total else "-"


def main() -> None:
    """Of the last run: build/coverage."""
    measured = Coverage()
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "coverage.json")
        measured.json_report(outfile=str(file))
        found = json.loads(file.read_text())["files"]
    print(table({name: said["summary"] for name, said in found.items()}))


if __name__ == "__main__":
    main()
