"""The index of where the driver comes from: read anew or the reason why not, and when it was."""

from typing import Any

from deeprig_box.apt import index
from deeprig_box.apt.errors import explained
from deeprig_box.apt.spec import SPECS, Repository
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia.driver import said
from deeprig_box.nvidia.steps import logged


def read_anew(plan: dict[str, Any]) -> None:
    """Have apt read its lists. Raises BoxError where it cannot read the one of the plan."""
    print("Read the package lists ...", flush=True)
    complaints = index.read_anew()
    logged("Read the package lists", "\n".join(complaints))
    uris = [uri.rstrip("/") for uri in addresses(plan)]
    own = [one for one in complaints if is_about(one, uris)]
    if own:
        raise BoxError(f"{name(plan)} cannot be read: {explained(own[0])}")
    if complaints:
        print(f"apt complains of another source: {complaints[0].splitlines()[0]}", flush=True)


def is_about(complaint: str, uris: list[str]) -> bool:
    """Whether it is about one of these addresses, or about all: a lock, or a file of sources."""
    if any(uri in complaint for uri in uris):
        return True
    names_one = "://" in complaint or "Some index files failed" in complaint
    return complaint.startswith("E") and not names_one


def name(plan: dict[str, Any]) -> str:
    if plan["source"] != "nvidia":
        return "the distribution's archive"
    if not (SPECS / "nvidia.json").exists():
        return "NVIDIA's repository"
    repository = Repository("nvidia")
    return f"{repository.title} ({repository.uri})"


def addresses(plan: dict[str, Any]) -> list[str]:
    """Where the driver of this plan comes from, as apt writes it."""
    if plan["source"] == "nvidia":
        return [Repository("nvidia").uri] if (SPECS / "nvidia.json").exists() else []
    form = "$(ORIGIN)|$(REPO_URI)"
    rows = said("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines()
    origins = [row.partition("|") for row in rows]
    return sorted({uri for origin, _, uri in origins if origin in ("Debian", "Ubuntu")})


def facts(plan: dict[str, Any]) -> dict[str, Any]:
    """Whose it is, and when apt read it; 0 where it never did."""
    return {"source": name(plan), "read": index.last_read(addresses(plan))}
