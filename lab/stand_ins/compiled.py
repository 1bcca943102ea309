"""Tiny shared libraries and modules, compiled once for each source and kept in the lab's cache."""

import hashlib
import os
import platform
import subprocess
from pathlib import Path

from lab import paths, requirements
from lab.errors import fail

COMPILER = requirements.Package("gcc", "compiles the stand-ins' libraries", "gcc")
FLAGS = ("-fPIC", "-nostdlib", "-Os", "-w", "-x", "c")


def cache() -> Path:
    """Where they are kept; the whole folder may be deleted at any time."""
    return paths.images().parent / "stand-ins"


def library(source: str, soname: str) -> bytes:
    """The shared library. Raises DeeprigError where the compiler refuses."""
    return _kept(source, *FLAGS, "-shared", f"-Wl,-soname={soname}", "-Wl,--build-id=none")


def notes(source: str) -> bytes:
    """An object file that modinfo and depmod take for a kernel module."""
    return _kept(source, *FLAGS, "-c")


def _kept(source: str, *flags: str) -> bytes:
    """What the compiler makes of the source, from the cache if it did so before."""
    recipe = "\n".join([platform.machine(), *flags, source])
    kept = cache() / hashlib.sha256(recipe.encode()).hexdigest()[:24]
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _compile(source, kept, *flags)
    return kept.read_bytes()


def _compile(source: str, result: Path, *flags: str) -> None:
    requirements.install(print, [COMPILER])
    unfinished = result.with_suffix(f".{os.getpid()}")
    command = ["gcc", *flags, "-o", str(unfinished), "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        fail(f"a stand-in's library does not compile: {done.stderr.strip().splitlines()[0]}")
    unfinished.rename(result)
