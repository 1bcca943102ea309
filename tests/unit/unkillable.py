"""Processes that no signal ends: they wait for a file system that never answers (FUSE), in state D.

The kernel waits for what it has asked a file server, whoever kills the one that asked; so does a
driver that hangs. Root and /dev/fuse are needed, else the test is skipped.
"""

import ctypes
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

INIT, MOST = 26, 2**17
HEADER, ANSWER = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
# fuse_init_out of protocol 7.8 and older: major, minor, readahead, flags, background, threshold,
# the largest write.
FEATURES = struct.Struct("=IIIIHHI")
FORCE, DETACH = 1, 2  # the first ends what waits


@contextmanager
def folder(at: Path) -> Iterator[Path]:
    """A folder in which every question about a file hangs, for as long as this lasts."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no process can be had in state D: /dev/fuse: {error.strerror}")
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"silent", bytes(at), b"fuse", 0, options):
        os.close(device)
        pytest.skip(f"no process can be had in state D: {os.strerror(ctypes.get_errno())}")
    server = threading.Thread(target=_say_hello_and_no_more, args=(device,), daemon=True)
    server.start()
    try:
        yield at
    finally:
        libc.umount2(bytes(at), FORCE | DETACH)
        os.close(device)


def _say_hello_and_no_more(device: int) -> None:
    try:
        while question := os.read(device, MOST):
            _, what, unique, *_ = HEADER.unpack_from(question)
            if what == INIT:
                features = FEATURES.pack(7, 8, 0, 0, 0, 0, 4096)
                os.write(device, ANSWER.pack(ANSWER.size + len(features), 0, unique) + features)
    except OSError:
        return
