"""What must outlive a reinstall is on the data folder, and on its disk only while that is there."""

import shlex

import pytest
from testinfra.host import Host

from deeprig.parsers.untrusted import number
from deeprig.settings import Disk, Notebook, Rig, Storage
from tests.host.newcomer import Login
from tests.host.sessions import login_shell, needs_profile, over_ssh

RUN = "XDG_RUNTIME_DIR=/run/user/$(id -u)"
VARIABLES = ("HF_HOME", "UV_CACHE_DIR")


@pytest.fixture
def storage(rig: Rig) -> Storage:
    if rig.storage is None:
        pytest.skip("this box leaves disks and folders alone (storage=None)")
    return rig.storage


@pytest.fixture
def notebook(rig: Rig) -> Notebook:
    if rig.notebook is None:
        pytest.skip("nobody has a folder on a box without notebooks (notebook=None)")
    return rig.notebook


@pytest.fixture
def own(storage: Storage, notebook: Notebook) -> str:
    """The work user's folder in the data folder."""
    return f"{storage.folder}/{notebook.user}"


@pytest.fixture
def caches(own: str) -> list[str]:
    """What `env` is to print, sorted."""
    return [f"HF_HOME={own}/cache/huggingface", f"UV_CACHE_DIR={own}/cache/uv"]


@pytest.fixture
def machine(host: Host) -> None:
    """Skips where the disks that are seen belong to somebody else."""
    if host.run("systemd-detect-virt --container --quiet").succeeded:
        pytest.skip("the box is a container, which has no disks of its own")


def of(user: str, host: Host, command: str, *words: str) -> str:
    with host.sudo(user):
        said: str = host.check_output(command, *words)
    return said


def caches_in(environment: str) -> list[str]:
    lines = environment.split("\n")
    return sorted(line for line in lines if line.partition("=")[0] in VARIABLES)


def disks(storage: Storage) -> list[Disk]:
    if not storage.disks:
        pytest.skip("the settings name no data disk (Storage.disks)")
    return list(storage.disks)


def test_the_data_folder_is_roots_and_open_to_all(host: Host, storage: Storage) -> None:
    folder = host.file(storage.folder)
    assert (folder.is_directory, folder.user, folder.mode) == (True, "root", 0o755)


def test_the_users_folder_is_closed_to_others(host: Host, notebook: Notebook, own: str) -> None:
    folder = host.file(own)
    assert folder.user == notebook.user
    assert folder.mode & 0o027 == 0
    assert host.run("ls %s", own).failed  # the deploy user, who is nobody there
    of(notebook.user, host, "ls %s", own)  # the control: its owner may


@pytest.mark.parametrize("part", ["notebooks", "runs", "cache/huggingface", "cache/uv"])
def test_the_user_can_write_to_the_part(
    host: Host, notebook: Notebook, own: str, part: str
) -> None:
    of(notebook.user, host, 'f=$(mktemp %s/.deeprig-XXXXXX) && rm "$f"', f"{own}/{part}")


@pytest.mark.parametrize("name", ["notebooks", "runs"])
def test_the_home_leads_to_the_data_folder(
    host: Host, notebook: Notebook, own: str, name: str
) -> None:
    home = of(notebook.user, host, "cd && pwd")
    link = f"{home}/{name}"
    if of(notebook.user, host, "ls -A %s", link) and not of(
        notebook.user, host, "readlink %s || true", link
    ):
        pytest.skip(f"~/{name} had files of its own, and they stay on the system disk")
    assert of(notebook.user, host, "readlink %s", link) == f"{own}/{name}"


def test_what_is_saved_in_notebooks_is_on_the_data_folder(
    host: Host, notebook: Notebook, own: str
) -> None:
    leads = of(notebook.user, host, "readlink -f ~/notebooks")
    if leads != f"{own}/notebooks":
        pytest.skip("~/notebooks had files of its own, and they stay on the system disk")
    script = 'f=$(mktemp ~/notebooks/.deeprig-XXXXXX) && ls %s/"${f##*/}"; rm "$f"'
    kept = f"{own}/notebooks"
    assert of(notebook.user, host, script, kept).startswith(f"{kept}/.deeprig-")


def test_tensorboard_reads_the_runs_of_the_data_folder(
    host: Host, notebook: Notebook, own: str
) -> None:
    home = of(notebook.user, host, "cd && pwd")
    with host.sudo(notebook.user):
        pid = number(host.check_output("pgrep -o -u %s -f bin/tensorboard", notebook.user))
        words = host.check_output("tr '\\0' '\\n' < %s", f"/proc/{pid}/cmdline").split("\n")
        logs = words[words.index("--logdir") + 1]
        seen = host.check_output("readlink -f %s", logs)
    assert logs == f"{home}/runs"
    if seen == logs:
        pytest.skip("~/runs had files of its own, and they stay on the system disk")
    assert seen == f"{own}/runs"


def test_a_login_shell_knows_the_caches(host: Host, notebook: Notebook, caches: list[str]) -> None:
    needs_profile("login shell", host, notebook.user)
    assert caches_in(login_shell(host, notebook.user, "env")) == caches


def test_ssh_tells_every_command_where_the_caches_are(
    host: Host, notebook: Notebook, caches: list[str]
) -> None:
    """As sshd reads its settings for this user; there need be no key of the user's to log in."""
    with host.sudo():
        said = host.check_output(
            "sshd -T -C %s | sed -n 's/^setenv //p'",
            f"user={notebook.user},host=h,addr=127.0.0.1",
        )
    assert caches_in(said) == caches


def test_somebody_elses_session_has_other_caches(login: Login, notebook: Notebook) -> None:
    """A real non-interactive login, of the deploy user: the variables are one user's alone."""
    environment = over_ssh("env", login)
    assert "SSH_CONNECTION=" in environment  # the control: it is such a session
    assert caches_in(environment) == []


def test_a_users_service_knows_the_caches(
    host: Host, notebook: Notebook, caches: list[str]
) -> None:
    said = of(notebook.user, host, f"{RUN} systemd-run --user --wait --pipe --quiet env")
    assert caches_in(said) == caches


def test_the_notebook_server_knows_the_caches(
    host: Host, notebook: Notebook, caches: list[str]
) -> None:
    with host.sudo(notebook.user):
        pid = number(host.check_output("pgrep -o -u %s -f bin/jupyter-lab", notebook.user))
        said = host.check_output("tr '\\0' '\\n' < %s", f"/proc/{pid}/environ")
    assert caches_in(said) == caches


def test_uv_keeps_its_cache_on_the_data_folder(
    host: Host, notebook: Notebook, own: str, rig: Rig
) -> None:
    if rig.python is None:
        pytest.skip("this box leaves Python alone (python=None), so there may be no uv")
    needs_profile("login shell", host, notebook.user)
    assert login_shell(host, notebook.user, "/usr/local/bin/uv cache dir") == f"{own}/cache/uv"


def test_each_data_disk_is_mounted_by_uuid_and_may_be_missing_at_boot(
    host: Host, storage: Storage, machine: None
) -> None:
    for disk in disks(storage):
        line = host.check_output("findmnt --fstab -no SOURCE,OPTIONS --target %s", disk.at).split()
        assert line[0].startswith("UUID=")
        assert "nofail" in line[1].split(",")
        assert host.check_output("findmnt -no UUID --mountpoint %s", disk.at) == line[0][5:]
        assert disk.uuid in (None, line[0][5:])


@pytest.mark.remedy("`cat /proc/mdstat` says which; `sudo mdadm --add` takes one in")
def test_no_array_lacks_a_disk(host: Host, storage: Storage, machine: None) -> None:
    arrays = [disk for disk in disks(storage) if disk.raid]
    if not arrays:
        pytest.skip("the settings name no array (Disk.raid)")
    assert host.service("deeprig-array.timer").is_enabled
    for disk in arrays:
        device = host.check_output("basename $(findmnt -nvo SOURCE --mountpoint %s)", disk.at)
        assert host.check_output("cat /sys/block/%s/md/degraded", device) == "0"


def test_nothing_can_be_written_where_a_disk_is_not_mounted(
    host: Host, storage: Storage, machine: None
) -> None:
    for disk in disks(storage):
        look = f"mount --bind / /mnt && lsattr -d {shlex.quote(f'/mnt{disk.at}')}"
        with host.sudo():
            attributes = host.check_output(f"unshare --mount sh -c {shlex.quote(look)}").split()[0]
        assert "i" in attributes


def test_there_is_as_much_swap_as_asked_for(host: Host, storage: Storage, machine: None) -> None:
    if storage.swap_gib is None:
        pytest.skip("the settings leave swap as it is (Storage.swap_gib)")
    sizes = host.check_output("swapon --show=NAME,SIZE --bytes --noheadings").split()
    found = int(sizes[sizes.index("/swap.deeprig") + 1])
    assert abs(found - storage.swap_gib * 2**30) < 2**20
    assert host.file("/swap.deeprig").mode == 0o600
    assert host.check_output("cat /proc/sys/vm/swappiness") == "10"


def test_ssds_are_told_what_is_free(host: Host, storage: Storage, machine: None) -> None:
    assert host.service("fstrim.timer").is_enabled
    assert host.service("fstrim.timer").is_running


def test_the_disks_health_is_watched(host: Host, storage: Storage, machine: None) -> None:
    if host.run("systemd-detect-virt --quiet").succeeded:
        pytest.skip("the box is a virtual machine, whose disks have no health to ask for")
    assert host.service("smartmontools").is_running
    assert host.service("smartmontools").is_enabled


def test_the_root_volume_leaves_nothing_free(host: Host, storage: Storage, machine: None) -> None:
    if not storage.grow_root:
        pytest.skip("the settings leave the root volume as it is (Storage.grow_root)")
    with host.sudo():
        free = host.check_output('lvs --noheadings -o vg_free_count "$(findmnt -nvo SOURCE /)"')
    assert free.strip() == "0"
