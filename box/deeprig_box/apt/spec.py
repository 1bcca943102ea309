"""A repository of packages, as its specification in /etc/deeprig/repositories has it.

Reads only.
"""

import json
from pathlib import Path

SPECS = Path("/etc/deeprig/repositories")


class Repository:
    """One repository, as its specification has it."""

    def __init__(self, name: str) -> None:
        self.spec = json.loads((SPECS / f"{name}.json").read_text())
        self.title, self.uri = self.spec["title"], self.spec["uri"]
        self.sources = Path(f"/etc/apt/sources.list.d/deeprig-{name}.sources")
        self.keyring = Path(f"/etc/apt/keyrings/deeprig-{name}.gpg")

    def entry(self, keyring: Path) -> str:
        lines = [
            "# Written by deeprig (box/deeprig_box/apt/spec.py): edit it there.",
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {self.spec['suites']}",
        ]
        lines += [f"Components: {self.spec['components']}"] if self.spec["components"] else []
        lines += (
            [f"Architectures: {self.spec['architecture']}"] if self.spec.get("architecture") else []
        )
        return "\n".join([*lines, f"Signed-By: {keyring}"]) + "\n"

    def is_it(self, uri: str) -> bool:
        """Whether that address is this repository, by whatever name it is known."""
        plain = uri.rstrip("/")
        known = [self.uri.rstrip("/"), *self.spec["other_addresses"]]
        return any(plain == one or (plain.startswith(one) and one.endswith("/")) for one in known)

    def accepted(self) -> list[str]:
        """The fingerprints that may sign it."""
        own = self.spec["repo_key"].replace(" ", "").upper()
        return [*self.spec["fingerprints"], *([own] if own else [])]

    def obsolete_key(self, fingerprint: str) -> bool:
        """Whether apt should no longer believe this key for all its sources."""
        unwanted = [*self.accepted(), *self.spec["retired"]]
        return any(fingerprint.endswith(end) for end in unwanted)

    def preferences(self, release: str) -> dict[Path, str]:
        """Path -> text; what has no pin of its own is about this repository."""
        return {
            Path("/etc/apt/preferences.d", file): "".join(
                ["# Written by deeprig (box/deeprig_box/apt/spec.py).\n"]
                + [
                    f"\nPackage: {names}\nPin: {pin or release}\nPin-Priority: {priority}\n"
                    for names, pin, priority in rows
                ]
            )
            for file, rows in self.spec["preferences"].items()
        }
