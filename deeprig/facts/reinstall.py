"""What a reinstall of a box would erase, with sizes; asked of the box, reading only."""

from pathlib import Path
from typing import Any, NamedTuple

from deeprig.parsers import untrusted

SCRIPT = (Path(__file__).parent / "reinstall.sh").read_text()
SECONDS_EACH = 20
# Where else people and their programs keep what no package brings back; /opt is looked at apart.
PLACES = (
    "/srv",
    "/var/www",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",  # podman
    "/var/lib/libvirt/images",
    "/var/lib/lxc",
    "/var/lib/lxd",
    "/var/lib/incus",
    "/var/snap",
    "/var/lib/postgresql",
    "/var/lib/mysql",
    "/var/lib/mongodb",
    "/var/lib/redis",
    "/var/lib/influxdb",
    "/var/lib/elasticsearch",
    "/var/lib/grafana",
    "/var/lib/prometheus",
    "/var/lib/mlflow",
    "/var/lib/gitea",
)
WORTH_SAYING = 1_000_000  # bytes: a fresh system has a few files in some of them
PARTS = {"notebooks": "notebooks", "runs": "runs", "cache": "caches"}


class Place(NamedTuple):
    """A folder on the system's disk. `size` in bytes; None where counting took too long."""

    path: str
    size: int | None
    parts: dict[str, int]


class ReinstallImpact(NamedTuple):
    """What is erased, and which folders are on a disk of their own."""

    erased: list[Place]
    kept: list[str]

    def to_json(self) -> list[dict[str, Any]]:
        return [{"path": p.path, "bytes": p.size, "parts": p.parts} for p in self.erased]

    def __str__(self) -> str:
        places = [_words(place) for place in self.erased]
        loss = f"a reinstall would erase {', '.join(places)}" if places else ""
        kept = f"{', '.join(self.kept)} is on another disk" if self.kept else ""
        return "; ".join(words for words in (loss, kept) if words)


def read(output: list[str]) -> ReinstallImpact:
    """The answer in what SCRIPT printed. Raises NotSo.

    Anybody may have a folder with a name that is none of ours: it is only left out.
    """
    lines = [line.partition("=")[::2] for line in output]
    usual = [*[path for key, path in lines if key in ("erased", "kept")][:1], "/home"]
    sizes = [value.partition(" ")[::2] for key, value in lines if key == "size"]
    counted = {path: untrusted.number(size) for size, path in sizes if _fits(path)}
    return ReinstallImpact(
        erased=[
            Place(untrusted.path(path), counted.get(path), _parts(path, counted))
            for key, path in lines
            if key == "erased"
            and (path in usual or counted.get(path, WORTH_SAYING) >= WORTH_SAYING)
        ],
        kept=[untrusted.path(path) for key, path in lines if key == "kept"],
    )


def _fits(path: str) -> bool:
    return bool(untrusted.fits(untrusted.path, path))


def _parts(folder: str, counted: dict[str, int]) -> dict[str, int]:
    """Notebooks, runs and caches of everybody who has a folder in the data folder."""
    if volumes := counted.get(f"{folder}/volumes", 0) if folder == "/var/lib/docker" else 0:
        return {"volumes": volumes}
    sizes: dict[str, int] = {}
    for path, size in counted.items():
        user, _, part = path.removeprefix(f"{folder}/").partition("/")
        if folder != "/home" and user and part in PARTS:
            sizes[PARTS[part]] = sizes.get(PARTS[part], 0) + size
    return {name: sizes[name] for name in PARTS.values() if name in sizes}


def _words(place: Place) -> str:
    if place.size is None:
        return f"{place.path} (not counted within {SECONDS_EACH} s)"
    parts = ", ".join(f"{name} {gigabytes(size)}" for name, size in place.parts.items())
    return f"{place.path} {gigabytes(place.size)}{f' ({parts})' if parts else ''}"


def gigabytes(size: int) -> str:
    """A size for people, in the unit that fits: 12.3 GB, 450 MB, 0 MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
