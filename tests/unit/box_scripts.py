"""The modules of a box's program, loaded from where they lie here."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

BOX = Path(__file__).parents[2] / "box"
PACKAGE = BOX / "deeprig_box"
SCRIPTS = BOX / "bin"


@contextmanager
def loaded(name: str) -> Iterator[ModuleType]:
    """A module, such as boot.grub_menu, with those it imports: what was not loaded before is fresh
    and gone again afterwards.
    """
    before = set(sys.modules)
    try:
        yield importlib.import_module(f"deeprig_box.{name}")
    finally:
        for added in sys.modules.keys() - before:
            if added.startswith("deeprig_box"):
                package, _, leaf = added.rpartition(".")
                if package in sys.modules:
                    vars(sys.modules[package]).pop(leaf, None)
                del sys.modules[added]
