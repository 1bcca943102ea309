"""What a box says is parsed into what it should be, or refused in one sentence."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

import tasks
from deeprig import operations
from deeprig.errors import DeeprigError
from deeprig.facts import reinstall, survey, wake_memory, workload
from deeprig.facts.wake_memory import WakeTarget
from deeprig.operations.box_fact import BoxFact
from deeprig.parsers import nvidia_smi, untrusted
from deeprig.parsers.untrusted import NotSo
from deeprig.runner import runs
from deeprig.settings import Rig, WakeOnLan
from deeprig.ssh import root_shell
from deeprig.ssh.root_shell import Done
from deeprig_cli.driver.client import DriverClient
from deeprig_cli.power import arm, magic_packet
from deeprig_cli.power.magic_packet import Destination
from deeprig_cli.run.client import FORM, JobClient
from tasks import base
from tests.unit.recorded import DEBIAN_13
from tests.unit.test_driver_verb import FACTS
from tests.unit.test_wake_on_lan import WORKSTATION

MAC = "3c:7c:3f:00:11:22"
HOSTILE = {
    "a command": "00:11:22:33:44:55; id >/tmp/PWNED; : ",
    "a newline": f"{MAC}\nid",
    "a newline at the end": f"{MAC}\n",
    "a quote": "eth0'; id; '",
    "a substitution": "$(id)",
    "escape sequences": "\x1b]0;PWN\x07\x1b[2J",
    "8-bit controls": "\x9b2J\x9d0;PWN\x9c",
    "an option": "-x",
    "other digits": "\uff13\uff43:7c:3f:00:11:22",
    "a megabyte": "a" * 2**20,
    "no UTF-8": b"eth0\xff\xfe".decode(errors="replace"),
    "half a character": b"eth0\xff".decode(errors="surrogateescape"),
    "nothing": "",
}
PARSERS = [untrusted.mac, untrusted.interface, untrusted.pci_address, untrusted.pci_id,
           untrusted.uuid, untrusted.boot_id, untrusted.serial, untrusted.user_name,
           untrusted.package, untrusted.version]  # fmt: skip


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: str(parse.__doc__))
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_such_value_is_refused_in_one_short_line(
    parse: Callable[[str], str], text: str
) -> None:
    with pytest.raises(NotSo) as refused:
        parse(text)
    said = str(refused.value)
    assert len(said) < 600 and said.isprintable()


@pytest.mark.parametrize(
    "text", [*HOSTILE.values(), "1.5", "+1", "0x10", "1_000", "\u0663", "9" * 20]
)
def test_what_is_no_number_is_none(text: str) -> None:
    with pytest.raises(NotSo):
        untrusted.number(text)
    assert untrusted.number("0042") == 42  # the control


FINE = {
    untrusted.mac: [MAC],
    untrusted.interface: ["eth0", "br-1a2b3c4d5e6f", "enp5s0.100", "veth1@if2"],
    untrusted.link_address: ["", "00:00:00:00", ":".join(["80"] * 20)],
    untrusted.pci_address: ["0000:41:00.0", "00000000:01:00.0", "10000:e1:00.0"],
    untrusted.uuid: ["ABCD-1234", "fcFFFF-aaaa-bbbb", "2026-11-30-08-00-00-00"],
    untrusted.package: ["linux-image-6.1.0-10-amd64", "g++", "libc6:i386"],
    untrusted.version: ["6.8.0-142.142+1", "1:580.173.02-0ubuntu1~24.04.1"],
    untrusted.user_name: ["ai", "_apt", "anna-2", "host$"],
    untrusted.path: ["/", "/srv/a b/ü"],
}


@pytest.mark.parametrize("parse", FINE, ids=lambda parse: str(parse.__doc__))
def test_what_honest_boxes_say_is_taken(parse: Callable[[str], str]) -> None:
    for text in FINE[parse]:
        assert parse(text) == text


# --- the survey

LINES = [
    *("card={}|3c:7c:3f:00:11:22|wired||", "card=eth0|{}|wired||", "card=eth0|{}", "card={}"),
    *("card=eth0|3c:7c:3f:00:11:22|{}||", "card=eth0|3c:7c:3f:00:11:22|wired|{}/x.link|"),
    *("wakes=eth0 {}", "wakes={} g", "below={} eth0", "route={}", "ipv4=eth0 {}", "armed_by={}"),
    *("disks={}", 'disks={{"blockdevices": [{{"path": "{}"}}]}}', "written={}", "fstab={}"),
    *("occupied={}", "root_type={}", "root_volume={}", "room={}", "swap_file={}"),
    *("gpu={}", "gpu=0000:01:00.0 {} 030000", "kernel={}", "loaded_driver={}", "desktop={}"),
    "standing_driver={}",
    *("kernel_package={}", "modalias={}", "offer={} 1", "given_gpu={}"),
    *("docker_keeps={}", "docker_keeps=/x {} 1 1", "pci={}", "given={}", "memory_mib={}"),
    *("system_disk={}", "processors={}", "dirty={}", "clock={}", "wireguard={}", "user={}"),
    *("dma_table={}", "virtualisation={}", "kex={}"),
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_strange_box_is_refused_in_sentences_and_ends_nothing(line: str) -> None:
    refused = 0
    for text in HOSTILE.values():
        lines = line.format(text).split("\n")
        found = survey.read([*lines, "offers=yes", *DEBIAN_13])
        for said in found.strange:
            assert said.isprintable() and len(said) < 700
            assert said.endswith("find out who answers there.")
        if found.strange:
            refused += 1
            assert survey.objections(found, Rig()) == list(found.strange)
    assert refused >= 3


def test_a_recorded_box_is_not_strange() -> None:
    assert survey.read([*DEBIAN_13, *WORKSTATION]).strange == ()


def test_what_is_only_shown_may_be_odd_on_honest_boxes() -> None:
    part = {"path": "/dev/sda1", "type": "part", "tran": None, "size": 5, "serial": None,
            "fstype": "vfat", "uuid": "\x1b[", "pttype": None, "partlabel": "my \x1b]0;stick",
            "mountpoints": ["/media/anna/a 'b' \x07"]}  # fmt: skip
    disk = part | {"path": "/dev/sda", "serial": "\x00\x01 junk", "children": [part]}
    tree = json.dumps({"blockdevices": [disk]})
    found = survey.read(["name=\x1b]0;PWN\x07", *DEBIAN_13, f"disks={tree}"])
    assert found.strange == ()
    [device] = found.disks.devices
    assert (device.serial, device.uuid) == ("", "")  # no setting could name them
    assert device.label == "my \\x1b]0;stick"
    assert device.mounts == ("/media/anna/a 'b' \\x07",)
    assert found.name == "\\x1b]0;PWN\\x07"


def test_a_tree_of_disks_that_has_no_end_is_refused() -> None:
    tree = '{"path": "/dev/a", "type": "disk", "tran": null, "size": 1, "serial": null, '
    tree += '"fstype": null, "uuid": null, "pttype": null, "partlabel": null, "mountpoints": []'
    deep = "".join(f'{tree}, "children": [' for _ in range(900)) + "]}" * 900
    for blocks in (deep, "[" * 100_000):
        assert survey.read([f'disks={{"blockdevices": [{blocks}]}}']).strange


def hostile(said: str) -> dict[str, Any]:
    answers = {"sh -c": said, "sudo -n true": "yes"}
    return {"rig": Rig(), "fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": answers}


def test_a_run_leaves_a_strange_box_alone_and_says_why() -> None:
    said = "card=eth0|00:11:22:33:44:55; id|wired||"
    report = runs.run("@fake/rig1", hostile(said), lambda rig: _survey(rig), dry=True)
    assert [reason for reason in report.refusals if "is no address of a network card" in reason]
    assert report.error and report.error.startswith("@fake/rig1: What it says of its network cards")


def _survey(rig: Rig) -> None:
    base.survey(rig=rig)


# --- facts


def facts() -> Iterator[type[FactBase[Any]]]:
    for package in (tasks, operations):
        for module in Path(package.__path__[0]).glob("*.py"):
            __import__(f"{package.__name__}.{module.stem}")
    yield from BoxFact.__subclasses__()


def test_every_fact_of_ours_fails_alone() -> None:
    own = {fact.__name__ for fact in facts()}
    ours = ("tasks.", "deeprig.", "deeprig_cli.")
    every = {f.__name__ for f in FactBase.__subclasses__() if f.__module__.startswith(ours)}
    assert every == {"BoxFact"} and len(own) > 20


@pytest.mark.parametrize("fact", [*facts()], ids=lambda fact: fact.__name__)
def test_an_answer_that_is_none_is_one_sentence(fact: type[FactBase[Any]]) -> None:
    odd = ["file=", "size=x /a", "sudo=1|2", "apt=|", "now=x", "last=x", "room=/ x", "file x",
           "rule zz", "|", "||||", "[" * 10_000, '{"owed": 1}']  # fmt: skip
    for text in (*HOSTILE.values(), *odd):
        try:
            fact().process([text])
        except FactProcessError as error:
            assert str(error).isprintable() and len(str(error)) < 700


# --- a jump host and a card


@contextmanager
def jump_host() -> Iterator[tuple[list[str], Callable[[str], list[str]]]]:
    """An ssh whose far end gives what it is told to `sh -c`, as sshd does."""
    told: list[str] = []

    def ssh(command: str) -> list[str]:
        told.append(command)
        return ["sh", "-c", command]

    yield told, ssh


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_box_runs_a_command_on_the_jump_host(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mark = text.replace("/tmp/PWNED", "PWNED")
    with jump_host() as (told, ssh), pytest.raises(DeeprigError):
        magic_packet.send_via("jump", ssh, Destination(mac=mark, broadcast="127.0.0.1"))
    assert told == [] and list(tmp_path.iterdir()) == []


def test_an_honest_boxs_packet_is_sent_from_the_jump_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(magic_packet, "SCRIPT", 'echo "$# $*" >&2; exit 3')
    with jump_host() as (told, ssh), pytest.raises(DeeprigError, match=f"4 {MAC} 10.0.0.255 9 3"):
        magic_packet.send_via("jump", ssh, Destination(mac=MAC, broadcast="10.0.0.255"))
    assert told == [f"sh -s {MAC} 10.0.0.255 9 3"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("key", ["mac", "lan"])
def test_what_is_remembered_is_parsed_again(text: str, key: str, tmp_path: Path) -> None:
    file = tmp_path / "wake_on_lan.json"
    good = {"mac": MAC, "lan": "192.168.1.0/24"}
    file.write_text(json.dumps({"rig1": good | {key: text}}, ensure_ascii=True))
    if key == "lan" and not text:
        assert wake_memory.find(file, "rig1") == WakeTarget(MAC, "")
        return
    with pytest.raises(DeeprigError, match="the next deploy writes it anew") as refused:
        wake_memory.find(file, "rig1")
    assert str(refused.value).isprintable()


def test_a_card_that_is_no_ethernet_is_not_remembered() -> None:
    infiniband = ":".join(["80"] * 20)
    found = survey.read([f"card=ib0|{infiniband}|wired||", "route=ib0"])
    assert found.strange == ()
    assert wake_memory.of(found.network, WakeOnLan()) is None


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_card_with_such_a_name_is_not_armed(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(transport: object, command: str, **_: Any) -> Done:
        asked.append(command)
        return Done(0, f"card={text}|{MAC}|wired||\nroute={text}\n", "")

    monkeypatch.setattr(root_shell, "run", answer)
    data = {"ssh_hostname": "rig1", "ssh_known_hosts_file": str(tmp_path / "known_hosts")}
    why = arm.arm(None, data, WakeOnLan())  # type: ignore[arg-type]
    assert why and why.isprintable()
    assert asked == ["sudo -n sh -s"] and list(tmp_path.iterdir()) == []


# --- other answers


def answering(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(JobClient, "_transport", lambda self: None)
    monkeypatch.setattr(DriverClient, "_transport", lambda self: None)
    monkeypatch.setattr(root_shell, "run", lambda *_, **__: Done(0, said, ""))


JOB: dict[str, Any] = {
    "name": "train", "state": "failed", "status": 1, "started": 1, "ended": 2, "seconds": 1.0,
    "command": "python train.py", "gpus": [{"index": "0", "uuid": "GPU-1", "name": "RTX 3090"}],
    "environment": "base", "log": "/home/ai/log", "said": "no", "notebook": None,
}  # fmt: skip
ODD_JOBS = {
    "no list": {"a": 1}, "no object": [1], "lacking": [{"name": "a"}],
    "a name": [JOB | {"name": "a\x1b"}],
    "a state": [JOB | {"state": "\x1b]0;x"}], "a status": [JOB | {"status": "1"}],
    "a time": [JOB | {"seconds": "long"}], "cards": [JOB | {"gpus": "all"}],
    "a card": [JOB | {"gpus": [{"index": 0}]}], "a command": [JOB | {"command": None}],
}  # fmt: skip


@pytest.mark.parametrize("said", ODD_JOBS.values(), ids=ODD_JOBS)
def test_jobs_that_cannot_be_so_are_one_line(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, json.dumps(said))
    with pytest.raises(DeeprigError, match=r"^rig1 says of its jobs what cannot be so") as refused:
        JobClient("rig1", {}).every()
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("said", ["", "x", "[" * 100_000, "[NaN]", '[{"name": 1e999}]'])
def test_an_answer_that_is_no_json_is_one_line(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, said)
    with pytest.raises(DeeprigError, match=r"^rig1 says of its jobs"):
        JobClient("rig1", {}).every()
    with pytest.raises(DeeprigError, match=r"^rig1 says of its driver"):
        DriverClient("rig1", {}).status([])
    with pytest.raises(DeeprigError, match=r"^rig1 does not say what runs there"):
        workload.work(None, "rig1")  # type: ignore[arg-type]
    with pytest.raises(DeeprigError, match="is no boot id"):
        DriverClient("rig1", {}).boot_id()


def test_honest_jobs_and_a_drivers_standing_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, json.dumps([JOB]))
    assert JobClient("rig1", {}).every() == [{"host": "rig1", **JOB}]
    assert set(FORM) == set(JOB)
    answering(monkeypatch, json.dumps(FACTS))
    assert DriverClient("rig1", {}).status([]) == FACTS
    none = {"driver": "", "state": "there is none"}
    answering(monkeypatch, json.dumps(none))
    assert DriverClient("rig1", {}).status([]) == none


@pytest.mark.parametrize("key", ["driver", "plan", "loaded", "modules", "holds", "move", "now"])
def test_a_standing_that_lacks_something_is_one_line(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for odd in ({k: v for k, v in FACTS.items() if k != key}, FACTS | {key: ["\x1b"]}):
        answering(monkeypatch, json.dumps(odd))
        with pytest.raises(DeeprigError, match=r"^rig1 says of its driver") as refused:
            DriverClient("rig1", {}).status([])
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("value", ["inf", "nan", "1e999", "9" * 400, "-", "\uff11"])
def test_a_number_that_is_none_is_not_known(value: str) -> None:
    [card] = nvidia_smi.cards(f"{value}, {value}\n", ("memory.total", "power.limit"))
    assert (card.memory, card.power_limit) == (None, None)


def test_a_folder_with_an_odd_name_is_only_left_out() -> None:
    found = reinstall.read(["erased=/data", "size=7 /data/ai/notebooks", "size=9 /data/a\x1b]0;x"])
    assert found.erased[0].parts == {"notebooks": 7}
