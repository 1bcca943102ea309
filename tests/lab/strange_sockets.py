"""What another account does on a box to get at somebody's ports; it is put there and run.

serve ADDRESS PORT LOG [BACKLOG]   take the port as soon as it is free; what is sent goes to LOG
ask KIND ADDRESS PORT              connect and say something; prints "answered", or why not
pile PORT                          connect 200 times at once; prints how many were taken
cross LOCAL PORT                   connect from one port to the other, as the far side does
"""

import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

SECRET = b"GET / HTTP/1.0\r\nsecret: yes\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
IPPROTO_MPTCP = 262
ESTABLISHED = 1


def made(address: str, protocol: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = socket.socket(family, socket.SOCK_STREAM, protocol)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return end


def serve(address: str, port: str, log: str, backlog: str = "16") -> None:
    server = made(address)
    while True:
        try:
            server.bind((address, int(port)))
            break
        except OSError:
            time.sleep(0.005)
    server.listen(int(backlog))
    with Path(log).open("ab", buffering=0) as file:
        file.write(b"it has the port\n")
        while True:
            taken, _ = server.accept()
            taken.settimeout(2)
            with taken, suppress(OSError):
                file.write(taken.recv(65536))
                taken.sendall(ANSWER)


def ask(kind: str, address: str, port: str) -> None:
    with made(address, IPPROTO_MPTCP if kind == "mptcp" else 0) as end:
        end.settimeout(3)
        if kind == "device":
            device = next(name for _, name in socket.if_nameindex() if name != "lo")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        try:
            if kind == "fastopen":
                signal.alarm(10)
                end.settimeout(None)
                end.sendto(SECRET, socket.MSG_FASTOPEN, (address, int(port)))
            else:
                end.connect((address, int(port)))
                end.sendall(SECRET)
            print("answered" if end.recv(100) else "closed")
        except OSError as error:
            print(type(error).__name__)


def pile(port: str) -> None:
    ends = [made("127.0.0.1") for _ in range(200)]
    for end in ends:
        end.setblocking(False)
        with suppress(OSError):
            end.connect(("127.0.0.1", int(port)))
    time.sleep(2)
    print(sum(is_open(end) for end in ends))


def cross(local: str, port: str) -> None:
    with made("127.0.0.1") as end:
        end.bind(("127.0.0.1", int(local)))
        end.setblocking(False)
        end.connect_ex(("127.0.0.1", int(port)))
        until = time.monotonic() + 6
        while time.monotonic() < until and not is_open(end):
            time.sleep(0.05)
        if not is_open(end):
            print("never met")
            return
        end.settimeout(5)
        end.sendall(SECRET)
        print("met" if end.recv(100) else "closed")


def is_open(end: socket.socket) -> bool:
    """Whether both sides have agreed; half an agreement has a peer already."""
    state = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state == ESTABLISHED


if __name__ == "__main__":
    {"serve": serve, "ask": ask, "pile": pile, "cross": cross}[sys.argv[1]](*sys.argv[2:])
