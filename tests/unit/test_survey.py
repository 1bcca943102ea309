"""What stands in the way is said in a sentence with the way out, before anything is touched."""

import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from deeprig.facts import disks, docker, gpus, network_cards, people
from deeprig.facts.survey import OWN, Survey, objections, read, script
from deeprig.preflight import ssh_algorithms
from deeprig.settings import Notebook, Rig, User
from tests.unit.recorded import DEBIAN_12, DEBIAN_13

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBEtRYYbJlM1KVX8OTlvBnEb0KImc8tqI6b4cU4FxKGE me@laptop"
RIG = Rig()


def survey(*more: str, without: str = "") -> Survey:
    return read([*(line for line in DEBIAN_13 if not without or without not in line), *more])


def test_a_fresh_box_is_welcome() -> None:
    found = survey()
    assert objections(found, RIG) == []
    assert (found.system, found.version, found.openssh_version) == ("debian", "13", (10, 0))
    assert found.users_with_key == ("ai",)
    assert found.container


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "dirty=run-file",
            "It carries a driver from a .run file, which would fight with ours; take it out with "
            "`sudo sh -c 'nvidia-uninstall'`.",
        ),
        (
            "firewall=firewalld",
            "It already has a firewall, firewalld; keep it with Rig(firewall=None), or remove it.",
        ),
        (
            "free_sudo=ai",
            "Notebook.user is 'ai', who may use sudo without a password: one bad package in a "
            "notebook would own the box; name another user, or take NOPASSWD out of "
            "/etc/sudoers.d.",
        ),
        (
            "root_group=ai|docker",
            "Notebook.user is 'ai', who is in group docker and so may become root; run "
            "`sudo gpasswd -d ai docker`, or name another user.",
        ),
        (  # as Ubuntu's installer leaves its user
            "root_group=ai|lxd",
            "Notebook.user is 'ai', who is in group lxd and so may become root; run "
            "`sudo gpasswd -d ai lxd`, or name another user.",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_the_way_out(line: str, sentence: str) -> None:
    assert objections(survey(line), RIG) == [sentence]


def test_all_groups_that_lead_to_root_are_told_at_once() -> None:
    [said] = objections(survey("root_group=ai|lxd", "root_group=ai|disk"), RIG)
    assert "group lxd and disk" in said
    assert "`sudo gpasswd -d ai lxd && sudo gpasswd -d ai disk`" in said
    assert objections(survey("root_group=bea|lxd"), RIG) == []  # who is no work user


def test_somebody_elses_firewall_is_fine_where_ours_is_off() -> None:
    assert objections(survey("firewall=firewalld"), Rig(firewall=None)) == []


@pytest.mark.parametrize(
    ("was", "now", "sentence"),
    [
        ("version=13", "version=11", "deeprig is for Debian 12, Debian 13, Ubuntu 22.04"),
        ("system=debian", "system=fedora", "deeprig is for Debian 12"),
        ("architecture=x86_64", "architecture=riscv64", "Its processor is riscv64"),
    ],
)
def test_a_system_it_is_not_made_for_is_refused(was: str, now: str, sentence: str) -> None:
    [said] = objections(survey(now, without=was), RIG)
    assert sentence in said


def test_passwords_stay_on_while_the_work_user_has_no_key() -> None:
    [said] = objections(survey(without="has_key"), RIG)
    assert "ai has no SSH key there and passwords are about to be turned off" in said
    with_key = Rig(users=(User(name="ai", keys=(KEY,)),))
    assert objections(survey(without="has_key"), with_key) == []


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("file-fifo", "/home/ai/.ssh/authorized_keys is a FIFO; look at it, and have its owner"),
        ("folder-file", "/home/ai/.ssh is a file; look at it, and have its owner move it away."),
        ("file-large", "/home/ai/.ssh/authorized_keys has more than 1 MiB, which no list of keys"),
        ("unanswered", "/home/ai/.ssh does not answer within 30 s; look at it"),
        ("forged-by-ai", "/home/ai/.ssh does not answer within 30 s; look at it"),
    ],
)
def test_what_lies_where_keys_should_be_is_named(word: str, sentence: str) -> None:
    found = survey(f"odd_keys=ai|{word}|/home/ai", without="has_key")
    for rig in (RIG, Rig(users=(User(name="ai", keys=(KEY,)),))):
        [said] = objections(found, rig)
        assert said.startswith(sentence)


def test_a_home_that_is_anothers_is_refused_where_the_account_is_ours() -> None:
    found = survey("odd_keys=ai|others|/home/ai")
    with_key = Rig(users=(User(name="ai", keys=(KEY,)),))
    [said] = objections(found, with_key)
    assert said.startswith("/home/ai belongs to somebody else; `sudo chown -R ai: /home/ai`")


def test_a_work_user_must_be_there_or_in_the_settings() -> None:
    rig = Rig(notebook=Notebook(user="bob"))
    [said] = objections(survey(), rig)
    assert "Notebook.user is 'bob', and nobody has that name" in said
    made = Rig(notebook=Notebook(user="bob"), users=(User(name="bob", keys=(KEY,)),))
    assert objections(survey(), made) == []


def test_post_quantum_comes_first_and_our_own_client_gets_in() -> None:
    offered = ssh_algorithms.choose(survey(), strict=False)
    assert offered.kex[0] == "mlkem768x25519-sha256"
    assert offered.kex[-1] == "curve25519-sha256@libssh.org"
    assert ssh_algorithms.objections(survey(), strict=False) == []


def test_only_what_the_boxs_sshd_knows_is_offered() -> None:
    offered = ssh_algorithms.choose(read(DEBIAN_12), strict=False)
    assert offered.kex[0] == "sntrup761x25519-sha512"
    assert "mlkem768x25519-sha256" not in offered.kex


def test_strict_is_refused_where_it_would_lock_us_out() -> None:
    [said] = ssh_algorithms.objections(survey(), strict=True)
    assert "Ssh.strict is True" in said
    assert "lock itself out" in said
    assert ssh_algorithms.objections(read(DEBIAN_12), strict=True) == []


@pytest.mark.parametrize("part", [disks, docker, gpus, network_cards])
def test_a_box_is_asked_about_each_part_in_the_one_question(part: ModuleType) -> None:
    assert part.SCRIPT in script(RIG)
    assert script(RIG).startswith("USERS=ai PEOPLE='' CLOCKS='")


# `sshd -T` of OpenSSH 9.2, but for the lines that a test has of its own.
USUAL_FILES = "authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2"
BY = "authorizedkeyscommanduser nobody\nauthorizedkeyscommand"
NO_COMMAND = "authorizedkeyscommand none\nauthorizedkeyscommanduser none"


@pytest.mark.parametrize(
    ("says", "there", "found"),
    [
        (f"{USUAL_FILES}\n{NO_COMMAND}", [".ssh/authorized_keys"], "has_key=ai"),
        (f"{USUAL_FILES}\n{NO_COMMAND}", [".ssh/authorized_keys2"], "has_key=ai"),
        (f"{USUAL_FILES}\n{NO_COMMAND}", [], ""),
        (f"authorizedkeysfile {{}}/%u\n{NO_COMMAND}", ["ai"], "keys_at=ai|{}/ai\nhas_key=ai"),
        # sshd does not read this one, so it opens nothing.
        (f"authorizedkeysfile {{}}/%u\n{NO_COMMAND}", [".ssh/authorized_keys"], "keys_at=ai|{}/ai"),
        (f"authorizedkeysfile {{}}/%u %h/own\n{NO_COMMAND}", ["own"],
         "keys_at=ai|{}/ai {}/own\nhas_key=ai"),
        (f"{USUAL_FILES}\n{BY} {{}}/ask", ["ask"], "has_key=ai"),
        (f"{USUAL_FILES}\n{BY} {{}}/ask %u x", ["ask"], "has_key=ai"),
        (f"{USUAL_FILES}\n{BY} {{}}/ask somebody", ["ask"], ""),
        (f"authorizedkeysfile none\n{BY} {{}}/ask somebody", ["ask"],
         "keys_at=ai|what AuthorizedKeysCommand prints"),
        ("", [".ssh/authorized_keys"], "has_key=ai"),  # an sshd that says nothing
    ],
)  # fmt: skip
def test_keys_count_where_sshd_takes_them_from(
    says: str, there: list[str], found: str, tmp_path: Path
) -> None:
    """By the script itself; only getent, sshd and as_user are of this test."""
    (tmp_path / ".ssh").mkdir()
    for name in there:
        ask = f'#!/bin/sh\n[ "$1" = ai ] && echo {KEY}\n'
        text = ask if name == "ask" else f"{KEY}\n"
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    account = f"echo ai:x:1000:1000::{tmp_path}:/bin/sh"
    safe = "unsafe() { false; }"  # whose it is has a test of its own
    said = asked_of_sshd(tmp_path, says, account, "echo 1000", safe)
    assert said == found.replace("{}", str(tmp_path)).splitlines()


def test_a_command_for_keys_that_others_can_change_is_not_run(tmp_path: Path) -> None:
    """sshd does not, and says so; its user may be root."""
    says = f"{USUAL_FILES}\nauthorizedkeyscommanduser root\nauthorizedkeyscommand {{}}/ask %u"
    (tmp_path / "ask").write_text(f"#!/bin/sh\n: > {tmp_path}/asked\necho {KEY}\n")
    (tmp_path / "ask").chmod(0o755)
    account = f"echo ai:x:1000:1000::{tmp_path}:/bin/sh"
    assert asked_of_sshd(tmp_path, says, account, "echo 1000") == []
    assert not (tmp_path / "asked").exists()
    safe = "unsafe() { false; }"  # the control
    assert asked_of_sshd(tmp_path, says, account, "echo 1000", safe) == ["has_key=ai"]


@pytest.mark.parametrize(
    ("program", "safe"),
    [("/bin/sh", True), ("/usr/bin/passwd", True), ("/nowhere", False), ("{}/file", False),
     ("{}/link", False)],
)  # fmt: skip
def test_a_program_that_others_can_change_is_known(
    program: str, safe: bool, tmp_path: Path
) -> None:
    (tmp_path / "file").touch(0o777)
    (tmp_path / "link").symlink_to("file")
    done = subprocess.run(
        ["sh", "-c", f"{people.SCRIPT}\nunsafe {program.format(tmp_path)}"], check=False
    )
    assert bool(done.returncode) is safe


@pytest.mark.parametrize(
    ("says", "found"),
    [
        (f"{USUAL_FILES}\n{NO_COMMAND}", []),
        (f"authorizedkeysfile %h/.ssh/authorized_keys\n{NO_COMMAND}", []),
        (f"authorizedkeysfile /etc/ssh/keys/%u\n{NO_COMMAND}", ["keys_at=ai|/etc/ssh/keys/ai"]),
    ],
)
def test_where_keys_belong_is_known_before_there_is_an_account(
    says: str, found: list[str], tmp_path: Path
) -> None:
    assert asked_of_sshd(tmp_path, says, "exit 2", "exit 1") == found


def asked_of_sshd(tmp_path: Path, says: str, getent: str, id_: str, more: str = "") -> list[str]:
    """What the survey's script prints of ai's keys where sshd says this."""
    for name, body in {
        "getent": getent,
        "id": id_,
        "stat": "echo 1000",
        "sshd": f"cat {tmp_path}/says",
        "sudo": "exit 1",
    }.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "says").write_text(says.replace("{}", str(tmp_path)))
    own = people.SCRIPT.replace("[ -O", "[ -e")  # whose it is has a test of its own
    asks = OWN[
        OWN.index('for u in $(echo "$USERS $PEOPLE"') : OWN.index("[ -e /usr/bin/nvidia-uni")
    ]
    done = subprocess.run(
        ["sh", "-c",
         f'USERS=ai PEOPLE=""\nas_user() {{ shift 2; "$@"; }}\n{own}\n{more}\n{asks}'],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}, capture_output=True, text=True,
    )  # fmt: skip
    assert not done.stderr
    return [line.strip() for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("keys_at=anna|/etc/ssh/keys/anna ", ["anna in Rig.users", "reads /etc/ssh/keys/anna;"]),
        ("keys_at=anna|/etc/ssh/keys/anna \nhas_key=anna", []),  # who gets in by another key
        ("keys_at=ai|/etc/ssh/keys/ai \nhas_key=ai", []),
        ("", []),
    ],
)
def test_keys_that_sshd_would_not_read_are_refused(lines: str, words: list[str]) -> None:
    rig = Rig(users=(User(name="anna", keys=(KEY,)),), notebook=None)
    said = objections(survey(*lines.splitlines()), rig)
    assert len(said) == bool(words)
    assert all(word in said[0] for word in words)


def test_where_keys_belong_is_said() -> None:
    found = survey("keys_at=ai|/etc/ssh/keys/ai ", without="has_key")
    [said] = objections(found, RIG)
    assert said.startswith("ai has no SSH key in /etc/ssh/keys/ai, where sshd looks for them, and")
