"""Whose the driver's libraries are that programs get, whatever lies beside the packages'."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.box_scripts import loaded


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A box whose packages own what is named in `owned`, and whose loader takes `known`."""
    with loaded("nvidia.libraries") as module:
        module.owned, module.known = {}, []  # type: ignore[attr-defined]

        def said(*argv: str) -> str:
            if argv[0] == "ldconfig":
                return "".join(f"\t{n} (libc6,x86-64) => {p}\n" for n, p in module.known)
            return f"{module.owned[argv[-1]]}:amd64: {argv[-1]}" if argv[-1] in module.owned else ""

        monkeypatch.setattr(module, "said", said)
        monkeypatch.setattr(module, "LOADER", tmp_path / "ld.so.conf.d")
        yield module


def library(folder: Path, name: str, version: str) -> tuple[Path, Path]:
    """The link and the file behind it."""
    folder.mkdir(exist_ok=True)
    file, link = folder / f"{name}.so.{version}", folder / f"{name}.so.1"
    file.touch()
    link.unlink(missing_ok=True)
    link.symlink_to(file.name)
    return link, file


def test_the_packages_own_both(libraries: ModuleType, tmp_path: Path) -> None:
    for name in ("libcuda", "libnvidia-ml"):
        link, file = library(tmp_path / "lib", name, "580.178.04")
        libraries.known.append((link.name, link))
        libraries.owned[str(file)] = "some-package"
    found = libraries.all_of_them()
    assert {(row["version"], row["owner"]) for row in found} == {("580.178.04", "some-package")}
    assert [row["name"] for row in found] == ["libcuda.so.1", "libnvidia-ml.so.1"]


def test_a_stray_one_belongs_to_nobody(libraries: ModuleType, tmp_path: Path) -> None:
    link, file = library(tmp_path / "lib", "libnvidia-ml", "590.44.01")
    libraries.known.append((link.name, link))
    row = libraries.all_of_them()[1]
    assert (row["file"], row["owner"], row["version"]) == (str(file), "", "590.44.01")


def test_one_that_comes_first_by_a_line_of_somebodys(libraries: ModuleType, tmp_path: Path) -> None:
    link, file = library(tmp_path / "compat", "libcuda", "595.91.07")
    libraries.known.append((link.name, link))
    libraries.owned[str(file)] = "cuda-compat-13-2"
    libraries.LOADER.mkdir()
    conf = libraries.LOADER / "000_cuda.conf"
    conf.write_text(f"# first\n{link.parent}/\n")
    row = libraries.all_of_them()[0]
    assert (row["owner"], row["named_in"]) == ("cuda-compat-13-2", str(conf))
