"""Packages made from the tables in data/ and the sources in files/."""

import platform
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from lab.stand_ins import compiled, modules, sources
from lab.stand_ins.deb import File, Link, Package
from lab.stand_ins.sources import Values

HERE = Path(__file__).parent
REMARK = "stand-in made by deeprig's lab; not {owner} software"
MAINTAINER = "deeprig's lab <lab@deeprig.invalid>"
# Debian's name of this machine's architecture, NVIDIA's, and the folder of its libraries.
ARCHITECTURE, NVIDIAS_ARCHITECTURE, TRIPLET = {
    "aarch64": ("arm64", "sbsa", "aarch64-linux-gnu"),
}.get(platform.machine(), ("amd64", "x86_64", "x86_64-linux-gnu"))
NEVER = "255, 255, 255"  # a kernel version
PLACES = {"triplet": TRIPLET, "target": f"{NVIDIAS_ARCHITECTURE}-linux"}
RELATIONS = ("pre_depends", "depends", "recommends", "provides", "conflicts", "breaks", "replaces")
Row = dict[str, Any]


@cache
def table(name: str) -> dict[str, Any]:
    """A file of data/."""
    return tomllib.loads((HERE / "data" / f"{name}.toml").read_text())


def covers(row: Row, branch: int) -> bool:
    """Whether a row is for this branch."""
    return bool(row.get("from", 0) <= branch <= row.get("to", branch))


def package(row: Row, values: Values, *, owner: str = "NVIDIA's") -> Package:
    """The package of one row, with what stands in braces there put in from the values."""
    values = {**PLACES, **values}
    row = _filled(row, values)
    given = {**values, **row.get("values", {})}
    fields = {
        "Package": row["name"],
        "Version": row.get("version", values.get("build", "")),
        "Architecture": row.get("architecture", ARCHITECTURE),
        "Maintainer": MAINTAINER,
        "Section": row.get("section", "misc"),
        "Priority": "optional",
        "Multi-Arch": row.get("multi_arch", ""),
    }
    fields |= {_field(name): row.get(name, "") for name in RELATIONS}
    fields["Modaliases"] = row.get("modaliases", "")
    fields["Description"] = REMARK.format(owner=owner)
    files = dict(_contents(row, given)) | dict(modules.ready(row.get("modules", ""), given))
    return Package(fields, files, dict(_scripts(row, given)))


def driver_values(scheme: Row, version: str) -> dict[str, str]:
    """What goes into the names, versions and files of one driver's packages."""
    branch = version.partition(".")[0]
    drivers = table("drivers")["driver"]
    cuda = next((row["cuda"] for row in drivers if row["version"].startswith(branch)), 0)
    values = {"version": version, "branch": branch, "cuda": str(cuda), "FAILS_FROM": NEVER}
    named = {key: text for key, text in scheme.items() if isinstance(text, str)}
    return values | {key: text.format_map(values) for key, text in named.items()}


def _filled(value: Any, values: Values) -> Any:
    if isinstance(value, str):
        return value.format_map(values)
    if isinstance(value, dict):
        return {_filled(key, values): _filled(inner, values) for key, inner in value.items()}
    return value


def _field(name: str) -> str:
    return "-".join(word.capitalize() for word in name.split("_"))


def _scripts(row: Row, values: Values) -> Iterator[tuple[str, str]]:
    for name, source in row.get("scripts", {}).items():
        yield name, sources.text(source, values)


def _names(name: str) -> list[str]:
    """ "a-{b,c}.c" is two files of one content, a-b.c and a-c.c."""
    start, brace, rest = name.partition("{")
    ways, _, end = rest.partition("}")
    return [f"{start}{way}{end}" for way in ways.split(",")] if brace else [name]


def _contents(row: Row, values: Values) -> Iterator[tuple[str, File | Link]]:
    links: dict[str, str] = row.get("links", {})
    for path, source in row.get("files", {}).items():
        if source.endswith("/"):
            for part in sorted((sources.FILES / source).iterdir()):
                content = File(sources.text(source + part.name, values).encode())
                yield from ((path + name, content) for name in _names(part.name))
        elif ".so" in Path(path).name:
            name = Path(path).name
            soname = next((Path(k).name for k, v in links.items() if v == name), name)
            named = sources.text(source, {**values, "SONAME": soname})
            yield path, File(compiled.library(named, soname))
        else:
            program = "/bin/" in path or "/hooks/" in path
            yield path, File(sources.text(source, values).encode(), 0o755 if program else 0o644)
    for path, target in links.items():
        yield path, Link(target)
