"""A secret is shown nowhere; a login in a URL that everybody would read is refused."""

import dataclasses
import json
from typing import Any

import pytest

from deeprig.operations import files
from deeprig.settings import (
    Containers,
    Cuda,
    Disk,
    Driver,
    Firewall,
    Guest,
    Notebook,
    Passthrough,
    PowerLimit,
    Python,
    Rig,
    SettingsError,
    Ssh,
    Storage,
    User,
    WakeOnLan,
    url_login,
)
from tasks import manifest
from tests.unit.test_deploy import plan
from tests.unit.test_settings import KEY, UUID

CANARY = "canary77"
URLS = (
    f"https://anna:{CANARY}@site.lan:3128",
    f"http://anna:{CANARY}@site.lan/simple",
    f"https://{CANARY}@site.lan/simple",
    f"anna:{CANARY}@site.lan:25",
)
HASH = f"argon2:$argon2id$v=19$m=10240,t=10,p=8${CANARY}$c2FsdA"
# Every part, with what it cannot do without.
PARTS: dict[type, dict[str, Any]] = {
    Rig: {},
    User: {"name": "ann", "keys": (KEY,)},
    Ssh: {},
    Firewall: {},
    Disk: {"serials": ("S1",)},
    Storage: {},
    PowerLimit: {"gpu": UUID, "watts": 300},
    Driver: {},
    Cuda: {},
    Containers: {},
    Python: {},
    Notebook: {},
    WakeOnLan: {},
    Passthrough: {"gpus": ("0000:41:00.0",)},
    Guest: {"image": "/srv/x.qcow2", "sha256": "0" * 64, "keys": (KEY,)},
}
KEPT = {("Rig", "apt_proxy"), ("Rig", "notify")}
REFUSED = {
    ("Rig", "proxy"): "name a proxy that needs none",
    ("Rig", "pypi_index"): r"~/\.netrc",
    ("Python", "torch_index"): r"~/\.netrc",
    ("Driver", "mirror"): r"/etc/apt/auth\.conf\.d",
    ("Cuda", "mirror"): r"/etc/apt/auth\.conf\.d",
    ("Containers", "mirror"): r"/etc/apt/auth\.conf\.d",
    ("Guest", "image"): "its path",
}


def settings() -> list[tuple[type, str]]:
    return [(part, field.name) for part in PARTS for field in dataclasses.fields(part)]


@pytest.mark.parametrize(
    ("part", "name"), settings(), ids=[f"{part.__name__}.{name}" for part, name in settings()]
)
def test_a_login_in_a_url_is_refused_or_hidden(part: type, name: str) -> None:
    taken = []
    for url in URLS:
        for value in (url, (url,)):
            try:
                made = part(**PARTS[part] | {name: value})
            except SettingsError as error:
                assert CANARY not in str(error)
                continue
            taken.append(url)
            assert CANARY not in repr(made)
            if part is Rig:
                assert CANARY not in json.dumps(made.to_json())
                assert CANARY not in json.dumps(manifest.settings_without_secrets(made))
    assert bool(taken) is ((part.__name__, name) in KEPT)


@pytest.mark.parametrize("where", REFUSED, ids=".".join)
def test_the_refusal_says_what_to_do_instead(where: tuple[str, str]) -> None:
    part = next(part for part in PARTS if part.__name__ == where[0])
    name = r"\.".join(where)
    advice = REFUSED[where]
    with pytest.raises(SettingsError, match=rf"{name} is .*could be read by every.*{advice}.*\.$"):
        part(**PARTS[part] | {where[1]: URLS[0]})
    assert part(**PARTS[part] | {where[1]: "https://site.lan/simple"})  # the control


def secretive() -> Rig:
    return Rig(
        apt_proxy=URLS[0],
        notify=f"https://ntfy.sh/{CANARY}",
        notebook=Notebook(password_hash=HASH),
    )


def test_no_secret_is_in_a_record_or_a_plan() -> None:
    rig = secretive()
    assert CANARY not in repr(rig)
    assert CANARY not in json.dumps(rig.to_json())  # what debug-inventory prints
    kept = manifest.settings_without_secrets(rig)
    assert CANARY not in json.dumps(kept)
    assert (kept["notify"], kept["notebook"]["password_hash"]) == ("given", "given")
    assert kept["apt_proxy"] == "https://...@site.lan:3128"
    report = plan(rig)
    assert any("auth.conf.d" in step.name for step in report.steps)  # the control: it is used
    assert CANARY not in repr(report)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://anna:pw@site.lan:3128", ("http://site.lan:3128", "anna", "pw")),
        ("https://a%40b:p%2Fw@site.lan", ("https://site.lan", "a@b", "p/w")),
        ("http://[fd00::1]:3128", ("http://[fd00::1]:3128", "", "")),
    ],
)
def test_a_login_is_cut_out_of_its_url(url: str, parts: tuple[str, str, str]) -> None:
    assert url_login.split(url) == parts


@pytest.mark.parametrize("url", ["http://a:b%20c@x.lan", "http://a:b%0Ac@x.lan", "http://a@x.lan"])
def test_a_login_that_apt_could_not_read_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"Rig\.apt_proxy is 'http://\.\.\.@x\.lan'; "):
        Rig(apt_proxy=url)


def test_apt_has_the_login_in_its_own_file_alone() -> None:
    url, name, password = url_login.split(URLS[0])
    text = files.render(
        "/etc/apt/auth.conf.d/deeprig-proxy.conf", proxy=url, name=name, password=password
    )
    assert f"machine https://site.lan:3128 login anna password {CANARY}\n" in text
