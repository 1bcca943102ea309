"""Has shellcheck read every shell file, whatever its name: `python -m tests.shell_files`.

A template is read as it is on a box, with values of here.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deeprig.operations import files as config_files

ROOT = Path(__file__).parent.parent
PLACES = (
    ".ci", "bench", "box", "deeprig", "deeprig_cli", "fast_ssh", "files", "lab", "templates",
    "tests",
)  # fmt: skip
SHEBANG = re.compile(rb"#! ?/\S*?(?:bin/|env |busybox )(?:ba|da)?sh\b")
VALUES: dict[str, dict[str, Any]] = {
    "/etc/NetworkManager/dispatcher.d/50-deeprig-wake-on-lan": {"card": {"name": "eno1"}},
    "/etc/profile.d/deeprig-caches.sh": {"user": "ai", "variables": {"HF_HOME": "/data/ai"}},
    "/etc/profile.d/deeprig-proxy.sh": {"proxy": "http://proxy.lan:3128"},
    "/etc/systemd/user-environment-generators/50-deeprig-caches": {
        "user": "ai",
        "variables": {"HF_HOME": "/data/ai"},
    },
}


def shell_files() -> Iterator[tuple[Path, bool]]:
    """Every shell file of the project, and whether its first line names its shell."""
    for place in PLACES:
        for file in sorted((ROOT / place).rglob("*")):
            if "__pycache__" in file.parts or not file.is_file():
                continue
            with file.open("rb") as opened:
                named = SHEBANG.match(opened.read(64)) is not None
            if named or file.name.endswith((".sh", ".sh.j2")):
                yield file, named


def main() -> int:
    """0 where shellcheck has nothing to say of any of them."""
    named: list[str] = []
    unnamed: list[str] = []  # the shell is told who sends or sources them
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".shell-") as folder:
        for file, says_shell in shell_files():
            path = str(file.relative_to(ROOT))
            if file.suffix == ".j2":
                template = "/" + path.removeprefix("templates/").removesuffix(".j2")
                path = str(Path(folder, template.replace("/", "-")))
                Path(path).write_text(config_files.render(template, **VALUES[template]))
            (named if says_shell else unnamed).append(path)
        checker = str(Path(sys.executable).with_name("shellcheck"))
        return max(
            subprocess.run([checker, *options, *files], cwd=ROOT, check=False).returncode
            for options, files in (([], named), (["--shell=sh"], unnamed))
        )


if __name__ == "__main__":
    sys.exit(main())
