"""What the commands (deeprig_cli/) and the tasks (tasks/) stand on; it imports neither."""

import os
import sys

__version__ = "0.1.0"

# pyinfra's command line switches this off: all that it loads after that, such as this package and
# tasks/, would be compiled anew at every run.
sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
