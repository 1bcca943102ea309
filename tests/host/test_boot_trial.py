"""The box boots with the parameters that are set, and nothing had to be taken back."""

import pytest
from testinfra.host import Host

from deeprig.settings import Rig
from tasks import boot_trial, kernel_parameters


@pytest.fixture(autouse=True)
def grub(host: Host) -> None:
    if not host.file(kernel_parameters.HEADLESS).exists:
        pytest.skip("GRUB is not what boots here: a container, or another boot loader")


def test_nothing_had_to_be_taken_back(host: Host) -> None:
    with host.sudo():
        assert host.check_output(f"{boot_trial.SCRIPT} state") == "ok"


def test_the_parameters_that_are_set_are_in_use(host: Host, rig: Rig) -> None:
    used = host.file("/proc/cmdline").content_string.split()
    assert [word for word in rig.kernel_parameters if word not in used] == []


def test_grub_takes_the_old_menu_after_a_boot_that_failed(host: Host) -> None:
    with host.sudo():
        menu = host.file("/boot/grub/grub.cfg").content_string
        assert 'if [ "${deeprig_trial}" = armed ]' in menu
        last = host.file("/boot/grub/deeprig-last.cfg").content_string
    assert "menuentry " in last
    assert "deeprig_trial" not in last


def test_every_boot_is_looked_at(host: Host) -> None:
    for unit in (boot_trial.UNITS[0], boot_trial.UNITS[2]):
        assert host.service(unit).is_enabled
