"""Configuration files: a source's path below templates/ or files/ is its path on the host."""

import functools
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra.api.operation import OperationMeta

from deeprig.operations import core as operations

ROOT = Path(__file__).parents[2]


def render(path: str, **values: Any) -> str:
    """The text of templates/<path>.j2 with these values; an unknown name in it is an error."""
    return _environment().get_template(f"{path.lstrip('/')}.j2").render(**values)


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write(
    path: str,
    *,
    template: str | None = None,
    mode: str = "644",
    validate: str | None = None,
    **values: Any,
) -> OperationMeta:
    """Render templates/<path>.j2 to <path>, owned by root; `template` names another source."""
    return operations.put(
        name=f"Write {path}",
        dest=path,
        content=render(template or path, **values),
        mode=mode,
        validate=validate,
    )


def units(*names: str, **values: Any) -> OperationMeta:
    """Put these units and drop-ins of the system's, of templates/ or files/, and have them read."""
    for name in names:
        path = f"/etc/systemd/system/{name}"
        if (ROOT / f"templates{path}.j2").exists():
            write(path, **values)
        else:
            copy(path)
    read = list(dict.fromkeys(name.partition(".d/")[0] for name in names))
    return operations.read_units(name=f"Have systemd read {', '.join(read)}", units=read)


def copy(path: str, *, mode: str = "644", validate: str | None = None) -> OperationMeta:
    """Put files/<path> at <path>, owned by root."""
    return operations.put(
        name=f"Write {path}",
        dest=path,
        content=(ROOT / "files" / path.lstrip("/")).read_text(),
        mode=mode,
        validate=validate,
    )
