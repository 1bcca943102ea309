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


def copy(path: str, *, mode: str = "644", validate: str | None = None) -> OperationMeta:
    """Put files/<path> at <path>, owned by root."""
    return operations.put(
        name=f"Write {path}",
        dest=path,
        content=(ROOT / "files" / path.lstrip("/")).read_text(),
        mode=mode,
        validate=validate,
    )
