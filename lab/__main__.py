"""`python -m lab`, which `sudo` can run when `deeprig` is not on root's PATH."""

from lab.cli import main

main()
