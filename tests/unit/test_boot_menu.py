"""GRUB's menu, read as GRUB takes it. The text is update-grub's on Debian 13, shortened."""

from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.unit.box_scripts import loaded

DISK = "3bd0b9f4-6d4c-4a7e-9c57-5d20a1f0e7aa"
OLD, NEW = "6.12.117+deb13-amd64", "6.12.118+deb13-amd64"
CLASSES = "--class debian --class gnu-linux --class gnu --class os $menuentry_id_option"
HEADER = """\
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="%s"
fi

function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
    save_env saved_entry
  fi
}
"""


def entry(kernel: str, title: str, name: str, indent: str = "\t") -> str:
    return f"""\
{indent}menuentry '{title}' {CLASSES} '{name}' {{
{indent}\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
{indent}\tsearch --no-floppy --fs-uuid --set=root {DISK}
{indent}\techo\t'Loading Linux {kernel} ...'
{indent}\tlinux\t/boot/vmlinuz-{kernel} root=/dev/vda1 ro  quiet
{indent}\tinitrd\t/boot/initrd.img-{kernel}
{indent}}}
"""


def inside(kernel: str) -> str:
    title, name = f"Debian GNU/Linux, with Linux {kernel}", f"gnulinux-{kernel}"
    return entry(kernel, title, f"{name}-advanced-{DISK}") + entry(
        kernel, f"{title} (recovery mode)", f"{name}-recovery-{DISK}"
    )


MENU = (
    HEADER
    + entry(NEW, "Debian GNU/Linux", f"gnulinux-simple-{DISK}", indent="")
    + "submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option "
    + f"'gnulinux-advanced-{DISK}' {{\n"
    + inside(NEW)
    + inside(OLD)
    + "}\n"
    + "menuentry 'Windows Boot Manager' $menuentry_id_option 'osprober-efi-1C0F' {\n"
    + "\tchainloader /EFI/Microsoft/Boot/bootmgfw.efi\n}\n"
    + 'if [ "$grub_platform" = "efi" ]; then\n'
    + "\tmenuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {\n"
    + "\t\tfwsetup\n\t}\nfi\n"
)
PIN = f"gnulinux-advanced-{DISK}>gnulinux-{OLD}-advanced-{DISK}"


@pytest.fixture
def menu() -> Iterator[ModuleType]:
    with loaded("boot.grub_menu") as module:
        yield module


@pytest.mark.parametrize(
    ("default", "kernel"),
    [
        ("0", NEW),
        (PIN, OLD),
        ("1>2", OLD),
        ("1", NEW),
        (f"Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux {OLD}", OLD),
        ("an entry that is gone", NEW),
        ("99", NEW),
        ("", NEW),
        ("osprober-efi-1C0F", ""),
        ("uefi-firmware", ""),
    ],
)
def test_the_entry_is_the_one_that_grub_takes(menu: ModuleType, default: str, kernel: str) -> None:
    found = menu.chosen(menu.read(MENU % "0"), default)
    assert found.kernel == kernel
    assert not kernel or found.initrd == f"/boot/initrd.img-{kernel}"


def test_the_address_of_a_kernel_leads_to_it_and_not_to_its_recovery(menu: ModuleType) -> None:
    entries = menu.read(MENU % "0")
    assert menu.address(entries, OLD) == PIN
    assert menu.address(entries, NEW) == PIN.replace(
        OLD, NEW
    )  # not the simple one, whose kernel changes
    recovery = entry(OLD, "recovery", f"gnulinux-{OLD}-recovery-{DISK}")
    assert menu.address(menu.read(recovery), OLD) == ""
    assert menu.address(entries, "6.1.0-1-amd64") == ""


def test_a_menu_without_submenu_has_addresses_too(menu: ModuleType) -> None:
    """GRUB_DISABLE_SUBMENU=y."""
    text = (HEADER % "0") + (inside(NEW) + inside(OLD)).replace("\n\t", "\n")
    assert menu.address(menu.read(text), OLD) == f"gnulinux-{OLD}-advanced-{DISK}"


@pytest.mark.parametrize("default", ["0", PIN, "${saved_entry}"])
def test_the_default_is_the_one_that_stands_when_nobody_asked_for_another_once(
    menu: ModuleType, default: str
) -> None:
    assert menu.set_default(MENU % default) == default


def test_an_entry_that_was_asked_for_once_comes_before_the_default(menu: ModuleType) -> None:
    environment = menu.environment(f"# GRUB Environment Block\nnext_entry={PIN}\n#####")
    assert menu.next_default(MENU % "0", environment) == PIN
    assert menu.next_default(MENU % "0", {}) == "0"


def test_a_saved_entry_is_looked_up(menu: ModuleType) -> None:
    assert menu.next_default(MENU % "${saved_entry}", {"saved_entry": PIN}) == PIN
    assert menu.resolved("saved", {"saved_entry": PIN}) == PIN
    assert menu.resolved("0", {"saved_entry": PIN}) == "0"


def test_ubuntus_retry_without_an_initrd_goes_back_to_the_entry_before(menu: ModuleType) -> None:
    environment = {"initrdfail": "1", "prev_entry": PIN, "next_entry": "0"}
    assert menu.next_default(MENU % "0", environment) == PIN


def test_other_names_for_the_load_lines_and_the_kernel(menu: ModuleType) -> None:
    """linuxefi of older GRUBs, a /boot of its own, and Ubuntu's signed name."""
    text = (
        "menuentry 'Ubuntu' --id 'u' {\n\tlinuxefi /vmlinuz-5.15.0-1-generic.efi.signed ro\n"
        "\tinitrdefi /initrd.img-5.15.0-1-generic\n}\n"
    )
    [found] = menu.read(text)
    assert (found.kernel, found.initrd) == ("5.15.0-1-generic", "/initrd.img-5.15.0-1-generic")


def test_an_entry_that_is_one_line_is_one(menu: ModuleType) -> None:
    found = menu.read(
        "menuentry 'Other' { exit }\nmenuentry 'Debian' --id debian {\n"
        "\tlinux /boot/vmlinuz-6.1.0-1-amd64 ro\n}\n"
    )
    assert [(entry.title, entry.kernel) for entry in found] == [
        ("Other", ""),
        ("Debian", "6.1.0-1-amd64"),
    ]
    assert menu.chosen(found, "0").title == "Other"


@pytest.mark.parametrize("text", ["", "}", "menuentry 'a' {", "menuentry \"un'closed {\n}\n"])
def test_a_menu_that_is_cut_off_is_no_error(menu: ModuleType, text: str) -> None:
    entries = menu.read(text)
    assert menu.address(entries, OLD) == ""
    menu.chosen(entries, "0")
