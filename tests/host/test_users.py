"""Who gets in, and who gets to root."""

from typing import Any

import pytest
from testinfra.host import Host

from deeprig.facts.survey import Survey
from deeprig.parsers import sshd
from deeprig.parsers.door import Door
from deeprig.settings import DEPLOY_USER, Rig, User
from tests.host.newcomer import Login, Stranger
from tests.host.sessions import over_ssh

READ_KEYS = """
keys=~/.ssh/authorized_keys
[ -f "$keys" ] || { echo "$keys is no file; its owner can move it away" >&2; exit 1; }
head -c 1000000 "$keys"
"""


@pytest.fixture
def deploy_user(data: dict[str, Any]) -> str:
    if data.get("ssh_user") != DEPLOY_USER:
        pytest.skip(f"the inventory logs in as {data.get('ssh_user')}, not as {DEPLOY_USER}")
    return DEPLOY_USER


@pytest.fixture
def work_user(rig: Rig) -> str:
    if rig.notebook is None:
        pytest.skip("no work user is named (notebook=None)")
    return rig.notebook.user


def sudo_rights(host: Host, user: str) -> str:
    with host.sudo():
        return str(host.run("sudo -l -U %s", user).stdout)


@pytest.mark.remedy("run `deeprig bootstrap` for this box again")
def test_the_deploy_user_logs_in_with_the_key(login: Login, deploy_user: str) -> None:
    assert over_ssh("id -un", login).strip() == deploy_user


@pytest.mark.remedy("run `deeprig bootstrap` for this box again")
def test_the_deploy_user_needs_no_password_for_sudo(host: Host, deploy_user: str) -> None:
    assert host.run("sudo -k -n true").rc == 0
    assert "NOPASSWD: ALL" in sudo_rights(host, deploy_user)


@pytest.mark.tier("config")
@pytest.mark.remedy("run `deeprig bootstrap` for this box again")
def test_the_deploy_user_has_no_password(host: Host, deploy_user: str) -> None:
    with host.sudo():
        assert host.check_output("passwd -S %s", deploy_user).split()[1] == "L"


@pytest.mark.remedy(
    "`sudo sshd -T` there says who is let in; look for a PAM or sshd rule of somebody's"
)
def test_a_key_that_nobody_put_there_is_refused(stranger: Stranger) -> None:
    assert stranger.is_authenticated()  # the control: the right key gets in
    assert stranger.strange_key_refused


@pytest.mark.remedy("take the NOPASSWD rule out of /etc/sudoers.d, or name another Notebook.user")
def test_the_work_user_gets_to_root_by_no_sudo_without_a_password(
    host: Host, work_user: str, deploy_user: str
) -> None:
    assert "NOPASSWD" in sudo_rights(host, deploy_user)  # the control: that is how it would look
    assert "NOPASSWD" not in sudo_rights(host, work_user)


@pytest.mark.tier("config")
@pytest.mark.remedy("run `sudo gpasswd -d USER GROUP` there, or name another Notebook.user")
def test_the_work_user_is_in_no_group_that_leads_to_root(
    host: Host, work_user: str, survey: Survey
) -> None:
    groups = host.user(work_user).groups
    assert groups  # the control: the user is there
    assert [group for user, group in survey.root_groups if user == work_user] == []


@pytest.mark.remedy("install the person's key for that user, or add User(...) to Rig.users")
def test_the_work_user_can_log_in_with_a_key(host: Host, work_user: str) -> None:
    assert "AAAA" in authorized_keys(host, work_user)


@pytest.mark.remedy("see what /etc/ssh/sshd_config and its folder say of that user")
def test_sshd_lets_everybody_in_who_is_to_log_in(
    host: Host, rig: Rig, data: dict[str, Any], door: Door
) -> None:
    names = [str(data.get("ssh_user")), *([rig.notebook.user] if rig.notebook else [])]
    people = {name: () for name in names} | {u.name: u.keys for u in rig.users if u.present}
    shut = {name: by for name, keys in people.items() if (by := shut_out(host, door, name, keys))}
    assert shut == {}


def shut_out(host: Host, door: Door, name: str, keys: tuple[str, ...]) -> str:
    """By what sshd would not let this account in with a key, from where we come."""
    where = f"host={door.client},addr={door.client},laddr={door.server},lport={door.port}"
    with host.sudo():
        said = sshd.read(host.check_output("sshd -T -C %s", f"user={name},{where}").splitlines())
        groups = host.check_output("id -Gn %s", name).split()
    who = sshd.Account(name, tuple(map(sshd.group, groups)), door.client, keys)
    return sshd.shut_out(who, said) or (_looks_elsewhere(said) if keys else "")


def _looks_elsewhere(said: sshd.Said) -> str:
    """Where sshd looks for keys, if not in the home, where those of the settings are."""
    files = sshd.one(said, "authorizedkeysfile").split()
    asks = sshd.one(said, "authorizedkeyscommand", "none") != "none"
    usual = {".ssh/authorized_keys", "%h/.ssh/authorized_keys"}
    return "" if asks or usual & {*files} else f"AuthorizedKeysFile {' '.join(files)}"


def test_people_of_the_settings_are_there_and_others_gone(host: Host, rig: Rig) -> None:
    if not rig.users:
        pytest.skip("Rig.users names nobody")
    found = {user.name: host.user(user.name).exists for user in rig.users}
    assert found == {user.name: user.present for user in rig.users}


def authorized_keys(host: Host, user: str) -> str:
    """What the file says, read with its owner's rights: it may be anything by now."""
    with host.sudo(user):
        return str(host.check_output("sh -c %s", READ_KEYS))


def keys_of(host: Host, user: User) -> set[str]:
    """The keys that let somebody in, without their comments."""
    lines = authorized_keys(host, user.name)
    return {" ".join(line.split()[:2]) for line in lines.splitlines() if line.strip()}


def test_people_get_in_with_the_keys_of_the_settings(host: Host, rig: Rig) -> None:
    people = [user for user in rig.users if user.present]
    if not people:
        pytest.skip("Rig.users names nobody who is to be there")
    for user in people:
        assert {" ".join(key.split()[:2]) for key in user.keys} <= keys_of(host, user)
