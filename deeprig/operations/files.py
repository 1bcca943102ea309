"""Files of root: a source's path below templates/ or files/ is its path on the host."""

import functools
import hashlib
import shlex
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import OperationMeta, operation
from pyinfra.context import host

from deeprig import tree
from deeprig.operations import core, managed_files
from deeprig.operations.core import Commands
from deeprig.operations.facts import LinkTarget


@operation()
def put(
    dest: str,
    content: str,
    mode: str = "644",
    user: str = "root",
    group: str = "root",
    validate: str | None = None,
) -> Commands:
    """Make a file hold this content, in one step that a power cut cannot halve.

    The content travels on stdin, so it is never in argv or /tmp, and the file is readable by root
    alone until its owner and mode are right. `validate` is a command that gets the new file's path
    as %s; what it refuses does not replace the old file.
    """
    text = content if content.endswith("\n") else f"{content}\n"
    now = managed_files.state(dest)
    same_content = now is not None and now.sha256 == hashlib.sha256(text.encode()).hexdigest()
    if now and same_content and (now.user, now.group, now.mode) == (user, group, mode):
        host.noop(f"{dest} is as wanted")
        return
    path = shlex.quote(dest)
    owner = shlex.quote(f"{user}:{group}")
    check = validate.replace("%s", '"$t"') + " && " if validate else ""
    yield StringCommand(
        f'umask 022; mkdir -p "$(dirname {path})" && umask 077 && t=$(mktemp {path}.XXXXXX) && '
        f'{{ cat > "$t" && {check}chown {owner} "$t" && chmod {shlex.quote(mode)} "$t" && '
        f'sync -d "$t" && mv -fT "$t" {path}; }} || {{ rc=$?; rm -f "$t"; exit $rc; }}',
        _stdin=text,
    )


@operation()
def remove(path: str) -> Commands:
    """Take one file of ours away."""
    if managed_files.state(path) is None and not host.get_fact(LinkTarget, path=path):
        host.noop(f"{path} is not there")
        return
    yield StringCommand("rm -f", QuoteString(path))


def render(path: str, **values: Any) -> str:
    """The text of templates/<path>.j2 with these values; an unknown name in it is an error."""
    return _environment().get_template(f"{path.lstrip('/')}.j2").render(**values)


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(tree.ROOT / "templates"),
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
    return put(
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
        if (tree.ROOT / f"templates{path}.j2").exists():
            write(path, **values)
        else:
            copy(path)
    read = list(dict.fromkeys(name.partition(".d/")[0] for name in names))
    return core.read_units(name=f"Have systemd read {', '.join(read)}", units=read)


def copy(path: str, *, mode: str = "644", validate: str | None = None) -> OperationMeta:
    """Put files/<path> at <path>, owned by root."""
    return put(
        name=f"Write {path}",
        dest=path,
        content=(tree.ROOT / "files" / path.lstrip("/")).read_text(),
        mode=mode,
        validate=validate,
    )
