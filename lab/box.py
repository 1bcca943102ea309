"""What the lab remembers of a box, and the list of them."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab import container, paths
from lab.errors import fail
from lab.hardware import Hardware

INSTALLERS_USER = "ai"
DEPLOY_USER = "deeprig"


@dataclass(frozen=True, kw_only=True)
class Box:
    """One machine as the lab remembers it, in `state.json` of its folder."""

    name: str
    kind: str
    os: str
    host: str
    bare: bool
    password: str
    image: str
    installed: bool = False
    port: int = 22
    packages: tuple[str, ...] = ()
    hardware: Hardware = field(default_factory=Hardware)

    @property
    def folder(self) -> Path:
        return paths.state() / self.name

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.py"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def upper(self) -> Path:
        """What differs from the base system, as files.

        A container writes there while it runs; for a VM these are the files it was installed with.
        """
        return self.folder / "upper"

    @property
    def running(self) -> bool:
        return container.running(self.name)

    @property
    def bootstrapped(self) -> bool:
        """Whether `deeprig bootstrap` has been here: this rule is the last thing it writes.

        What is on a VM's disk is not seen from here: the lab notes its own bootstrap in that place.
        """
        return self.bootstrap_rule.exists()

    @property
    def bootstrap_rule(self) -> Path:
        return self.upper / "etc/sudoers.d/50-deeprig"

    def public(self) -> dict[str, Any]:
        """What `deeprig lab up --json` prints."""
        ready = self.bootstrapped and not self.bare
        shown: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "os": self.os,
            "host": self.host,
            "port": self.port,
            "user": DEPLOY_USER if ready else INSTALLERS_USER,
            "key": str(self.key) if ready else None,
            "inventory": str(self.inventory),
        }
        return shown if ready else shown | {"password": self.password}

    @classmethod
    def load(cls, saved: dict[str, Any]) -> "Box":
        """As `save` left it, or an older lab."""
        packages = tuple(saved.pop("packages", ()))
        hardware = Hardware.load(saved.pop("hardware", {}))
        return cls(**saved, packages=packages, hardware=hardware)

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished, file = self.folder / "state.new", self.folder / "state.json"
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n")
        unfinished.replace(file)


def check_name(name: str) -> str:
    """The name. Raises DeeprigError where it would be no host name."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", name):
        fail(
            f"{name!r} is no name for a box; take lowercase letters, digits and dashes, "
            "a letter first, 32 at most, such as rig-1."
        )
    return name


def every() -> list[Box]:
    """All boxes, by name."""
    files = sorted(paths.state().glob("[!.]*/state.json"))
    return [Box.load(json.loads(file.read_text())) for file in files]


def get(name: str) -> Box:
    """The box of that name. Raises DeeprigError naming those there are."""
    boxes = {box.name: box for box in every()}
    if name not in boxes:
        names = f"there are: {', '.join(boxes)}" if boxes else "there is none"
        fail(f"no box is named {name!r}; {names}. `deeprig lab up {name}` makes it.")
    return boxes[name]
