"""Host keys kept for a reinstall: sealed to one key, and opened by it alone."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from deeprig.bootstrap import identity
from deeprig.errors import DeeprigError
from deeprig.settings import Rig, Ssh
from deeprig.settings.validation import SettingsError
from deeprig.ssh import host_key_backup
from deeprig.ssh.host_key_backup import HostKeys
from tests.unit.test_deploy import components, plan


def make_key(file: Path, *options: str, passphrase: str = "") -> Path:
    command = ["ssh-keygen", "-q", *options, "-N", passphrase, "-C", file.name, "-f", str(file)]
    subprocess.run(command, check=True)
    return file


def public(key: Path) -> str:
    return key.with_name(f"{key.name}.pub").read_text().strip()


@pytest.fixture(scope="module")
def box_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The host keys that Debian makes."""
    folder = tmp_path_factory.mktemp("ssh")
    kinds = {"rsa": ["-t", "rsa", "-b", "2048"], "ecdsa": ["-t", "ecdsa"], "ed25519": []}
    return {
        kind: make_key(folder / f"ssh_host_{kind}_key", *(options or ["-t", kind]))
        for kind, options in kinds.items()
    }


@pytest.fixture(scope="module")
def host_keys(box_keys: dict[str, Path]) -> HostKeys:
    folder = box_keys["rsa"].parent
    names = sorted(file.name for file in folder.iterdir())
    tar = subprocess.run(["tar", "-C", folder, "-c", *names], capture_output=True, check=True)
    return host_key_backup.read_archive(tar.stdout)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return host_key_backup.file_of(tmp_path / "known_hosts", "rig1.lan")


KINDS = [
    (["-t", "ed25519"], ""),
    (["-t", "ed25519"], "open sesame"),
    (["-t", "rsa", "-b", "2048"], ""),
    (["-t", "rsa", "-b", "2048"], "open sesame"),
    (["-t", "rsa", "-b", "2048", "-m", "PEM"], "open sesame"),
]


@pytest.mark.parametrize(("options", "passphrase"), KINDS)
def test_what_is_kept_is_opened_by_its_key(
    tmp_path: Path, file: Path, host_keys: HostKeys, options: list[str], passphrase: str
) -> None:
    mine = make_key(tmp_path / "mine", *options, passphrase=passphrase)
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    opened = identity.open_kept(file, [mine], lambda key: passphrase)
    assert opened == host_keys
    assert len(opened.public) == 3


def test_it_stands_beside_known_hosts_and_only_its_owner_may_look(
    tmp_path: Path, file: Path, host_keys: HostKeys
) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519")
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    assert file == tmp_path / "kept_host_keys/rig1.lan.age"
    assert file.parent.stat().st_mode & 0o777 == 0o700
    files = {each.name: each.stat().st_mode & 0o777 for each in file.parent.iterdir()}
    assert files == {"rig1.lan.age": 0o600, "rig1.lan.json": 0o600}


@pytest.mark.parametrize("hostname", ["../../etc/passwd", "fe80::1%eth0", "a/b"])
def test_no_address_leads_out_of_the_folder(tmp_path: Path, hostname: str) -> None:
    found = host_key_backup.file_of(tmp_path / "known_hosts", hostname)
    assert found.resolve().parent == tmp_path / "kept_host_keys"


def test_nothing_beside_the_sealed_file_holds_a_private_key(
    tmp_path: Path, file: Path, host_keys: HostKeys, box_keys: dict[str, Path]
) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519")
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    secret = box_keys["ed25519"].read_text().splitlines()[2]
    assert secret.encode() in host_keys.archive  # the control: this is what must not be seen
    shown = f"{host_keys!r} {host_keys} {host_key_backup.record_of(file)!r}"
    written = b"".join(each.read_bytes() for each in file.parent.iterdir())
    assert secret not in shown and "PRIVATE" not in shown
    assert secret.encode() not in written and b"OPENSSH" not in written


def test_the_record_has_the_fingerprints_that_ssh_keygen_prints(
    tmp_path: Path, file: Path, host_keys: HostKeys, box_keys: dict[str, Path]
) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519")
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    printed = [
        subprocess.run(
            ["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True
        ).stdout.split()[1]
        for key in box_keys.values()
    ]
    assert list(host_key_backup.record_of(file).fingerprints) == sorted(printed)
    assert host_key_backup.are_kept(file, recipient=public(mine), fingerprints=printed)


@pytest.mark.parametrize("change", ["a key", "owner", "damage", "mode", "no record", "gone"])
def test_what_is_not_kept_as_it_is_now_is_kept_anew(
    tmp_path: Path, file: Path, host_keys: HostKeys, change: str
) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519")
    other = make_key(tmp_path / "other", "-t", "ed25519")
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    now, recipient = list(host_keys.fingerprints), public(mine)
    if change == "a key":
        now[0] = "SHA256:another"
    elif change == "owner":
        recipient = public(other)
    elif change == "damage":
        file.write_bytes(file.read_bytes()[:-1])
    elif change == "mode":
        file.chmod(0o644)
    elif change == "no record":
        file.with_suffix(".json").unlink()
    else:
        file.unlink()
    assert not host_key_backup.are_kept(file, recipient=recipient, fingerprints=now)


def test_another_key_does_not_open_it_and_the_right_one_is_named(
    tmp_path: Path, file: Path, host_keys: HostKeys
) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519")
    other = make_key(tmp_path / "other", "-t", "rsa", "-b", "2048")
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    for candidates in ([other], [other, tmp_path / "missing"]):
        with pytest.raises(DeeprigError) as error:
            identity.open_kept(file, candidates, None)
        said = str(error.value)
        assert f"opens with none of {other}" in said and public(mine) in said
        assert "--identity" in said and "\n" not in said
    assert identity.open_kept(file, [other, mine], None) == host_keys


def test_only_the_owners_passphrase_is_asked_for(
    tmp_path: Path, file: Path, host_keys: HostKeys
) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519", passphrase="mine")
    other = make_key(tmp_path / "other", "-t", "ed25519", passphrase="other")
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    asked: list[Path] = []

    def ask(key: Path) -> str:
        asked.append(key)
        return key.name

    assert identity.open_kept(file, [other, mine], ask) == host_keys
    assert asked == [mine]


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (None, r"mine has a passphrase, there is no terminal .*; run this in a terminal\.$"),
        (lambda key: "wrong", r"^That is not the passphrase of .*mine; try again\.$"),
        (lambda key: "", r"^That is not the passphrase of .*mine; try again\.$"),
    ],
)
def test_a_passphrase_that_is_not_given_is_one_line(
    tmp_path: Path, file: Path, host_keys: HostKeys, ask: identity.Ask | None, sentence: str
) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519", passphrase="right")
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    with pytest.raises(DeeprigError, match=sentence):
        identity.open_kept(file, [mine], ask)


def test_a_damaged_file_is_not_taken_for_a_wrong_key(
    tmp_path: Path, file: Path, host_keys: HostKeys
) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519")
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DeeprigError, match=r"rig1\.lan\.age is damaged; put it back from a backup"):
        identity.open_kept(file, [mine], None)


@pytest.mark.parametrize("name", ["../authorized_keys", "ssh_host_rsa_key.bak", "sshd_config"])
def test_an_archive_with_anything_else_in_it_is_refused(
    box_keys: dict[str, Path], name: str
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(box_keys["rsa"], arcname="ssh_host_rsa_key")
        tar.add(box_keys["rsa"], arcname=name)
    with pytest.raises(DeeprigError, match="is no host key"):
        host_key_backup.read_archive(packed.getvalue())


def test_a_link_in_an_archive_is_refused() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        link = tarfile.TarInfo("ssh_host_rsa_key")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        tar.addfile(link)
    with pytest.raises(DeeprigError):
        host_key_backup.read_archive(packed.getvalue())


def packed(*files: tuple[str, bytes], link: str = "") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/shadow"
            tar.addfile(member)
    return made.getvalue()


def test_what_other_programs_find_behind_a_bad_block_is_not_kept(
    box_keys: dict[str, Path], tmp_path: Path
) -> None:
    key = box_keys["ed25519"].read_bytes()
    first = packed(("ssh_host_ed25519_key", key)).rstrip(b"\0")
    crafted = first.ljust(-(-len(first) // 512) * 512, b"\0") + b"x" * 512 + packed(link="evil")
    for archive, found in (
        (crafted, ["evil", "ssh_host_ed25519_key"]),  # the control: what tar makes of it
        (host_key_backup.read_archive(crafted).archive, ["ssh_host_ed25519_key"]),
    ):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        subprocess.run(
            ["tar", "-C", folder, "-xf", "-"], input=archive, capture_output=True, check=False
        )
        assert sorted(file.name for file in folder.iterdir()) == found


def test_a_name_that_comes_twice_is_refused(box_keys: dict[str, Path]) -> None:
    key = ("ssh_host_rsa_key", box_keys["rsa"].read_bytes())
    with pytest.raises(DeeprigError, match="comes twice"):
        host_key_backup.read_archive(packed(key, key))


def test_a_public_file_of_another_key_is_left_out(box_keys: dict[str, Path]) -> None:
    key = ("ssh_host_rsa_key", box_keys["rsa"].read_bytes())
    found = host_key_backup.read_archive(
        packed(key, ("ssh_host_rsa_key.pub", public(box_keys["ecdsa"]).encode()))
    )
    with tarfile.open(fileobj=io.BytesIO(found.archive)) as tar:
        assert tar.getnames() == ["ssh_host_rsa_key"]


@pytest.mark.parametrize("options", [["-t", "ecdsa"], ["-t", "rsa", "-b", "1024"]])
def test_a_key_that_age_cannot_encrypt_to_is_refused_while_settings_load(
    tmp_path: Path, options: list[str]
) -> None:
    mine = make_key(tmp_path / "mine", *options)
    with pytest.raises(SettingsError, match=r"Ssh\.keep_host_keys is .*; age encrypts to") as error:
        Ssh(keep_host_keys=public(mine))
    assert "\n" not in str(error.value)


def test_a_key_in_a_token_is_refused_while_settings_load() -> None:
    token = "sk-ssh-ed25519@openssh.com " + "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t" * 2
    with pytest.raises(SettingsError, match="age encrypts to ssh-ed25519 keys"):
        Ssh(keep_host_keys=token)


def test_the_setting_may_be_the_path_of_a_pub_file(tmp_path: Path) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519")
    assert Ssh(keep_host_keys=f"{mine}.pub").keep_host_keys == public(mine)


def test_the_record_is_json_for_other_programs(
    tmp_path: Path, file: Path, host_keys: HostKeys
) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519")
    host_key_backup.keep(file, host_keys, recipient=public(mine))
    record = json.loads(file.with_suffix(".json").read_text())
    assert record["encrypted_to"] == public(mine)


def test_a_deploy_keeps_them_only_where_it_is_asked_to(tmp_path: Path) -> None:
    mine = make_key(tmp_path / "mine", "-t", "ed25519")
    asked = plan(Rig(ssh=Ssh(keep_host_keys=public(mine))))
    assert "SSH host keys" in components(asked)
    assert "SSH host keys" not in components(plan(Rig()))
