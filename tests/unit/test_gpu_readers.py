"""The readers of what NVIDIA's and the system's tools print, on outputs of real boxes."""

from pathlib import Path

import pytest

from deeprig.facts import gpu_failures
from deeprig.parsers import cuda_versions, kernel_modules, nvidia_smi, topology
from deeprig.parsers.nvidia_smi import FIELDS, Card

OUTPUTS = Path(__file__).parent / "outputs"
LINKS = (
    "pcie.link.gen.current",
    "pcie.link.gen.max",
    "pcie.link.width.current",
    "pcie.link.width.max",
)


def recorded(name: str) -> str:
    """What a box printed; the first line of the file says where."""
    return (OUTPUTS / name).read_text().partition("\n")[2]


# A row as the live checks ask for it.
RTX_3090 = {
    "index": "0",
    "uuid": "GPU-5e7b0b5c-0000-4000-8000-000000003090",
    "name": "NVIDIA GeForce RTX 3090",
    "pci.bus_id": "00000000:01:00.0",
    "pci.device_id": "0x220410DE",
    "driver_version": "580.178.04",
    "vbios_version": "94.02.26.08.1C",
    "compute_cap": "8.6",
    "memory.total": "24576",
    "pcie.link.gen.current": "1",
    "pcie.link.gen.max": "4",
    "pcie.link.width.current": "16",
    "pcie.link.width.max": "16",
    "power.limit": "350.00",
    "power.default_limit": "350.00",
    "power.min_limit": "100.00",
    "power.max_limit": "366.00",
    "temperature.gpu": "31",
    "utilization.gpu": "0",
    "pstate": "P8",
    "persistence_mode": "Enabled",
    "ecc.mode.current": "[N/A]",
    "mig.mode.current": "[N/A]",
    "compute_mode": "Default",
}


def answer(**values: str) -> str:
    """The row, but for these values."""
    row = {**RTX_3090, **values}
    return ", ".join(row[field] for field in FIELDS) + "\n"


def test_a_header_names_the_columns() -> None:
    first, second = nvidia_smi.cards(recorded("query-2x5060ti-x8.csv"))
    assert (first.link_width, first.link_width_max) == (8, 8)
    assert (second.link_width, second.link_width_max) == (8, 16)
    assert second.name == "NVIDIA GeForce RTX 5060 Ti"
    assert second.power_limit is None  # not asked for


def test_idle_and_loaded_differ_in_the_generation_only() -> None:
    idle, loaded = nvidia_smi.cards(recorded("query-idle-and-loaded.csv"))
    assert (idle.link_generation, loaded.link_generation) == (1, 4)
    assert idle.link_width == loaded.link_width == 8


def test_units_are_taken_off() -> None:
    first, second = nvidia_smi.cards(recorded("query-units.csv"))
    assert (first.power_limit, second.power_limit) == (130.0, 150.0)
    cards = nvidia_smi.cards(recorded("query-4xa100.csv"))
    assert [card.memory for card in cards] == [81920] * 4
    assert {card.driver for card in cards} == {"580.105.08"}


def test_a_header_may_have_capitals_and_its_columns_words_for_none() -> None:
    """As drivers 590 to 610 print all of their fields: RTX 4080 SUPER, H100, RTX 2080 SUPER."""
    gone = "[Requested functionality has been deprecated]"
    [row] = nvidia_smi.rows(
        "index, pci.baseClass, clocks_event_reasons_counters.sw_power_cap [us], power.limit [W]\n"
        f"0, 3, 15814595384 us, {gone}\n"
    )
    assert row["clocks_event_reasons_counters.sw_power_cap"] == "15814595384"
    [card] = nvidia_smi.cards(answer(**{"power.limit": gone, "compute_mode": gone}), FIELDS)
    assert card.power_limit is None
    assert card.compute_mode is None


def test_without_a_header_the_fields_are_those_asked_for() -> None:
    [card] = nvidia_smi.cards(answer(), FIELDS)
    assert (card.address, card.id) == ("0000:01:00.0", "10de:2204")
    assert (card.power_min, card.power_max) == (100.0, 366.0)
    assert card.persistence is True
    assert card.ecc is None
    assert str(card) == "NVIDIA GeForce RTX 3090 (0000:01:00.0)"


@pytest.mark.parametrize(
    "missing", ["[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", "ERR!", "[Not Found]"]
)
def test_what_a_card_does_not_say_is_none(missing: str) -> None:
    [card] = nvidia_smi.cards(
        answer(**{"power.limit": missing, "pcie.link.width.current": missing}), FIELDS
    )
    assert card.power_limit is None
    assert card.link_width is None


def test_a_card_that_needs_a_reset_says_so() -> None:
    [card] = nvidia_smi.cards(answer(**{"power.limit": "[GPU requires reset]"}), FIELDS)
    assert card.requires_reset
    assert not nvidia_smi.cards(answer(), FIELDS)[0].requires_reset


def test_a_complaint_between_the_rows_is_no_row() -> None:
    lost = "Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error\n"
    assert len(nvidia_smi.cards(lost + answer(), FIELDS)) == 1
    assert nvidia_smi.rows(lost + "580.178.04\n", ("driver_version",)) == [
        {"driver_version": "580.178.04"}
    ]


def test_nothing_has_no_cards() -> None:
    assert nvidia_smi.cards("") == ()
    assert nvidia_smi.cards("No devices were found\n") == ()


@pytest.mark.parametrize(
    ("file", "driver", "cuda"),
    [("banner-560.txt", "560.35.03", "12.6"), ("banner-610.txt", "610.43.02", "13.3")],
)
def test_the_banner_is_read_before_610_and_since(file: str, driver: str, cuda: str) -> None:
    assert nvidia_smi.banner(recorded(file)) == nvidia_smi.Banner(driver=driver, cuda=cuda)


def test_no_banner_is_none() -> None:
    assert nvidia_smi.banner(recorded("failures.txt")) is None


def test_the_list_of_cards() -> None:
    [card] = nvidia_smi.listed(recorded("list-a100.txt"))
    assert card.index == 0
    assert card.uuid == "GPU-435b8647-c13a-0cc8-d748-41679ddb08d1"


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (0, "no driver is loaded"),
        (1, "the driver was updated under it; reboot"),
        (2, "holds no card (nouveau or vfio has it"),
        (3, "GPU 0000:01:00.0 is lost"),
        (4, "GPU 0000:34:00.0 does not answer (Unknown Error), and the kernel's log has no reason"),
    ],
)
def test_a_failure_is_told_in_a_sentence(number: int, sentence: str) -> None:
    status, _, said = recorded("failures.txt").splitlines()[number].partition(" ")
    assert sentence in gpu_failures.failure(said, int(status))


def test_an_unknown_failure_is_told_in_its_own_words() -> None:
    assert gpu_failures.failure("Segmentation fault", 139) == (
        "nvidia-smi ends with 139 and says 'Segmentation fault'."
    )
    assert gpu_failures.failure(answer(), 0) == ""


def test_a_lost_card_is_told_though_the_status_is_0() -> None:
    said = "Unable to determine the device handle for GPU0: Unknown Error\n" + answer()
    assert gpu_failures.failure(said, 0).startswith("GPU 0 does not answer")


def test_topology_of_a_pcie_host_with_escapes_and_two_tabs() -> None:
    found = topology.read(recorded("topo-6-pcie.txt"))
    assert found.gpus == tuple(f"GPU{n}" for n in range(6))
    assert found.nics == ()
    assert found.links["GPU0", "GPU1"] == "PIX"
    assert found.links["GPU0", "GPU5"] == "SYS"
    assert found.links["GPU4", "GPU4"] == "X"
    assert found.cpus["GPU5"] == "24-47,72-95"
    assert found.numa == {**{f"GPU{n}": "0" for n in range(4)}, "GPU4": "1", "GPU5": "1"}


def test_topology_reads_the_same_wherever_the_escape_stands() -> None:
    text = recorded("topo-6-pcie.txt")
    moved = text.replace("\x1b[4m\tGPU0", "\t\x1b[4mGPU0")
    assert moved != text
    assert topology.read(moved) == topology.read(text)


def test_topology_of_nvlink() -> None:
    found = topology.read(recorded("topo-8xa100-nvswitch.txt"))
    assert {link for (a, b), link in found.links.items() if a != b} == {"NV12"}
    assert len(found.links) == 64


def test_topology_with_network_cards_in_spaces() -> None:
    found = topology.read(recorded("topo-4-gpus-4-nics.txt"))
    assert found.nics == ("NIC0", "NIC1", "NIC2", "NIC3")
    assert found.links["NIC2", "GPU2"] == "NODE"
    assert found.links["GPU3", "NIC3"] == "NODE"
    assert found.cpus == {"GPU0": "0-31", "GPU1": "0-31", "GPU2": "32-63", "GPU3": "32-63"}


def test_topology_of_an_old_driver_and_of_one_card() -> None:
    old = topology.read(recorded("topo-old-driver.txt"))
    assert old.nics == ("mlx5_0",)
    assert old.links["GPU1", "mlx5_0"] == "PXB"
    assert old.numa == {"GPU0": "3", "GPU1": "3"}
    assert topology.read(recorded("topo-1.txt")).cpus == {"GPU0": "0-19"}


def test_no_topology_is_empty() -> None:
    assert topology.read("No devices were found\n") == topology.Topology()


def test_lspci_tells_links_and_redirecting_bridges() -> None:
    first, second, card, sound = topology.devices(recorded("lspci.txt"))
    assert (first.bridge, first.redirects) == (True, True)
    assert (second.bridge, second.redirects) == (True, False)
    assert (card.id, card.device_class) == ("10de:2204", "0300")
    assert (card.generation, card.width) == (1, 8)
    assert (card.generation_max, card.width_max) == (4, 16)
    assert (sound.id, sound.width) == ("10de:1aef", None)
    assert not card.bridge


def test_dkms_lines_of_all_names_and_both_forms() -> None:
    found = kernel_modules.builds(recorded("dkms-status.txt"))
    assert [(b.name, b.kernel, b.state) for b in found] == [
        ("nvidia", "6.8.0-142-generic", "installed"),
        ("nvidia-srv", "7.0.0-29-generic", "installed"),
        ("nvidia", "6.8.0-31-generic", "installed"),
        ("nvidia-current", "6.1.0-56-amd64", "built"),
        ("nvidia-current-open", "", "added"),
        ("nvidia-340", "4.13.0-36-generic", "installed"),
        ("nvidia", "6.8.0-45-generic", "built"),
    ]
    assert [b.differs for b in found] == [False, False, True, False, False, False, False]
    assert found[1].version == "595.71.05"


def test_the_running_module_tells_version_and_flavour() -> None:
    assert kernel_modules.running(recorded("version-open.txt")) == kernel_modules.Running(
        version="580.173.02", flavour="open"
    )
    assert kernel_modules.running(recorded("version-proprietary.txt")) == kernel_modules.Running(
        version="535.161.07", flavour="proprietary"
    )
    assert kernel_modules.running("") is None


def test_the_flavour_is_the_licence() -> None:
    assert kernel_modules.flavour("Dual MIT/GPL\n") == "open"
    assert kernel_modules.flavour("NVIDIA") == "proprietary"
    assert kernel_modules.flavour("GPL") == ""


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("SecureBoot enabled\n", True),
        ("SecureBoot disabled\nPlatform is in Setup Mode\n", False),
        ("EFI variables are not supported on this system\n", False),
        ("Failed to read SecureBoot\n", None),
        ("SecureBoot unknown", None),
    ],
)
def test_secure_boot_by_mokutil(said: str, state: bool | None) -> None:
    assert kernel_modules.secure_boot(said) is state


def test_a_key_is_enrolled_by_the_words_not_by_the_status() -> None:
    assert kernel_modules.key_enrolled("/var/lib/dkms/mok.pub is already enrolled\n") is True
    assert kernel_modules.key_enrolled("/var/lib/dkms/mok.pub is not enrolled\n") is False
    assert kernel_modules.key_enrolled("Failed to open /var/lib/dkms/mok.pub\n") is None


def test_options_that_wait_for_the_next_load() -> None:
    shown = 'RmProfilingAdminOnly: 1\nEnableResizableBar: 1\nRegistryDwords: ""\n'
    loaded = kernel_modules.parameters(shown)
    options = [
        "NVreg_RestrictProfilingToAdminUsers=0",
        "NVreg_EnableResizableBar=1",
        "NVreg_EnableGpuFirmware=0",  # not shown: nobody knows
    ]
    assert kernel_modules.pending_options(options, loaded) == [
        "NVreg_RestrictProfilingToAdminUsers=0"
    ]
    assert kernel_modules.pending_options(options, {}) == []


def test_versions_of_the_toolkit() -> None:
    assert cuda_versions.nvcc(recorded("nvcc-13.0.txt")) == ("13.0", "13.0.88")
    assert cuda_versions.nvcc("Cuda compilation tools, release 13.4, V13.4.92") == (
        "13.4",
        "13.4.92",
    )
    cudnn = "#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 26\n#define CUDNN_PATCHLEVEL 0\n"
    assert cuda_versions.cudnn(cudnn) == "9.26.0"
    nccl = "#define NCCL_MAJOR 2\n#define NCCL_MINOR 29\n#define NCCL_PATCH 7\n"
    assert cuda_versions.nccl(nccl) == "2.29.7"
    assert cuda_versions.nccl("#define NCCL_MAJOR 2\n") is None
    assert cuda_versions.nvcc("") is None


def test_the_live_check_compiles_code_of_the_cards_and_no_ptx() -> None:
    """Where the toolkit is newer than the driver's own CUDA its PTX ends with error 222."""
    cards = tuple(Card(compute_capability=its) for its in ("9.0", "8.6", "8.6", None))
    assert nvidia_smi.code(cards) == [
        "-gencode=arch=compute_86,code=sm_86",
        "-gencode=arch=compute_90,code=sm_90",
    ]
    assert nvidia_smi.code(()) == []
