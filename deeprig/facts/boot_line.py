"""The kernel parameters that passthrough needs."""

from deeprig.facts.pci import Bus

# `iommu=pt`: devices that stay with the box are not slowed down by translation.
PARAMETERS = {"vmx": ("intel_iommu=on", "iommu=pt"), "svm": ("iommu=pt",)}
# QEMU's emulated processor says svm, and its usual IOMMU is Intel's.
INTELS_TABLE = "DMAR"


def iommu(bus: Bus) -> tuple[str, ...]:
    """Those for the IOMMU of this box."""
    return PARAMETERS["vmx" if bus.dma_table == INTELS_TABLE else "svm"]


def holds(kernel_line: str, parameters: tuple[str, ...]) -> bool:
    """Whether a kernel was started with all of these."""
    return set(parameters) <= set(kernel_line.split())
