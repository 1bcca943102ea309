"""Base systems: built once by mmdebstrap, then shared, unchanged, by all boxes of their kind."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from os import utime
from pathlib import Path

from lab import disk_image, paths
from lab.errors import fail
from lab.recipes import DRESSINGS, KEYS, Recipe, recipe


def ensure(
    os: str, say: Callable[[str], None], *, kind: str = "container", packages: Iterable[str] = ()
) -> Path:
    """The folder of the base system of `os`, built if it is not there: a minute or two.

    For a VM it holds a disk. More packages make another base system, beside the usual one.
    Raises DeeprigError where the distribution's archive cannot be reached.
    """
    made_of = recipe(os, kind, packages)
    image = paths.images() / "-".join([os, *(["vm"] if kind == "vm" else []), made_of.key])
    with paths.locked(paths.images() / f".{image.name}.lock"):
        if not image.is_dir():
            _build(os, made_of, image, say, vm=kind == "vm")
        utime(image)
    return image


def discard_unused(in_use: set[Path], *, days: float = 14) -> None:
    """Remove the base systems that no box stands on and that none was made from for so long."""
    limit = time.time() - days * 86400
    for image in paths.images().glob("[!.]*"):
        if image not in in_use and image.stat().st_mtime < limit:
            shutil.rmtree(image)


def explain(os: str, output: list[str]) -> str:
    """One line for what apt and mmdebstrap said in many."""
    text = "\n".join(output)
    unreachable = re.search(r"(?:Err:\d+|Failed to fetch) \w+://([^/\s]+)", text)
    if unreachable:
        return (
            f"the base system of {os} cannot be built: no way to {unreachable[1]} from here; "
            "use --os ubuntu-like or debian-13, or a machine that reaches it."
        )
    errors = [line for line in output if line.startswith("E: ")] or output[-1:] or ["no output"]
    return f"the base system of {os} cannot be built: mmdebstrap says {errors[0]!r}."


def _build(os: str, recipe: Recipe, image: Path, say: Callable[[str], None], *, vm: bool) -> None:
    """Build beside the place and rename, so that `image` is whole or not there."""
    unfinished = image.with_name(f".{image.name}.building")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    say(f"building the base system of {os}, once; a minute or two")
    root = unfinished.with_suffix(".root") if vm else unfinished
    try:
        _mmdebstrap(os, recipe, root, say)
        if vm:
            say(f"{os}: making a disk of it, and booting that once for its boot loader")
            unfinished.mkdir()
            disk_image.build(root, unfinished)
        unfinished.rename(image)
    finally:
        for folder in (unfinished, root):
            shutil.rmtree(folder, ignore_errors=True)


def _mmdebstrap(os: str, recipe: Recipe, target: Path, say: Callable[[str], None]) -> None:
    trust = [f"--keyring={KEYS / recipe.signed_by}"] if recipe.signed_by else []
    hooks = [f"--customize-hook={DRESSINGS / name / 'hook.sh'}" for name in recipe.dressings]
    # It dies with us, and whatever it started dies with it.
    alone = "setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc"
    command = [
        *alone.split(),
        *("mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase"),
        f"--components={recipe.components}",
        f"--include={recipe.packages}",
        *trust,
        *hooks,
        *(recipe.suite, str(target)),
    ]
    output: list[str] = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as mmdebstrap:
        for line in mmdebstrap.stderr or ():
            output.append(line.rstrip())
            if line.startswith("I: "):
                say(f"{os}: {line[3:].rstrip()}")
    if mmdebstrap.returncode:
        fail(explain(os, output))
