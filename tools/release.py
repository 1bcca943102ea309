"""`make release`: wheel, source, bill of materials and their sums, of the tag that is here.

Built in a clone of the tag, so that nothing that lies around gets in, by the hatchling of the lock:
into dist/.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deeprig.ui import screen

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
UV = str(Path(sys.executable).with_name("uv"))
UNRELEASED = "not released yet"


class NoRelease(Exception):
    """Why it cannot be, in a sentence."""


def version(root: Path = ROOT) -> str:
    """What the package says of itself."""
    text = (root / "deeprig/__init__.py").read_text()
    return str(re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)[0])


def heading(root: Path = ROOT) -> tuple[str, str]:
    """The newest of CHANGELOG.md: a version, and its day or that it has none."""
    text = (root / "CHANGELOG.md").read_text()
    named, day = re.findall(r"^## (\S+), (.+)$", text, re.MULTILINE)[0]
    return str(named), str(day)


def objection(version: str, heading: tuple[str, str], tags: list[str]) -> str:
    """Why this commit is no release, or nothing: its version, heading and tag are one."""
    named, day = heading
    if named != version:
        return f"CHANGELOG.md's newest heading is of {named}, and the package is {version}."
    if f"v{version}" not in tags:
        here = f" (it has {', '.join(tags)})" if tags else ""
        return f"This commit has no tag v{version}{here}; a release is made of its tag."
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        return f"CHANGELOG.md says {day!r} of {named}; write its day, as 2027-01-31."
    return ""


def tags(root: Path = ROOT) -> list[str]:
    """Those of versions, of the commit that is here."""
    return _said("git", "tag", "--points-at", "HEAD", "--list", "v*", folder=root).split()


def make(root: Path = ROOT, dist: Path = DIST) -> list[Path]:
    """What is published, with SHA256SUMS at its end. Raises NoRelease."""
    if why := objection(version(root), heading(root), tags(root)):
        raise NoRelease(why)
    if _said("git", "status", "--porcelain", "--untracked-files=no", folder=root):
        raise NoRelease("Files are changed that are not committed; commit them, and tag that.")
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir()
    with tempfile.TemporaryDirectory() as made:
        clone = Path(made, "deeprig")
        _said("git", "clone", "-q", "--no-local", str(root), str(clone), folder=root)
        tag = f"v{version(root)}"
        _said("git", "checkout", "-q", "--detach", tag, folder=clone)
        # The same files make the same archives, whenever they are made.
        day = _said("git", "log", "-1", "--format=%ct", folder=clone).strip()
        build = ["build", "-q", "--no-build-isolation", "--python", sys.executable]
        _said(UV, *build, "--out-dir", str(dist), folder=clone, SOURCE_DATE_EPOCH=day)
        _materials(clone, dist / f"deeprig-{version(root)}.cdx.json", Path(made))
    (dist / ".gitignore").unlink(missing_ok=True)
    files = sorted(dist.iterdir())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (dist / "SHA256SUMS").write_text("".join(sums))
    return [*files, dist / "SHA256SUMS"]


def _materials(clone: Path, file: Path, folder: Path) -> None:
    """What a user gets with it: of the lock, those that are not for developing alone."""
    wanted = folder / "requirements.txt"
    _said(
        UV, "pip", "compile", "-q", "--universal", "--generate-hashes", "--no-header",
        "--python-version", "3.11", "--constraint", "requirements.lock", "--output-file",
        str(wanted), "pyproject.toml", folder=clone,
    )  # fmt: skip
    _said(
        UV, "run", "-q", "--no-project", "--isolated", "--python", sys.executable,
        "--with-requirements", "release.lock", "cyclonedx-py", "requirements", str(wanted),
        "--pyproject", "pyproject.toml", "--mc-type", "application", "--output-reproducible",
        "--output-format", "JSON", "--output-file", str(file), folder=clone,
    )  # fmt: skip
    # The version is in the package's own text, where the tool does not look.
    said = json.loads(file.read_text())
    said["metadata"]["component"]["version"] = version(clone)
    file.write_text(json.dumps(said, indent=2) + "\n")


def _said(*command: str, folder: Path, **more: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | more, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise NoRelease(f"{Path(command[0]).name} {command[1]} failed:\n{said}")
    return done.stdout


if __name__ == "__main__":
    try:
        for path in make():
            screen.echo(path.relative_to(ROOT))
    except NoRelease as error:
        sys.exit(str(error))
