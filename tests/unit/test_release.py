"""A release is made of its tag: version, CHANGELOG's heading and tag are one."""

import re
import subprocess
from pathlib import Path

import pytest

from deeprig import __version__
from tests.lanes import WORKFLOWS
from tools import release

ROOT = Path(__file__).parents[2]


def test_this_commit_has_one_version() -> None:
    assert release.version() == __version__
    named, day = release.heading()
    assert named == __version__
    assert day == release.UNRELEASED or re.fullmatch(r"\d{4}-\d\d-\d\d", day)
    found = release.tags()
    assert not found or not release.objection(__version__, (named, day), found)


@pytest.mark.parametrize(
    ("heading", "tags", "why"),
    [
        (("1.2.0", "2027-01-31"), ["v1.2.0"], ""),
        (("1.1.0", "2027-01-31"), ["v1.2.0"], "newest heading is of 1.1.0, and the package is"),
        (("1.2.0", "2027-01-31"), [], "has no tag v1.2.0; "),
        (("1.2.0", "2027-01-31"), ["v1.1.0"], "has no tag v1.2.0 (it has v1.1.0)"),
        (("1.2.0", release.UNRELEASED), ["v1.2.0"], "'not released yet' of 1.2.0; write its day"),
    ],
)
def test_what_does_not_fit_is_no_release(
    heading: tuple[str, str], tags: list[str], why: str
) -> None:
    said = release.objection("1.2.0", heading, tags)
    assert (why in said) if why else not said


def test_a_changed_tree_is_no_release(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "deeprig").mkdir()
    (tmp_path / "deeprig/__init__.py").write_text('__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## 1.2.0, 2027-01-31\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "a")
    with pytest.raises(release.NoRelease, match=r"has no tag v1\.2\.0"):
        release.make(tmp_path, tmp_path / "dist")
    git("tag", "v1.2.0")
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## 1.2.0, 2027-01-30\n")
    with pytest.raises(release.NoRelease, match="not committed"):
        release.make(tmp_path, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_action_is_pinned_by_its_commit_and_may_read_unless_it_says_so(workflow: str) -> None:
    text = (ROOT / workflow).read_text()
    used = re.findall(r"uses: (\S+)(?: # (\S+))?", text)
    assert used
    for action, named in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"v\d+\.\d+\.\d+", named), action
    assert re.search(r"^permissions:", text, re.MULTILINE)
