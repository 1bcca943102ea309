"""A requirements file of the user's own: read here, so that the box gets what was understood."""

import re
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

MOST_BYTES = 4 * 2**20
HASH = re.compile(r"--hash[= ](sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")
COMMENT = re.compile(r"(^|\s)#.*$")


class Line(NamedTuple):
    """One requirement, with the checksums that its files may have."""

    requirement: Requirement
    hashes: tuple[str, ...]

    def __str__(self) -> str:
        return " \\\n    ".join([str(self.requirement), *(f"--hash={h}" for h in self.hashes)])


def text(file: str) -> str:
    """The file as the box gets it, without comments. Raises ValueError."""
    return "".join(f"{line}\n" for line in lines(file))


def names(file: str) -> set[str]:
    """The packages that it names for every box, so those with no condition."""
    return {
        canonicalize_name(line.requirement.name)
        for line in lines(file)
        if line.requirement.marker is None
    }


def lines(file: str) -> list[Line]:
    """What it asks for. Raises ValueError with the line that cannot be read, and what to do."""
    path = Path(file).expanduser()
    try:
        with path.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        decoded = content.decode()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}; give a requirements file") from None
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8; give a requirements file") from None
    if len(content) > MOST_BYTES:
        raise ValueError("it is larger than 4 MiB; give a requirements file")
    requirements = [_line(number, line) for number, line in _logical(decoded) if line]
    if not requirements:
        raise ValueError("it asks for nothing; write a requirement in it, such as numpy==2.4.1")
    with_hashes = [line for line in requirements if line.hashes]
    for line in requirements if with_hashes else ():
        name = line.requirement.name
        if not line.hashes:
            raise ValueError(f"{name} has no --hash and others have; give one to all or to none")
        if not re.fullmatch(r"===?[^*]+", str(line.requirement.specifier)):
            raise ValueError(f"{name} has a --hash and no version; write it like {name}==1.2.3")
    return requirements


def _logical(said: str) -> list[tuple[int, str]]:
    """Lines with those that a backslash goes on with, each with the number of its first."""
    logical: list[tuple[int, str]] = []
    begun, first = "", 0
    for number, line in enumerate(said.splitlines(), start=1):
        first = first if begun else number
        bare = COMMENT.sub("", line).strip()
        if bare.endswith("\\"):
            begun += f"{bare[:-1].strip()} "
            continue
        logical.append((first, f"{begun}{bare}".strip()))
        begun = ""
    return [*logical, (first, begun.strip())]


def _line(number: int, said: str) -> Line:
    bare = HASH.sub("", said).strip()
    if bare.startswith("-") or " --" in bare:
        option = next(word for word in bare.split() if word.startswith("-")).partition("=")[0]
        raise ValueError(
            f"line {number} has the option {option}, which deeprig does not pass on: take it out; "
            "the index is Rig.pypi_index, and torch's Python.torch_index"
        )
    try:
        requirement = Requirement(bare)
    except InvalidRequirement:
        raise ValueError(
            f"line {number}, {bare[:60]!r}, is no requirement; write it like numpy==2.4.1"
        ) from None
    if requirement.url:  # it may hold a login, and everybody on the box would read it
        raise ValueError(
            f"line {number} gets {requirement.name} from an address: name its version instead"
        )
    return Line(requirement, tuple(HASH.findall(said)))
