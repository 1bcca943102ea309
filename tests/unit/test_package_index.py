"""apt's own answers where one of its sources fails: what others have is installed all the same."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deeprig.operations import packages
from deeprig.operations.packages import FRESH, NAME_SOURCES, read_index

ROOT = Path(__file__).parents[2]
FIRST = (ROOT / "deeprig/bootstrap/deploy_user.sh").read_text()
pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt")

PACKAGE = """\
Package: hello-of-ours
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.com>
Filename: ./hello.deb
Size: 1
SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
Description: nothing
"""


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    """A root of apt's with a source that is there."""
    for folder in ("etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/preferences.d",
                   "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
                   "var/lib/dpkg", "good"):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").touch()
    (tmp_path / "good/Packages").write_text(PACKAGE)
    (tmp_path / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/good ./\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir "{tmp_path}";\nDir::State::status "{tmp_path}/var/lib/dpkg/status";\n'
        'APT::Sandbox::User "";\nAPT::Get::Simulate "true";\nAcquire::Retries "0";\n'
        'APT::Architecture "amd64";\n#clear APT::Update::Post-Invoke;\n'
    )
    return tmp_path


def add(apt: Path, line: str) -> None:
    (apt / "etc/apt/sources.list.d/third.list").write_text(f"{line}\n")


def sh(apt: Path, script: str) -> subprocess.CompletedProcess[str]:
    """What the box would run, with its paths in this folder."""
    for place in ("/run/deeprig-apt-index", "/var/lib/apt/lists"):
        script = script.replace(place, f"{apt}/index" if "index" in place else f"{apt}{place}")
    env = {**os.environ, "APT_CONFIG": str(apt / "apt.conf"), "LC_ALL": "C"}
    return subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True)


def install(apt: Path, name: str) -> subprocess.CompletedProcess[str]:
    steps = (f"{FRESH} || {read_index()}", f"{packages.APT_GET} install {name} || {NAME_SOURCES}")
    done = sh(apt, steps[0])
    assert done.returncode == 0, done.stderr
    return sh(apt, steps[1])


BROKEN = {
    "an address of nobody": "deb [trusted=yes] http://127.0.0.1:9/third ./",
    "no index there": "deb file:/nowhere/third stable main",
    "a CD": "deb cdrom:[Debian GNU/Linux 12]/ bookworm main",
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_a_broken_source_stops_nothing_that_another_has(apt: Path, line: str) -> None:
    add(apt, line)
    done = install(apt, "hello-of-ours")
    assert done.returncode == 0, done.stderr
    assert "hello-of-ours" in done.stdout


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_what_is_found_nowhere_has_the_source_that_failed_beside_it(apt: Path, line: str) -> None:
    add(apt, line)
    done = install(apt, "in-the-third")
    assert done.returncode == 100
    assert "Unable to locate package in-the-third" in done.stderr
    assert "apt could not read all of its sources" in done.stderr
    assert (
        re.split(r"[ \[]", line.removeprefix("deb [trusted=yes] ").removeprefix("deb "))[0]
        in (done.stderr.partition("run this again:")[2])
    )


def test_without_a_broken_source_none_is_blamed(apt: Path) -> None:
    done = install(apt, "in-the-third")
    assert done.returncode == 100 and "could not read" not in done.stderr


def test_the_index_is_not_read_twice_in_an_hour_but_after_a_failure(apt: Path) -> None:
    install(apt, "hello-of-ours")
    assert sh(apt, FRESH).returncode == 0
    os.utime(apt / "index", (0, 0))
    assert sh(apt, FRESH).returncode == 1
    install(apt, "in-the-third")
    assert sh(apt, FRESH).returncode == 1  # the remedy is to count at once


def test_a_list_that_is_fresh_says_nothing_of_the_others(apt: Path) -> None:
    """Each has the time of its own server."""
    (apt / "var/lib/apt/lists/some_Packages").touch()
    assert sh(apt, FRESH).returncode == 1
    (apt / "index").touch()
    assert sh(apt, FRESH).returncode == 0
    (apt / "var/lib/apt/lists/some_Packages").unlink()  # as in an image that was cleaned
    assert sh(apt, FRESH).returncode == 1


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_first_contact_brings_sudo_beside_a_broken_source(apt: Path, line: str) -> None:
    add(apt, line)
    functions = re.findall(r"^(?:install|bring)_sudo\(\) \{.*?\}$(?=\n\n)", FIRST, re.M | re.S)
    script = "set -eu\n" + "\n".join(functions).replace("visudo", "no-visudo") + "\ninstall_sudo\n"
    done = sh(apt, script)
    assert done.returncode == 1
    [*_, last] = done.stderr.splitlines()
    assert last.startswith("apt does not bring sudo, and cannot read a source: ")
    assert re.search(r"127.0.0.1:9/third|file:/nowhere/third|cdrom:", last)
    packages_file = apt / "good/Packages"
    packages_file.write_text(PACKAGE.replace("hello-of-ours", "sudo"))
    done = sh(apt, script)
    assert (done.returncode, done.stdout) == (0, "changed: package sudo\n"), done.stderr


def test_the_index_is_read_by_those_who_know_what_its_status_is_worth() -> None:
    """`apt-get update` ends with 0 where sources failed, and not where one of nobody's is odd."""
    files = [
        file
        for folder in ("tasks", "deeprig", "box", "files", "templates")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and "evidence" not in file.name
    ]
    reads = re.compile(r"(?:apt-get|APT_GET)\b[^#`\n]*\bupdate\b(?!.*--print-uris)")
    found = {
        str(file.relative_to(ROOT))
        for file in files
        for line in file.read_text(errors="replace").splitlines()
        if reads.search(line) and "--print-uris" not in line and '"""' not in line
    }
    assert found == {
        "deeprig/operations/packages.py",
        "deeprig/bootstrap/deploy_user.sh",
        "box/deeprig_box/apt/index.py",
    }
