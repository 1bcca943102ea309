"""What is sent away names nobody and nothing of its own, and becomes a line of a table."""

import json
from pathlib import Path
from typing import Any

import pytest

from deeprig.errors import DeeprigError
from deeprig.settings import Notebook, Rig, User
from deeprig_cli.verify import evidence, scrub
from deeprig_cli.verify.runner import Check
from tests.unit.test_survey import KEY
from tools import seen_on

RIG = Rig(notebook=Notebook(user="anna"), users=(User(name="otto", keys=(KEY,)),))
DATA = {"rig": RIG, "ssh_hostname": "192.168.1.50", "ssh_user": "deeprig", "ssh_key": "/home/me/k"}
BOXES = [("rig1.lan", DATA)]


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("rig1.lan port 22 does not answer", "<box 1> port 22 does not answer"),
        ("192.168.1.50 and 10.9.8.7", "<box 1> and <address>"),
        ("cuDNN 9.10.2.21 on 127.0.0.1", "cuDNN 9.10.2.21 on 127.0.0.1"),  # the control
        ("driver 580.178.04, kernel 6.12.117+deb13", "driver 580.178.04, kernel 6.12.117+deb13"),
        ("otto and anna: annals", "<user> and <user>: annals"),
        ("/home/anna/envs, /home/me/k", "/home/<user>/envs, <ssh_key>"),
        ("the deploy user deeprig", "the deploy user deeprig"),
        ("3c:7c:3f:00:11:22", "<mac>"),
        ("fe80::1ff:fe23:4567:890a%eth0", "<address>"),
        ("GPU-8f3c0c5e-4f0f-4e0e-9a44-0c9a2b6f7d10", "<uuid>"),
        ("0000:01:00.0 VGA [0300]: [10de:2204]", "0000:01:00.0 VGA [0300]: [10de:2204]"),
        (KEY, "ssh-ed25519 <key> "),
        ("token 0123456789abcdef0123456789abcdef", "token <hex>"),
        ("argon2:$argon2id$v=19$m=1", "<hash>"),
        ("mail me@example.org, https://me:pw@ntfy.sh/secret", "mail <mail>, https://<host>/secret"),
    ],
)
def test_nothing_of_ones_own_is_left_in_what_is_sent(said: str, sent: str) -> None:
    assert scrub.text(said, scrub.words(BOXES)).startswith(sent)


def check(outcome: str, **values: Any) -> Check:
    usual = {"host": "rig1.lan", "component": "ssh", "check": "a key opens it", "reason": ""}
    return Check(**{**usual, "seconds": 1.0, "outcome": outcome, **values})


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is collected of one box; what it says stands in for a real one."""
    said = {
        "system": "Debian GNU/Linux 13 (trixie)",
        "kernel": "Linux 6.12.117+deb13-amd64 x86_64",
        "kind": "none",
        "lab": "",
        "nvidia-smi": "name, driver_version, vbios_version\nNVIDIA GeForce RTX 3090, 580.178.04, "
        "94.02\nNVIDIA GeForce RTX 3090, 580.178.04, 94.02",
        "cards on the bus": "01:00.0 VGA [0300]: NVIDIA [10de:2204]\nsent by anna",
    }
    monkeypatch.setattr(evidence, "_outputs", lambda host: said)
    checks = [
        check("passed"),
        check("failed", reason="rig1.lan lets otto in", check="it is shut"),
        check("passed", host="another"),
    ]
    return evidence.collect(BOXES, checks, "functional")


def test_a_bundle_has_what_was_seen_and_no_names(found: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(found)
    for name in ("rig1", "otto", "anna", "192.168"):
        assert name not in text
    [box] = found["boxes"]
    assert box["counts"] == {"passed": 1, "failed": 1}
    assert box["checks"][1]["reason"] == "<box 1> lets <user> in"
    file = tmp_path / "evidence.json"
    evidence.write(file, found)
    assert seen_on.load(file) == found


def test_a_bundle_becomes_a_line_of_the_table(found: dict[str, Any]) -> None:
    line = seen_on.table([found]).splitlines()[-1]
    assert line.startswith(
        "| Debian GNU/Linux 13 (trixie), kernel 6.12.117+deb13-amd64, real machine | "
        "2 x NVIDIA GeForce RTX 3090 with 580.178.04 | "
    )
    assert line.endswith("| 1 failed, 1 passed; failed: ssh: it is shut |")


def test_a_fake_card_is_named_as_such(found: dict[str, Any]) -> None:
    found["boxes"][0]["checks"][0]["fake"] = True
    found["boxes"][0]["outputs"] |= {"kind": "systemd-nspawn", "lab": "a lab's box"}
    line = seen_on.table([found]).splitlines()[-1]
    assert "with 580.178.04 (fake) |" in line and ", container of the lab |" in line


def test_what_is_no_evidence_is_one_line(tmp_path: Path) -> None:
    for text in ("", "[]", '{"form": 2}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DeeprigError, match="is no evidence; `deeprig verify --evidence FILE`"):
            seen_on.load(tmp_path / "x.json")
    with pytest.raises(DeeprigError, match="cannot be written: No such file"):
        evidence.write(tmp_path / "no/where", {})


DOCS = Path(__file__).parents[2] / "docs"


def test_the_document_has_the_lines_of_all_evidence() -> None:
    kept = [seen_on.load(file) for file in sorted((DOCS / "evidence").glob("*.json"))]
    assert kept
    assert seen_on.table(kept) in (DOCS / "seen_on.md").read_text()
