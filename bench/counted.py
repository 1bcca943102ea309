"""pyinfra's own command line, with the channels it opened counted into $BENCH_COUNT."""

import os
import sys
from pathlib import Path
from typing import Any

from pyinfra_cli.main import main  # patches the standard library, and wants to be the first

from paramiko import Channel  # isort: skip

COUNTS = {"channels": 0}
_init = Channel.__init__


def _count(self: Channel, *args: Any, **options: Any) -> None:
    COUNTS["channels"] += 1
    _init(self, *args, **options)


if __name__ == "__main__":
    Channel.__init__ = _count  # type: ignore[method-assign]
    sys.argv[0] = "pyinfra"
    try:
        sys.exit(main())
    finally:
        Path(os.environ["BENCH_COUNT"]).write_text(str(COUNTS["channels"]))
