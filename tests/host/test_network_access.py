"""Downloads go the way the settings say."""

from pathlib import Path

import pytest
from testinfra.host import Host

from deeprig.settings import Rig, url_login
from tasks.network_access import APT_LOGIN, CERTIFICATE, EVERYBODYS

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def test_the_certificates_of_your_network_are_trusted(host: Host, rig: Rig) -> None:
    if not rig.ca_certificates:
        pytest.skip("Rig.ca_certificates names none")
    trusted = "".join(host.file(BUNDLE).content_string.split())
    for path in rig.ca_certificates:
        for certificate in CERTIFICATE.findall(Path(path).read_text()):
            assert "".join(certificate.split()) in trusted, f"{path} is not trusted"


@pytest.mark.parametrize("path", EVERYBODYS)
def test_pip_and_uv_go_where_the_settings_say(host: Host, rig: Rig, path: str) -> None:
    if not (rig.ca_certificates or rig.proxy or rig.pypi_index):
        pytest.skip("Rig.ca_certificates, proxy and pypi_index name none")
    if rig.pypi_index:
        assert rig.pypi_index in host.file(EVERYBODYS[path]).content_string
    text = host.file(path).content_string
    if not text.startswith("# Written by deeprig"):
        pytest.skip(f"{path} was written by somebody else, and stays as it is")
    assert f"cert = {BUNDLE}" in text or "system-certs = true" in text
    assert (rig.pypi_index or "") in text


def test_apt_goes_through_the_proxy_of_the_settings(host: Host, rig: Rig) -> None:
    if not (rig.apt_proxy or rig.proxy):
        pytest.skip("Rig.apt_proxy and Rig.proxy name none")
    # A dump would have the hosts too that are asked without it.
    found = host.check_output("apt-config shell P Acquire::http::Proxy")
    wanted, name, _ = url_login.split(rig.apt_proxy or rig.proxy or "")
    assert url_login.hidden(found) == f"P='{wanted}'"
    login = host.file(APT_LOGIN)
    assert login.exists is bool(name)
    if name:
        assert (login.user, login.mode) == ("root", 0o600)
