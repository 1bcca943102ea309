"""Other entries and other keys for a repository that is ours to list, and how to do without them.

Reads only.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from deeprig_box.lib import openpgp

ETC = Path("/etc/apt")
OPTIONS = re.compile(r"^(deb(?:-src)?)\s+(?:\[[^\]]*\]\s+)?(\S+)")

Match = Callable[[str], bool]


def without(match: Match, ours: Path) -> dict[Path, bytes]:
    """File -> what it should hold in place of what it has, b"" where nothing is left of it."""
    changed = {}
    for file in _source_files():
        if file == ours:
            continue
        old = file.read_text(errors="surrogateescape")
        new = _stanzas(old, match) if file.suffix == ".sources" else _lines(old, match)
        if new != old:
            left = any(line.strip() and line.lstrip()[0] != "#" for line in new.splitlines())
            changed[file] = new.encode(errors="surrogateescape") if left else b""
    return changed


def without_keys(unwanted: Callable[[str], bool]) -> dict[Path, bytes]:
    """The same for the keyrings that apt believes for every source there is."""
    changed = {}
    for file in [ETC / "trusted.gpg", *sorted((ETC / "trusted.gpg.d").glob("*"))]:
        if not file.is_file() or file.suffix not in (".gpg", ".asc"):
            continue
        try:
            keys = openpgp.keys(file.read_bytes())
        except openpgp.NoKey:
            continue  # what apt cannot read either
        kept = {name: key for name, key in keys.items() if not unwanted(name)}
        if kept != keys:
            changed[file] = b"".join(kept.values())
    return changed


def _source_files() -> Iterator[Path]:
    if (ETC / "sources.list").is_file():
        yield ETC / "sources.list"
    for file in sorted((ETC / "sources.list.d").glob("*")):
        if file.suffix in (".list", ".sources") and file.is_file():
            yield file


def _lines(text: str, match: Match) -> str:
    def wanted(line: str) -> bool:
        options = OPTIONS.match(line.strip())
        return not (options and match(options[2]))

    return "".join(line for line in text.splitlines(keepends=True) if wanted(line))


def _stanzas(text: str, match: Match) -> str:
    """deb822: a stanza goes where every address of it goes, else only the address."""
    blocks = re.split(r"(\n[ \t]*\n+)", text)
    kept = []
    for block in blocks:
        uris = re.search(r"^URIs:((?:.*\n?)(?:[ \t]+.*\n?)*)", block, re.M | re.I)
        every = uris[1].split() if uris else []
        stay = [uri for uri in every if not match(uri)]
        if uris and not stay:
            continue
        if uris and stay != every:
            block = f"{block[: uris.start()]}URIs: {' '.join(stay)}\n{block[uris.end() :]}"
        kept.append(block)
    return "".join(kept)
