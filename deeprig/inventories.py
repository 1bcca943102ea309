"""The boxes that an inventory file lists, read the way pyinfra reads it, and checked."""

import runpy
import sys
import traceback
from collections.abc import Iterable
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any

from deeprig.errors import DeeprigError
from deeprig.settings import Rig
from deeprig.ssh import connection
from deeprig.ui.options import RIGS

Box = tuple[str, dict[str, Any]]


def load(file: Path, limit: Iterable[str] = ()) -> list[Box]:
    """`(name, data)` for each box of the file, or for those that `limit` means.

    Each word of `limit` is a box, a group (another list of the file), or a pattern such as rig*.
    Each data has a Rig under `rig` and a name or address under `ssh_hostname`. Raises DeeprigError
    naming the file, and the line or the box.
    """
    variables = _found(file)
    boxes = [_checked(file, entry) for entry in _rigs(file, variables)]
    names = [name for name, _ in boxes]
    for name in names:
        if names.count(name) > 1:
            raise DeeprigError(f"{file} lists {name} twice; once is enough.")
    for pair in connection.twins(boxes):
        raise DeeprigError(f"{file}: {connection.twins_said(pair)}")
    words = list(limit)
    chosen = {name for word in words for name in _meant(file, word, names, _groups(variables))}
    return [box for box in boxes if not words or box[0] in chosen]


def _meant(file: Path, word: str, names: list[str], groups: dict[str, list[str]]) -> list[str]:
    """The boxes that this word means, as pyinfra's own --limit takes it."""
    if word in names:
        return [word]
    meant = [name for name in names if name in groups.get(word, ())]
    meant = meant or [name for name in names if fnmatch(name, word)]
    if not meant:
        have = f"; its groups: {', '.join(groups)}" if groups else ""
        raise DeeprigError(f"{file} has no box {word!r}; it has: {', '.join(names)}{have}.")
    return meant


def _groups(found: dict[str, Any]) -> dict[str, list[str]]:
    """The file's other lists of boxes or of their names, which pyinfra calls groups too."""
    groups = {}
    for key, value in found.items():
        if key == "rigs" or key.startswith("_") or not isinstance(value, list) or not value:
            continue
        names = [entry[0] if isinstance(entry, tuple) and entry else entry for entry in value]
        if all(isinstance(name, str) for name in names):
            groups[key] = [name.removeprefix(connection.FAST) for name in names]
    return groups


def one(file: Path, limit: Iterable[str], what: str) -> Box:
    """The only box, or the one named; `what` is what cannot be done to several."""
    boxes = load(file, limit)
    if len(boxes) > 1:
        names = ", ".join(name for name, _ in boxes)
        raise DeeprigError(f"{what}; name one of {names}.")
    return boxes[0]


def named(file: Path, limit: Iterable[str], what: str) -> list[Box]:
    """The boxes named, several only if somebody said so; `what` is not done to all unasked."""
    words = list(limit)
    if words:
        return load(file, words)
    return [one(file, words, what)]


def _found(file: Path) -> dict[str, Any]:
    if not file.is_file():
        other = "`deeprig init YOU@HOST` writes it, or " if file == RIGS else ""
        raise DeeprigError(f"{file} is not there; {other}name the inventory with --inventory FILE.")
    return _run(file)


def _rigs(file: Path, names: dict[str, Any]) -> list[object]:
    rigs = names.get("rigs")
    if not isinstance(rigs, list) or not rigs:
        trouble = "has no `rigs`" if rigs is None else f"has rigs = {rigs!r}"
        raise DeeprigError(f'{file} {trouble}; write rigs = [box("rig1.lan", rig=Rig())].')
    return rigs


def _run(file: Path) -> dict[str, Any]:
    """The file's names once it has run; its folder and this one are where it may import from."""
    before = list(sys.path)
    sys.path[:0] = [str(file.resolve().parent), str(Path.cwd())]
    try:
        return runpy.run_path(str(file))
    except DeeprigError:
        raise
    except SyntaxError as error:
        where = Path(error.filename or file).name
        raise DeeprigError(f"{where} line {error.lineno}: {error.msg}.") from None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if Path(f.filename).name == file.name), 0)
        raise DeeprigError(f"{file.name} line {line}: {type(error).__name__}: {error}") from None
    finally:
        sys.path[:] = before


def _checked(file: Path, entry: object) -> Box:
    match entry:
        case (str(name), dict() as data) if isinstance(data.get("rig"), Rig):
            name = name.removeprefix(connection.FAST)
            return name, {"ssh_hostname": name, **data}
        case (str(name), {"rig": other}):
            raise DeeprigError(f"{file}: the rig of {name} is {other!r}; write rig=Rig(...).")
        case (str(name), _):
            raise DeeprigError(f'{file}: {name} has no rig; write box("{name}", rig=Rig()).')
        case _:
            raise DeeprigError(f'{file}: {entry!r} is no box; write box("rig1.lan", rig=Rig()).')
