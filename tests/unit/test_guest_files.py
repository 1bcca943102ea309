"""A guest's disk: the right image or none, and one that is there stays."""

import os
import pwd
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.box_scripts import loaded


@pytest.fixture
def files(tmp_path: Path) -> Iterator[ModuleType]:
    with loaded("passthrough.guest_files") as module:
        module.IMAGES = tmp_path / "images"
        module.IMAGES.mkdir()
        module.RUNS_GUESTS = pwd.getpwuid(os.getuid()).pw_name
        module.PROBED = tmp_path / "accelerator.json"
        yield module


def asked(image: Path | str, sha256: str | None = None) -> dict[str, Any]:
    return {"name": "guest", "image": str(image), "sha256": sha256, "disk_gib": 1}


def test_an_image_that_is_not_there_is_told(files: ModuleType) -> None:
    with pytest.raises(
        files.BoxError, match=r"Guest.image is '/srv/no', and the box has no such file"
    ):
        files.make_disk(asked("/srv/no"))


def test_whatever_else_is_there_is_no_image(files: ModuleType, tmp_path: Path) -> None:
    """And none of it holds the run up."""
    place = tmp_path / "image"
    for make in (
        place.mkdir,
        lambda: os.mkfifo(place),
        lambda: place.symlink_to("/dev/zero"),
        lambda: socket.socket(socket.AF_UNIX).bind(str(place)),
    ):
        make()
        with pytest.raises(files.BoxError, match=r"the box has no such file|link in it|is neither"):
            files.make_disk(asked(place))
        place.rmdir() if place.is_dir() else place.unlink()
    assert list(files.IMAGES.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="root may give files away")
@pytest.mark.parametrize("part", ["", "folder"])
def test_a_link_of_somebody_else_is_not_followed(
    files: ModuleType, tmp_path: Path, part: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(510) + b"\x55\xaa")
    link = tmp_path / (part or "image")
    link.symlink_to(tmp_path if part else secret)
    image = link / "secret" if part else link
    assert os.close(files._opened(str(image))) is None  # the control: root's own
    os.chown(link, 65534, 65534, follow_symlinks=False)
    with pytest.raises(files.BoxError, match="a link in it is not root's"):
        files.make_disk(asked(image))


def test_an_image_that_names_another_file_is_refused(files: ModuleType, tmp_path: Path) -> None:
    """QEMU would read that one as root, and the guest would have what is in it."""
    image = tmp_path / "image"
    backed = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0x200, 11, 16, 1 << 20)
    outside = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 1 << 20).ljust(72, b"\0") + bytes(
        [0, 0, 0, 0, 0, 0, 0, 4]
    )
    vmdk = b'# Disk DescriptorFile\nRW 8 FLAT "/etc/shadow" 0\n'
    for head, said in ((backed, "a part of"), (outside, "a part of"), (vmdk, "is neither qcow2")):
        image.write_bytes(head.ljust(4096, b"\0"))
        with pytest.raises(files.BoxError, match=said):
            files.make_disk(asked(image))
        assert list(files.IMAGES.iterdir()) == []


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not here")
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_whole_image_becomes_the_disk(files: ModuleType, tmp_path: Path, kind: str) -> None:
    tmp_path.chmod(0o711)
    raw, image = tmp_path / "raw", tmp_path / "image"
    raw.write_bytes((bytes(510) + b"\x55\xaa").ljust(1 << 20, b"x"))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, raw, image], check=True)
    if os.getuid() == 0:
        files.RUNS_GUESTS = "nobody"
        for folder in tmp_path.parents:
            if folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o011)
    files.make_disk(asked(image))
    made = files.disk("guest")
    assert files._header(made) == ("qcow2", 1 << 30)
    assert (made.stat().st_uid, made.stat().st_mode & 0o777) == (os.getuid(), 0o600)
    assert list(files.IMAGES.iterdir()) == [made]
    back = tmp_path / "back"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", made, back], check=True)
    assert back.read_bytes()[: 1 << 20] == raw.read_bytes()


def test_an_image_that_is_another_is_refused(files: ModuleType, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"not what was asked for")
    with pytest.raises(
        files.BoxError, match=r"Guest.image has the SHA-256 \w{64}, and not Guest.sha"
    ):
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
