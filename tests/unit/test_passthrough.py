"""Which devices go to a guest, and each reason why none does; from what a box printed."""

from dataclasses import replace

import pytest

from deeprig.facts import passthrough, pci, survey
from deeprig.facts.gpus import GpuFacts
from deeprig.facts.survey import Survey
from deeprig.preflight.passthrough import objections
from deeprig.settings import Guest, Passthrough, Python, Rig
from tests.unit.recorded import DEBIAN_13

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBEtRYYbJlM1KVX8OTlvBnEb0KImc8tqI6b4cU4FxKGE me@laptop"
GUEST = Guest(image="/srv/guest.qcow2", keys=(KEY,))

# A workstation with two RTX 3090, the second in one group with a network card and an NVMe disk;
# written by hand in the form that deeprig/facts/pci.sh prints.
WORKSTATION = """\
pci_asked=yes
initramfs_tools=yes
virtualisation=svm
dma_table=IVRS
processors=16
memory_mib=64222
kernel_line=BOOT_IMAGE=/boot/vmlinuz root=UUID=1 ro
pci=0000:00:01.0 1022:1482 060000 - 0 0 0
pci=0000:01:00.0 144d:a80a 010802 nvme 14 0 0
pci=0000:05:00.0 8086:15f3 020000 igc 15 0 0
pci=0000:08:00.0 1a03:2000 030000 ast 16 1 0
pci=0000:40:01.0 1022:1483 060400 pcieport 17 0 0
pci=0000:41:00.0 10de:2204 030000 nvidia 17 0 24608
pci=0000:41:00.1 10de:1aef 040300 snd_hda_intel 17 0 0
pci=0000:42:00.0 10de:2204 030000 nvidia 18 0 24608
pci=0000:42:00.1 10de:1aef 040300 snd_hda_intel 18 0 0
pci=0000:43:00.0 1b21:0612 010601 ahci 18 0 0
system_disk=0000:01:00.0
network_card=0000:05:00.0
gpu=0000:41:00.0 10de:2204 030000
gpu=0000:42:00.0 10de:2204 030000
""".splitlines()
FIRST, SECOND, SATA = "0000:41:00.0", "0000:42:00.0", "0000:43:00.0"


def box(*more: str, without: str = "no such line", given: str = FIRST) -> Survey:
    """As the script leaves it: cards that are given are not among those of the box."""
    lines = [line for line in WORKSTATION if without not in line]
    lines = [
        line.replace("gpu=", "given_gpu=") if line.startswith(f"gpu={given}") else line
        for line in lines
    ]
    base = [line for line in DEBIAN_13 if line != "container=yes"]
    return survey.read([*base, "grub=yes", *lines, *more])


def rig(*gpus: str, accept: tuple[str, ...] = (), guest: Guest | None = GUEST) -> Rig:
    return Rig(passthrough=Passthrough(gpus=gpus or (FIRST,), accept=accept, guest=guest))


def addresses(found: Survey, settings: Rig) -> list[str]:
    assert settings.passthrough
    return [device.address for device in passthrough.devices(found.bus, settings.passthrough)]


def test_a_card_goes_with_all_its_functions_and_its_twin_stays() -> None:
    assert objections(box(), rig()) == []
    assert addresses(box(), rig()) == [FIRST, "0000:41:00.1"]


def test_nothing_is_asked_of_a_box_that_keeps_its_cards() -> None:
    assert objections(survey.read(DEBIAN_13), Rig()) == []
    assert "PASSTHROUGH='' GIVEN=''" in survey.script(Rig())
    assert "PASSTHROUGH=yes GIVEN=0000:41:00" in survey.script(rig())
    assert pci.SCRIPT in survey.SCRIPT


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ("virtualisation", "Its processor offers no virtualisation to the kernel (neither vmx"),
        ("dma_table", "Its firmware offers no IOMMU (no ACPI table DMAR or IVRS), and without"),
    ],
)
def test_a_machine_that_cannot_is_refused(without: str, sentence: str) -> None:
    [said] = objections(box(without=without), rig())
    assert said.startswith(sentence)
    assert said.endswith("on in the firmware's setup, or set passthrough=None.")


def test_a_boot_loader_that_is_not_grub_is_refused() -> None:
    [said] = objections(replace(box(), grub=False), rig())
    assert said.startswith("It has no GRUB, through whose settings alone kernel parameters are")


def test_an_initramfs_of_dracut_is_refused() -> None:
    [said] = objections(box(without="initramfs_tools"), rig())
    assert said.startswith("Its initramfs is not made by initramfs-tools, by whose hooks alone")


def test_a_container_is_refused() -> None:
    [said] = objections(survey.read(DEBIAN_13), rig())
    assert said.startswith("It is a container")


def without_groups(*more: str) -> Survey:
    lines = [
        " ".join([*line.split()[:4], "-", *line.split()[5:]]) if line.startswith("pci=") else line
        for line in WORKSTATION
    ]
    kept = [line for line in lines if not more or not line.startswith("kernel_line")]
    return survey.read([*DEBIAN_13, "grub=yes", *kept, *more])


def test_an_iommu_that_the_kernel_does_not_use_yet_is_asked_for_first() -> None:
    found = without_groups()
    assert objections(found, rig()) == []
    assert any("reboot and deploy again" in said for said in passthrough.remarks(found, rig()))


def test_an_iommu_that_the_kernel_was_told_to_use_and_does_not_is_refused() -> None:
    [said] = objections(without_groups("kernel_line=ro iommu=pt"), rig())
    assert said.startswith("Its kernel was started with the IOMMU asked for and uses none")


def test_a_stranger_in_the_group_is_refused_unless_it_is_named() -> None:
    [said] = objections(box(), rig(SECOND))
    assert said == (
        "0000:43:00.0 (storage 1b21:0612) is in IOMMU group 18 with 0000:42:00.0 (display "
        "10de:2204), and would go to the guest with it; move the card to another slot, or say "
        'accept=("0000:43:00.0",) if it may go.'
    )
    assert objections(box(), rig(SECOND, accept=(SATA,))) == []
    assert addresses(box(), rig(SECOND, accept=(SATA,))) == [SECOND, "0000:42:00.1", SATA]


def test_another_card_in_the_group_is_a_stranger_too() -> None:
    found = box("pci=0000:44:00.0 10de:2204 030000 nvidia 17 0 0")
    [said] = objections(found, rig())
    assert said.startswith("0000:44:00.0 (display 10de:2204) is in IOMMU group 17 with")
    assert objections(found, rig(FIRST, "0000:44:00.0")) == []


def test_a_bridge_to_something_else_is_a_device_in_the_group() -> None:
    found = box("pci=0000:40:1f.0 8086:2918 060100 lpc_ich 17 0 0")
    [said] = objections(found, rig())
    assert said.startswith("0000:40:1f.0 (device 8086:2918) is in IOMMU group 17 with")


def test_the_boot_disk_never_goes_whatever_is_accepted() -> None:
    found = box("system_disk=0000:43:00.0")
    for accept in ((), (SATA,)):
        [said] = objections(found, rig(SECOND, accept=accept))
        assert "the box's own file systems are on it, so the box would not boot" in said


def test_any_storage_may_be_the_boot_disk_where_nobody_can_tell() -> None:
    [said] = objections(box(without="system_disk"), rig(SECOND, accept=(SATA,)))
    assert said.startswith("0000:43:00.0 (storage 1b21:0612) is in IOMMU group 18")
    assert "would not boot" in said


def test_the_network_card_goes_only_if_it_is_named() -> None:
    found = box("network_card=0000:43:00.0")
    [said] = objections(found, rig(SECOND))
    assert "the box's network goes through it" in said
    assert 'accept=("0000:43:00.0",)' in said
    assert objections(found, rig(SECOND, accept=(SATA,))) == []


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("0000:05:00.0", "is named, and the box's network goes through it"),
        ("0000:01:00.0", "is named, and the box's own file systems are on it"),
        ("0000:43:00.0", "which is no graphics card; its graphics cards are: 0000:08:00.0 (disp"),
        ("0000:99:00.0", "and there is no device; its graphics cards are: 0000:08:00.0 (display"),
        ("0000:08:00.0", "is the card that the box's firmware and console show themselves on"),
    ],
)
def test_what_is_no_card_to_give_is_told(address: str, sentence: str) -> None:
    [said] = objections(box(), rig(address))
    assert sentence in said


def test_the_console_card_goes_if_that_is_said() -> None:
    assert objections(box(), rig("0000:08:00.0", accept=("console-gpu",))) == []


def test_on_an_old_kernel_the_firmwares_picture_must_let_the_console_card_go() -> None:
    settings = rig("0000:08:00.0", accept=("console-gpu",))
    old = box("kernel=5.15.0-160-generic")
    [said] = objections(old, settings)
    assert "kernel 5.15.0-160-generic leaves its memory to the firmware's picture" in said
    parameters = ("initcall_blacklist=sysfb_init",)  # what it names is what it wants
    assert f"Rig(kernel_parameters={str(parameters).replace(chr(39), chr(34))})" in said
    assert objections(old, replace(settings, kernel_parameters=parameters)) == []
    # Another card of the same box is no framebuffer's.
    assert objections(box("kernel=5.15.0-160-generic"), rig()) == []


def test_a_card_that_moved_is_refused_and_said_where_it_may_be() -> None:
    found = box("given=0000:41:00.0 10de:2230", "pci=0000:61:00.0 10de:2230 030000 - 20 0 0")
    [said] = objections(found, rig())
    assert said == (
        "Passthrough.gpus names 0000:41:00.0, where 10de:2230 was and 10de:2204 is now; 10de:2230 "
        "is at 0000:61:00.0 now; name the card's new address, or, if 10de:2204 is meant, deploy "
        "once with absent={'passthrough'}."
    )
    assert objections(box("given=0000:41:00.0 10de:2204"), rig()) == []


def test_a_card_that_left_its_slot_empty_is_refused_and_said_where_it_may_be() -> None:
    found = box("given=0000:51:00.0 1a03:2000")
    [said] = objections(found, rig("0000:51:00.0"))
    assert "there is no device; 1a03:2000 is at 0000:08:00.0 now; its graphics" in said


def test_the_last_card_that_the_box_computes_with_is_kept() -> None:
    both = box(without="0000:42:00.0 10de")
    [said] = objections(both, rig())
    assert said.startswith("Passthrough.gpus takes the box's last NVIDIA card")
    assert objections(both, rig(accept=("last-gpu",))) == []
    alone = replace(rig(), driver=None, cuda=None)
    assert objections(both, alone) == []
    assert objections(both, replace(alone, python=Python(frameworks=("torch",)))) == [said]


def test_the_cards_that_stay_are_those_that_the_driver_is_chosen_for() -> None:
    graphics: GpuFacts = box().graphics
    assert [gpu.address for gpu in graphics.gpus] == [SECOND]
    assert graphics.passed_through == (FIRST,)


@pytest.mark.parametrize(
    ("guest", "sentence"),
    [
        (replace(GUEST, memory_mib=65536), "Guest.memory_mib is 65536 and the box has 64222"),
        (
            replace(GUEST, processors=1, pin=(16,)),
            "Guest.pin names processor 16; the box has 0 to 15.",
        ),
    ],
)
def test_a_guest_larger_than_the_box_is_refused(guest: Guest, sentence: str) -> None:
    [said] = objections(box(), rig(guest=guest))
    assert said.startswith(sentence)


def test_the_page_says_who_has_what() -> None:
    said = passthrough.remarks(box("gpu=0000:62:00.0 10de:2204 030000"), rig())
    assert said == [
        "passthrough: virtualisation svm, IOMMU in the firmware IVRS, IOMMU groups in the kernel 6",
        "passthrough: 0000:41:00.0 (display 10de:2204) GeForce RTX 3090, IOMMU group 17 with "
        "0000:41:00.1; nvidia has it now, vfio-pci from the next boot on",
        "passthrough: 0000:41:00.1 (sound 10de:1aef), IOMMU group 17 with 0000:41:00.0; "
        "snd_hda_intel has it now, vfio-pci from the next boot on",
        "passthrough: 0000:42:00.0 (display 10de:2204) is of the same model and stays",
        "passthrough: an IOMMU, and PCIe switches with ACS, can make NCCL between the 2 cards that "
        "stay slow, or hang it; measure with nccl-tests before and after (docs/passthrough.md)",
    ]


def test_the_page_says_that_an_idle_card_goes_at_once() -> None:
    settings = rig().passthrough
    assert settings
    idle = Rig(passthrough=replace(settings, hand_over="when-idle"))
    [said] = [line for line in passthrough.remarks(box(), idle) if "41:00.0 (display" in line]
    assert said.endswith("vfio-pci as soon as nothing uses it, at the latest from the next boot on")


def test_the_window_above_4_gib_is_for_all_cards_together() -> None:
    settings = rig(FIRST, SECOND, accept=(SATA,)).passthrough
    assert settings
    assert passthrough.window_mib(passthrough.devices(box().bus, settings)) == 131072
    assert passthrough.window_mib(()) == 0
