"""Why a card does not answer, and what it complains of though it does."""

import pytest

from deeprig.facts import gpu_failures
from deeprig.parsers import nvidia_smi
from deeprig.parsers.nvidia_smi import FIELDS
from tests.unit.test_gpu_readers import answer


@pytest.mark.parametrize(
    ("kernel", "sentence"),
    [
        ("NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.", "it fell off the bus"),
        (
            "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x62:0x65:1792)\n"
            "NVRM: RmInitAdapter: Cannot initialize GSP firmware RM",
            "its firmware (GSP) does not start",
        ),
        (
            "NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:2b85)\n"
            "NVRM: installed in this system requires use of the NVIDIA open kernel modules.",
            "it runs with the open kernel modules alone",
        ),
        (  # as older ones say it
            "NVRM: GPU 0000:01:00.0: requires use of NVIDIA open kernel modules",
            "it runs with the open kernel modules alone",
        ),
        (  # nv-pci.c prints two lines
            "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\n"
            "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)",
            "`Above 4G Decoding` on there; where that does not help, Rig(kernel_parameters=",
        ),
        (
            "NVRM: GPU 0000:01:00.0: GPU does not have the necessary power cables connected.\n"
            "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x24:0x1c:1603)",
            "its power cables are not in",
        ),
        ("NVRM: Xid (PCI:0000:01:00): 54, Auxiliary power", "its power cables are not in"),
        (
            "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x26:0x56:1482)",
            "it does not start; power off and on again",
        ),
        # Another card's trouble is not this one's.
        ("NVRM: Xid (PCI:0000:02:00): 79, GPU has fallen off the bus.", "has no reason"),
        ("", "has no reason"),
    ],
)
def test_why_a_card_does_not_answer_is_the_kernels_word(kernel: str, sentence: str) -> None:
    said = "Unable to determine the device handle for GPU0: 0000:01:00.0: Unknown Error\n"
    assert sentence in gpu_failures.failure(said, 255, kernel)


def test_a_driver_that_hangs_is_told() -> None:
    said = gpu_failures.failure("nvidia-smi has not ended within 60 s", 124)
    assert said.startswith("nvidia-smi has not answered within 60 s: the driver hangs")


def test_a_corrupted_inforom_is_a_warning_and_no_failure() -> None:
    said = answer() + "WARNING: infoROM is corrupted at gpu 0000:01:00.0\n"
    assert gpu_failures.failure(said, 14) == gpu_failures.failure(said, 0) == ""
    [warning] = gpu_failures.warnings(said)
    assert warning.startswith("the infoROM of 0000:01:00.0 is corrupted")
    assert gpu_failures.warnings(answer()) == ()
    assert gpu_failures.failure("", 0).startswith("nvidia-smi ends well and says nothing")


def test_what_cannot_be_read_is_no_word_for_what_is_not_there() -> None:
    [card] = nvidia_smi.cards(
        answer(**{"temperature.gpu": "ERR!", "persistence_mode": "[Unknown Error]"}), FIELDS
    )
    assert card.unreadable == ("temperature.gpu", "persistence_mode")
    assert card.persistence is None
    assert nvidia_smi.cards(answer(), FIELDS)[0].unreadable == ()
    assert nvidia_smi.cards(answer(persistence_mode="Disabled"), FIELDS)[0].persistence is False


XIDS = """\
NVRM: Xid (PCI:0000:01:00): 31, pid=99, name=python, Ch 00000008, MMU Fault
NVRM: Xid (PCI:0000:02:00): 119, pid=99, name=python, Timeout after 6s of waiting for RPC response
NVRM: Xid (PCI:0000:02:00): 119, pid=99, name=python, Timeout after 6s of waiting for RPC response
NVRM: Xid (PCI:0000:03:00): 95, pid=99, name=python, Uncontained ECC error
NVRM: Xid (PCI:0000:03:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset)
"""
RECOVERED = (
    "NVRM: Xid (PCI:0000:03:00): 154, GPU recovery action changed from 0x1 (GPU Reset) to "
    "0x0 (None)\n"
)


# RESET_GPU, RESTART_BM and the workflows that end in one, for what no program brings on itself: of
# NVIDIA's catalog. Of NVLink 5 (144 to 150) the driver says by 154 what it needs.
NEED_SOMEBODY = (46, 48, 62, 64, 74, 95, 109, 110, 119, 120, 140, 143, 158)


@pytest.mark.parametrize("number", NEED_SOMEBODY)
def test_each_xid_that_needs_a_reset_by_the_catalog_is_told_with_it(number: int) -> None:
    [said] = gpu_failures.xids(f"NVRM: Xid (PCI:0000:01:00): {number}, some words")
    assert "reboot" in said and "replaced" not in said


@pytest.mark.parametrize("number", [13, 31, 43, 45, 63, 121, 152])
def test_what_a_program_brings_upon_itself_or_is_for_no_one_is_not_told(number: int) -> None:
    assert gpu_failures.xids(f"NVRM: Xid (PCI:0000:01:00): {number}, some words") == ()


def test_xids_that_need_somebody_are_told_once_and_those_taken_back_are_not() -> None:
    first, second, third = gpu_failures.xids(XIDS)
    assert first.startswith("GPU 0000:02:00: its own firmware (GSP) does not answer")
    assert second.startswith("GPU 0000:03:00: its memory has an error")
    assert "(GPU Reset)" in third
    assert gpu_failures.xids(XIDS + RECOVERED) == (first,)


INSTANCES = """\
GPU 0: NVIDIA A100 (UUID: GPU-435b8647-c13a-0cc8-d748-41679ddb08d1)
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 1g.5gb      Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
"""


@pytest.mark.parametrize(
    ("modes", "said", "shown"),
    [
        (["[N/A]", "Disabled"], "", [2]),
        (["Enabled"], INSTANCES, [1]),
        (["Enabled"], INSTANCES.partition("\n")[0], [0]),
        (["Enabled", "Disabled"], INSTANCES, [1, 2]),
    ],
)
def test_cuda_shows_one_instance_of_those_with_mig_on(
    modes: list[str], said: str, shown: list[int]
) -> None:
    cards = nvidia_smi.cards("".join(answer(**{"mig.mode.current": m}) for m in modes), FIELDS)
    assert list(nvidia_smi.devices(cards, said)) == shown
