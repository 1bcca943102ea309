"""How the box reaches the outside: certificates, proxies, package index; for apt, pip and uv."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from deeprig import operations
from deeprig.operations import files, managed_files
from deeprig.settings import Rig, url_login

APT_PROXY = "/etc/apt/apt.conf.d/deeprig-proxy.conf"
APT_LOGIN = "/etc/apt/auth.conf.d/deeprig-proxy.conf"
# What everybody's pip and uv read, to the same in a file that is ours alone.
EVERYBODYS = {"/etc/pip.conf": "/etc/deeprig/pip.conf", "/etc/uv/uv.toml": "/etc/deeprig/uv.toml"}
CERTIFICATES = "/usr/local/share/ca-certificates"
CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@deploy("Network access")
def provide(settings: Rig) -> None:
    """What stands between the box and the archives, told to everything that downloads."""
    _trust(settings.ca_certificates)
    apt_proxy, name, password = url_login.split(settings.apt_proxy or settings.proxy or "")
    if name:
        login = {"proxy": apt_proxy, "name": name, "password": password}
        files.write(APT_LOGIN, mode="600", **login)
    else:
        files.remove(name=f"No {APT_LOGIN}", path=APT_LOGIN)
    for path, proxy in (
        (APT_PROXY, apt_proxy),
        ("/etc/profile.d/deeprig-proxy.sh", settings.proxy),
        ("/etc/environment.d/50-deeprig-proxy.conf", settings.proxy),
    ):
        if proxy:
            files.write(path, proxy=proxy, host=urlsplit(proxy).hostname)
        else:
            files.remove(name=f"No {path}", path=path)
    _have_packages(settings)


def _have_packages(settings: Rig) -> None:
    """Where pip and uv go: everybody's by the box's files, unless they are somebody's, and ours by
    an index of the settings alone.
    """
    index, proxy = settings.pypi_index, settings.proxy
    needed = {"own": bool(index), "everybodys": bool(index or proxy or settings.ca_certificates)}
    others = managed_files.of_others(*EVERYBODYS)
    for path, own in EVERYBODYS.items():
        for file, needs_it in ((own, needed["own"]), (path, needed["everybodys"])):
            if file in others:
                continue
            if needs_it:
                files.write(file, template=own, index=index, proxy=proxy)
            else:
                files.remove(name=f"No {file}", path=file)
        if needed["everybodys"] and path in others:
            but = f", but for deeprig's own installs, which {own} is for" if index else ""
            operations.say(
                host, f"{path} is not deeprig's and stays as it is: it is what counts{but}."
            )


def _trust(paths: tuple[str, ...]) -> None:
    """update-ca-certificates takes one certificate a file, so a bundle is taken apart."""
    for number, certificate in enumerate(
        text for path in paths for text in CERTIFICATE.findall(Path(path).read_text())
    ):
        files.put(
            name=f"Write {CERTIFICATES}/deeprig-{number}.crt",
            dest=f"{CERTIFICATES}/deeprig-{number}.crt",
            content=certificate,
        )
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    operations.shell(
        name="Trust the certificates of your network",
        unless=f"for f in {CERTIFICATES}/deeprig-*.crt; do [ -e $f ] || continue; "
        f"[ {bundle} -nt $f ] || exit 1; done; echo trusted",
        commands=["update-ca-certificates"],
    )
