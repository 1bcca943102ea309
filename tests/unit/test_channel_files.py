"""A box that prints what is no UTF-8 ends nobody's run, and nothing of the rest is lost."""

import os
from pathlib import Path

import pytest

from deeprig.ssh import connection, known_hosts
from tests.unit import ssh_server

PRINT = "printf 'caf\\351 \\303\\251\\nnext\\n'; printf 'b\\377d\\n' >&2"


@pytest.mark.parametrize("mode", ["r", "rb"])
def test_lines_that_are_no_utf_8_are_lines(tmp_path: Path, mode: str) -> None:
    with ssh_server.serve(dict(os.environ)) as server:
        data = ssh_server.data(server, tmp_path)
        pins = Path(data["ssh_known_hosts_file"])
        known_hosts.pin(pins, "127.0.0.1", server.port, server.host_key)
        with connection.connect(data) as client:
            transport = client.get_transport()
            assert transport
            channel = transport.open_session()
            channel.exec_command(PRINT)
            out, err = list(channel.makefile(mode)), list(channel.makefile_stderr(mode))
            _, stdout, stderr = client.exec_command(PRINT)
            whole = stdout.read(), stderr.read()
    text = [["caf\ufffd é\n", "next\n"], ["b\ufffdd\n"]]
    raw = [[b"caf\xe9 \xc3\xa9\n", b"next\n"], [b"b\xffd\n"]]
    assert [out, err] == (text if mode == "r" else raw)
    assert whole == (b"caf\xe9 \xc3\xa9\nnext\n", b"b\xffd\n")
