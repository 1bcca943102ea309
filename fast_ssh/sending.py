"""A paramiko transport that does not hold packets back."""

import socket
from typing import Any

import paramiko


def transport_factory(sock: Any, **options: Any) -> paramiko.Transport:
    """paramiko leaves Nagle's algorithm on, which costs a delayed acknowledgement each time."""
    if hasattr(sock, "setsockopt"):  # the channel of a jump host is no socket
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return paramiko.Transport(sock, **options)
