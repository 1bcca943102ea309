"""The boxes: those of rigs.py, your own file, or else an example that shows its form."""

from pathlib import Path

from deeprig.settings import Rig, box

if Path("rigs.py").is_file():
    from rigs import rigs
else:
    rigs = [box("rig1.lan", rig=Rig())]
