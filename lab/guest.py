"""The files that make a base system one particular machine: its name, keys, address, password."""

import base64
import hashlib
import os
import uuid
from pathlib import Path

from lab import network, shell

INTERFACES = """\
auto lo
iface lo inet loopback

{when} {card}
iface {card} inet static
    address {address}/24
    gateway {gateway}
"""

NETPLAN = """\
network:
  version: 2
  renderer: networkd
  ethernets:
    {card}:
      addresses: [{address}/24]
      routes: [{{to: default, via: {gateway}}}]
      nameservers: {{addresses: [{nameserver}]}}
"""

HOSTS = """\
127.0.0.1 localhost
127.0.1.1 {name}
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""


def personalise(
    upper: Path,
    image: Path,
    *,
    name: str,
    address: str,
    password: str,
    netplan: bool,
    card: str = "eth0",
) -> None:
    """Write one machine's files into `upper`, the layer above `image`; its box must be off."""
    values = {
        "name": name,
        "card": card,
        # A VM's card may be there only after the network has started; so does Debian's installer.
        "when": "auto" if card == "eth0" else "allow-hotplug",
        "address": address,
        "gateway": network.GATEWAY,
        "nameserver": network.NAMESERVER,
    }
    etc = _Layer(upper, image)
    etc.write("etc/hostname", f"{name}\n")
    etc.write("etc/hosts", HOSTS.format(**values))
    etc.write("etc/machine-id", f"{uuid.uuid4().hex}\n", mode=0o444)
    etc.write("etc/resolv.conf", f"nameserver {network.NAMESERVER}\n")
    if netplan:
        etc.write("etc/netplan/50-cloud-init.yaml", NETPLAN.format(**values), mode=0o600)
    else:
        etc.write("etc/network/interfaces", INTERFACES.format(**values))
    shadow = image / "etc/shadow"
    group = shadow.stat().st_gid
    etc.write("etc/shadow", _with_password(shadow, password), mode=0o640, group=group)
    etc.folder("etc/ssh")
    shell.run("ssh-keygen", "-q", "-A", "-f", str(upper))


def host_keys(upper: Path) -> list[str]:
    """The machine's public host keys, each as `type base64`."""
    files = sorted((upper / "etc/ssh").glob("ssh_host_*_key.pub"))
    return [" ".join(file.read_text().split()[:2]) for file in files]


def fingerprints(upper: Path) -> list[str]:
    """The same keys as `ssh` and a box's console show them: `SHA256:...`."""
    blobs = [base64.b64decode(key.split()[1]) for key in host_keys(upper)]
    digests = [base64.b64encode(hashlib.sha256(blob).digest()) for blob in blobs]
    return [f"SHA256:{digest.decode().rstrip('=')}" for digest in digests]


class _Layer:
    """The upper layer of a box's file system, whose folders must look like those they cover."""

    def __init__(self, upper: Path, image: Path) -> None:
        self.upper, self.image = upper, image

    def folder(self, path: str) -> None:
        for part in [*reversed(Path(path).parents), Path(path)]:
            place = self.upper / part
            if not place.is_dir():
                place.mkdir()
                place.chmod((self.image / part).stat().st_mode & 0o7777)

    def write(self, path: str, text: str, *, mode: int = 0o644, group: int = 0) -> None:
        self.folder(str(Path(path).parent))
        place = self.upper / path
        place.touch(mode=0o600)
        place.write_text(text)
        os.chown(place, 0, group)
        place.chmod(mode)


def _with_password(shadow: Path, password: str) -> str:
    """The base system's shadow file, with the password of the installer's user in it."""
    hashed = shell.run("openssl", "passwd", "-6", "-stdin", stdin=password).strip()
    lines = shadow.read_text().splitlines()
    fields = [line.split(":") for line in lines]
    return "".join(
        ":".join([user, hashed if user == "ai" else old, *rest]) + "\n"
        for user, old, *rest in fields
    )
