"""NVIDIA's own packages for one distribution: only what the plan wants is taken from there."""

from typing import Any

from deeprig import catalog
from deeprig.operations import apt_repositories
from deeprig.operations.apt_repositories import Preference, Repository
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Cuda, Driver

NAME = "nvidia"
# The first file's stanzas hold before those of NVIDIA's own pinning package (nvidia-driver-pin),
# the last one's after them: of two that match, apt takes the first by the files' names.
FIRST, LAST = "deeprig-nvidia", "zz-deeprig-nvidia"
# What a driver is made of has names that the distributions use too.
DRIVER_NAMES = "*nvidia* libcuda1 libcudadebugger1 libnv* libxnvctrl* cuda-drivers*"
OF_NO_DRIVER = "nvidia-container-toolkit* libnvidia-container*"  # they are patched from elsewhere
LIBRARIES = "libcudnn* libnccl*"
PREFERRED, ONLY_THERE, EXACTLY, NEVER = 600, 100, 990, -1


def provide(plan: StackPlan, driver: Driver | None, cuda: Cuda | None) -> None:
    """Have the repository of the plan, by its key; a mirror of it where the settings name one."""
    apt_repositories.provide(repository(plan, driver, cuda))


def repository(plan: StackPlan, driver: Driver | None, cuda: Cuda | None) -> Repository:
    """What the plan takes from NVIDIA, as apt is to know it."""
    settings = driver if driver and plan.driver_source == "nvidia" else cuda
    known = catalog.load("repositories")
    row = next(row for row in known["repository"] if row["name"] == plan.repository)
    base = (settings.mirror if settings and settings.mirror else row["base"]).rstrip("/")
    folder = plan.repository_folder
    fingerprints = tuple(row["fingerprints"])
    return Repository(
        name=NAME,
        title=f"NVIDIA's repository for {row['directory']}",
        uri=f"{base}/{folder}/",
        key_urls=tuple(f"{base}/{folder}/{file}" for file in (row["keyring_deb"], row["key_file"])),
        fingerprints=fingerprints,
        setting="Driver" if plan.driver_source == "nvidia" else "Cuda",
        repo_key=(settings.repo_key or "") if settings else "",
        foreign=_foreign(known["repository"], fingerprints),
        retired=tuple(key["fingerprint"] for key in known["retired_key"]),
        other_addresses=(f"{row['base'].rstrip('/')}/", *known["old"]["addresses"]),
        obsolete=("/etc/apt/preferences.d/cuda-repository-pin-600",),
        preferences=preferences(plan),
    )


def _foreign(rows: list[dict[str, Any]], own: tuple[str, ...]) -> dict[str, str]:
    """The other distributions' keys; where this one's is not known, none is foreign for certain."""
    if not own:
        return {}
    return {key: row["directory"] for row in rows for key in row["fingerprints"] if key not in own}


def preferences(plan: StackPlan) -> dict[str, tuple[Preference, ...]]:
    """What is wanted comes from there; all else from the distribution, where it has it."""
    first: list[Preference] = [(" ".join(plan.shut_out), "", NEVER)] if plan.shut_out else []
    first += [(glob, f"version {version}", EXACTLY) for glob, version in plan.pins]
    last: list[Preference] = [(LIBRARIES, "", PREFERRED)] if plan.cuda_packages else []
    if plan.driver_source == "nvidia":
        last += [(" ".join(plan.build_tools), "", PREFERRED)] if plan.build_tools else []
        last += [(OF_NO_DRIVER, "", ONLY_THERE), (DRIVER_NAMES, "", PREFERRED)]
    return {FIRST: tuple(first), LAST: (*last, ("*", "", ONLY_THERE))}
