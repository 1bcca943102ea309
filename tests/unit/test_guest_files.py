"""A guest's disk: the right image or none, and one that is there stays."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.box_scripts import loaded


@pytest.fixture
def files(tmp_path: Path) -> Iterator[ModuleType]:
    with loaded("guest_files") as module:
        module.IMAGES = tmp_path / "images"
        module.IMAGES.mkdir()
        module.PROBED = tmp_path / "accelerator.json"
        yield module


def asked(image: Path | str, sha256: str | None = None) -> dict[str, Any]:
    return {"name": "guest", "image": str(image), "sha256": sha256, "disk_gib": 1}


def test_an_image_that_is_not_there_is_told(files: ModuleType) -> None:
    with pytest.raises(
        files.Wrong, match=r"Guest.image is '/srv/no', and the box has no such file"
    ):
        files.make_disk(asked("/srv/no"))


def test_an_image_that_is_another_is_refused(files: ModuleType, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"not what was asked for")
    with pytest.raises(files.Wrong, match=r"Guest.image has the SHA-256 \w{64}, and not Guest.sha"):
        files.make_disk(asked(image, "0" * 64))
    assert not files.disk("guest").exists()


def test_a_disk_that_is_there_is_never_made_anew(files: ModuleType) -> None:
    files.disk("guest").write_text("somebody's work")
    files.make_disk(asked("/srv/no"))
    assert files.disk("guest").read_text() == "somebody's work"


def test_the_probe_is_asked_once_in_a_boot(
    files: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["it hung", ""])
    monkeypatch.setattr(files, "_probe", lambda: next(answers))
    assert [files.accelerator(), files.accelerator()] == ["tcg", "tcg"]
    assert files.complaint() == "it hung"
    files.BOOT_ID = files.PROBED.with_name("another-boot")
    files.BOOT_ID.write_text("another\n")
    assert files.accelerator() == "kvm"


def test_the_probe_is_firmware_that_ends_with_the_processors_first_instruction(
    files: ModuleType,
) -> None:
    assert len(files.PROBE) == 0x10000
    assert files.PROBE[0xFFF0:0xFFF2] == bytes((0xB0, 42))  # where a processor begins
    assert files.PROBE_STATUS == 2 * 42 + 1
