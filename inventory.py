"""The boxes: those of rigs.py, your own file, or else an example that shows its form."""

from pathlib import Path

from pyinfra.api.exceptions import PyinfraError

try:
    from deeprig.settings import Rig, box
except ModuleNotFoundError as missing:
    raise PyinfraError(
        f"{missing.name} is not installed for this pyinfra; run .venv/bin/pyinfra, which "
        "`make env` makes."
    ) from None

if Path("rigs.py").is_file():
    import rigs as own

    rigs = own.rigs
    # Its other lists are groups, such as lab = ["rig1.lan", "rig2.lan"], for --limit.
    globals().update({name: value for name, value in vars(own).items() if isinstance(value, list)})
else:
    rigs = [box("rig1.lan", rig=Rig())]
