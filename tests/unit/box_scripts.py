"""The Python modules that land on a box, loaded from where they lie here."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).parents[2] / "files/usr/local/lib/deeprig"


@contextmanager
def loaded(name: str) -> Iterator[ModuleType]:
    """The module with those it imports, all of them fresh and gone again afterwards."""
    before = dict(sys.modules)
    sys.path.insert(0, str(SCRIPTS))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        path = next(p for p in (SCRIPTS / f"{name}.py", SCRIPTS / name) if p.exists())
        loader = SourceFileLoader(name.replace("-", "_"), str(path))
        spec = importlib.util.spec_from_loader(loader.name, loader)
        assert spec
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        yield module
    finally:
        sys.dont_write_bytecode = written
        sys.path.remove(str(SCRIPTS))
        for added in sys.modules.keys() - before.keys():
            del sys.modules[added]
