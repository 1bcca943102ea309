"""How old the tables are, and what is said of what they do not know."""

from datetime import date

from deeprig import catalog

NAMES = ("gpus", "gpu_names", "drivers", "driver_packages", "repositories", "cuda", "torch")
OLD_DAYS = 90


def read() -> date:
    """The day of the oldest of them."""
    oldest: date = min(catalog.load(name)["read"] for name in NAMES)
    return oldest


def age(today: date) -> list[str]:
    """A sentence where they are older than that many days."""
    days = (today - read()).days
    if days <= OLD_DAYS:
        return []
    return [
        f"deeprig's tables of GPUs, drivers and CUDA are of {read()}, {days} days old; a newer "
        "deeprig may know better"
    ]


def unknown(what: str) -> str:
    """The sentence for something that the box's apt has."""
    return f"The box's apt offers {what}, which deeprig's tables of {read()} do not know."
