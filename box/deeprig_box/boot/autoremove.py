"""apt keeps the last proved kernel, though newer ones are there."""

from pathlib import Path

from deeprig_box.lib import files

KEEP = Path("/etc/apt/apt.conf.d/deeprig-kernels.conf")
HEADER = "// Written by deeprig (box/deeprig_box/boot/autoremove.py): it changes by itself.\n"


def wanted(good: list[str]) -> str:
    """What stands in apt's configuration for these proved kernels, oldest first."""
    if not good:
        return there()  # while nothing is proved, what was stays
    name = good[-1].replace(".", "[.]").replace("+", "[+]")
    return f'{HEADER}APT::NeverAutoRemove {{ "^linux-.*-{name}$"; }};\n'


def there() -> str:
    return KEEP.read_text() if KEEP.exists() else ""


def settle(good: list[str]) -> None:
    if (text := wanted(good)) != there():
        files.write(KEEP, text)


def lift() -> None:
    KEEP.unlink(missing_ok=True)
