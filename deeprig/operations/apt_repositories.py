"""A repository that is no distribution's: its key compared, its index tried, only then listed."""

import json
import shlex
from dataclasses import asdict, dataclass, field

from deeprig.operations import core, files
from deeprig.operations.box_program import BOX

SCRIPT = f"{BOX} apt-repository"
SPECS = "/etc/deeprig/repositories"

# Packages, pin ("" for this repository itself), priority: a stanza of apt_preferences(5).
Preference = tuple[str, str, int]


@dataclass(frozen=True, kw_only=True)
class Repository:
    """`name` is in the names of its files, `title` in sentences about it.

    `key_urls` are tried in turn, a .deb is unpacked for its keyring. A key in `fingerprints` or
    `repo_key` passes, one in `foreign` (fingerprint to whose it is) never does. `setting` is the
    class whose `repo_key=` takes another. `other_addresses` are the same repository by other
    names (all below one that ends in /), `retired` ends of fingerprints that nobody should trust,
    `obsolete` files that go. `preferences` are stanzas for each file in /etc/apt/preferences.d.
    """

    name: str
    title: str
    uri: str
    key_urls: tuple[str, ...]
    fingerprints: tuple[str, ...]
    setting: str
    suites: str = "/"
    components: str = ""
    architecture: str = ""
    repo_key: str = ""
    foreign: dict[str, str] = field(default_factory=dict)
    retired: tuple[str, ...] = ()
    other_addresses: tuple[str, ...] = ()
    obsolete: tuple[str, ...] = ()
    preferences: dict[str, tuple[Preference, ...]] = field(default_factory=dict)


def provide(repository: Repository) -> None:
    """Have the repository, with its key and its preferences; part of a component's deploy."""
    spec = f"{SPECS}/{repository.name}.json"
    files.put(name=f"Write {spec}", dest=spec, content=json.dumps(asdict(repository), indent=2))
    core.converge(
        name=f"List {repository.title}, by its key",
        command=SCRIPT,
        arguments=shlex.quote(repository.name),
    )


def removal(name: str) -> str:
    """A command that takes a repository of this name out again."""
    quoted = shlex.quote(name)
    return (
        f"[ ! -e {SPECS}/{quoted}.json ] || {SCRIPT} remove {quoted}; "
        f"ls {SPECS}/*.json >/dev/null 2>&1 || rm -rf {SPECS}"
    )
