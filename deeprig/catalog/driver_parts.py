"""What belongs to a driver and must be of its very version, beside its modules and libraries."""

import re

# Fabric manager and IMEX: NVIDIA's own lists of what it releases together, redistrib_*.json of
# eight drivers of 550 and 560 (H). NSCQ: its fabric manager guide (M: seen in excerpts). nvlsm
# counts its own (2025.06.5 beside 580). Read 2026-11-30.
EQUAL = re.compile(r"^(nvidia-fabricmanager|libnvidia-nscq|nvidia-imex)(-\d+)?$")


def of_another_version(packages: dict[str, str], driver: str) -> list[str]:
    """Those of the installed packages (name -> version) that must be of `driver` and are not."""
    return [
        f"{name} is {its}"
        for name, version in sorted(packages.items())
        if EQUAL.match(name) and (its := upstream(version)) != driver
    ]


def upstream(version: str) -> str:
    """580.178.04 of 580.178.04-0ubuntu1."""
    return version.rpartition(":")[2].partition("-")[0]
