"""The driver as it stands: packages, versions, holds, pins, our files, a .deb of each package."""

import base64
import json
import time
from pathlib import Path
from typing import Any

from deeprig_box.driver import debs, dkms, hold, simulate
from deeprig_box.driver.debs import DEBS
from deeprig_box.driver.state import FOLDER
from deeprig_box.lib import files
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver, steps
from deeprig_box.nvidia.steps import run

SNAPSHOT = FOLDER / "snapshot.json"
DRAFT = FOLDER / "snapshot-draft.json"  # taken before anything is touched, and not yet needed
BEFORE = FOLDER / "snapshot-before.json"
PINS = "nvidia-driver-pinning-"
FILES = (
    driver.PLAN,
    hold.UPDATES,
    Path("/etc/apt/preferences.d/deeprig-nvidia"),
    Path("/etc/apt/preferences.d/zz-deeprig-nvidia"),
    Path("/etc/apt/sources.list.d/deeprig-nvidia.sources"),
    Path("/etc/apt/keyrings/deeprig-nvidia.gpg"),
    Path("/etc/deeprig/repositories/nvidia.json"),
    Path("/var/lib/deeprig/manifest.json"),
)
# A package that broke in the middle must not keep the others from going back; what dpkg lets pass
# here is settled by the packages that are put back in the same breath, and asked for afterwards.
FORCED = ["--force-confold", "--force-depends", "--force-remove-reinstreq"]


def moving() -> dict[str, str]:
    """Name -> version of what a move touches: the driver's packages and what pins them."""
    versions = driver.installed()
    names = {*driver.driver_set(), *(name for name in versions if name.startswith(PINS))}
    return {name: versions[name] for name in sorted(names)}


def take() -> None:
    """Note what stands and have its packages on the box."""
    version, packages = driver.driver_version(), moving()
    if not version:
        raise BoxError("there is no whole driver here to move; a deploy installs one")
    lacking = debs.keep(version, packages)
    if lacking:
        raise BoxError(f"there would be no way back: no .deb of {' '.join(lacking)} can be had")
    known = {
        "version": version, "when": time.time(), "packages": packages,
        "held": sorted(simulate.held() & packages.keys()),
        "manual": sorted({*driver.said("apt-mark", "showmanual").split()} & packages.keys()),
        "files": {str(file): content(file) for file in FILES},
    }  # fmt: skip
    FOLDER.mkdir(parents=True, exist_ok=True)
    files.write(DRAFT, json.dumps(known, indent=1) + "\n")


def content(file: Path) -> str | None:
    return base64.b64encode(file.read_bytes()).decode() if file.exists() else None


def settle() -> None:
    """From here on the draft is what there is to go back to."""
    if DRAFT.exists():
        BEFORE.unlink(missing_ok=True)
        if SNAPSHOT.exists():
            SNAPSHOT.replace(BEFORE)
        DRAFT.replace(SNAPSHOT)


def used(*, failed: bool) -> None:
    """It was gone back to: after an upgrade that failed, what was before it counts again."""
    SNAPSHOT.unlink(missing_ok=True)
    if failed and BEFORE.exists():
        BEFORE.replace(SNAPSHOT)


def load() -> dict[str, Any] | None:
    """What there is to go back to."""
    try:
        snapshot: dict[str, Any] = json.loads(SNAPSHOT.read_text())
    except (OSError, ValueError):
        return None
    return snapshot


def drafted() -> dict[str, Any]:
    draft: dict[str, Any] = json.loads(DRAFT.read_text())
    return draft


def states() -> dict[str, tuple[str, str]]:
    """Name -> (state, version) of every package that dpkg knows of, whatever state it is in."""
    form = "${db:Status-Status} ${Package} ${Version}\\n"
    rows = [line.split(" ") for line in driver.said("dpkg-query", "-W", "-f", form).splitlines()]
    gone = ("not-installed", "config-files")
    return {name: (state, version) for state, name, version in rows if state not in gone}


def restore(snapshot: dict[str, Any], came: list[str]) -> None:
    """The packages, files, marks and holds of the snapshot. Needs no network, and asks no index."""
    before = snapshot["packages"]
    now = states()
    # A kernel that came stays: it may be the one that runs, and the boot guard keeps to the other.
    own = {name for name in (*came, *driver.driver_set()) if driver.is_of_a_driver(name)}
    own |= {name for name in now if name.startswith(PINS)}
    extra = sorted(name for name in own if name in now and name not in before)
    wrong = [name for name, its in before.items() if now.get(name) != ("installed", its)]
    files = [kept_deb(snapshot["version"], name, before[name]) for name in wrong]
    complaints = []
    if extra:
        argv = ["dpkg", *FORCED, "--purge", *extra]
        complaints.append(run(f"Take out {len(extra)} packages that came", argv))
    put_back_files(snapshot["files"])
    if files:
        argv = ["dpkg", *FORCED, "-i", *files]
        what = f"Put back {len(files)} packages of {snapshot['version']}"
        complaints.append(run(what, argv))
    if driver.said("dpkg", "--audit"):
        complaints.append(run("Finish what dpkg left", ["dpkg", "--configure", "-a"]))
    marks(snapshot, before)
    dkms.build_what_is_missing()
    check(before, [why for why in complaints if why])


def kept_deb(version: str, name: str, its: str) -> str:
    file = debs.kept(DEBS / version, name, its)
    if file is None:
        raise BoxError(f"{DEBS / version} has no {name} {its} any more; nothing was put back")
    return str(file)


def put_back_files(files: dict[str, Any]) -> None:
    for name, text in files.items():
        path = Path(name)
        if text is None:
            path.unlink(missing_ok=True)
        elif content(path) != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.deeprig-new")
            draft.write_bytes(base64.b64decode(text))
            draft.replace(path)


def marks(snapshot: dict[str, Any], before: dict[str, Any]) -> None:
    """Asked for or along with others, held or not: as it was."""
    hold.mark("auto", [name for name in before if name not in snapshot["manual"]])
    hold.mark("manual", snapshot["manual"])
    hold.mark("hold", snapshot["held"])


def check(before: dict[str, Any], complaints: list[str]) -> None:
    """Whether all of it is as it was, asked of dpkg and of the modules, not believed."""
    now = states()
    wrong = [name for name, its in before.items() if now.get(name) != ("installed", its)]
    half = driver.said("dpkg", "--audit")
    state = driver.state()
    if wrong or half:
        why = complaints[0] if complaints else " ".join(half.split())[:200]
        raise BoxError(f"{' '.join(wrong) or 'dpkg'} could not be put back: {why}; see {steps.LOG}")
    if not state.startswith("ok "):
        raise BoxError(f"the packages are back, and {state}; see {steps.LOG}")
