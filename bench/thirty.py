"""Thirty ordinary operations, a pyinfra deploy file: `pyinfra INVENTORY bench/thirty.py`."""

from io import StringIO

from pyinfra.context import config, host
from pyinfra.operations import apt, files, server, systemd

from bench import wanted

config.SUDO = True
for package in wanted.PACKAGES:
    apt.packages(name=f"Install {package}", packages=[package], no_recommends=True)
server.group(name="Group", group="bench")
server.user(name="User", user="bench", group="bench", shell="/bin/bash")
for path in wanted.FOLDERS:
    files.directory(name=f"Folder {path}", path=path, mode="755", user="root", group="root")
for path in wanted.FILES:
    files.put(
        name=f"File {path}",
        src=StringIO(wanted.CONTENT),
        dest=path,
        mode="644",
        user="root",
        group="root",
    )
for line in wanted.LINES:
    files.line(name=f"Line {line}", path=wanted.LINES_IN, line=f"^{line}$", replace=line)
for path, target in wanted.LINKS.items():
    files.link(name=f"Link {path}", path=path, target=target)
for service in wanted.SERVICES:
    systemd.service(name=f"Service {service}", service=service, running=True, enabled=True)
server.hostname(name="Name of the host", hostname=host.data.bench_hostname)
files.file(name="Empty file", path=wanted.EMPTY, mode="644")
files.block(name="Block", path=wanted.BLOCK_IN, content=wanted.BLOCK)
