"""`python -m lab.stand_ins`: serve all stand-ins until Ctrl-C, for trying things by hand.

There must be a box: its network is where they listen.
"""

import signal

import click

from lab.stand_ins import nvidia_repository, ubuntu_archive


@click.command()
@click.option("--dist", "dists", multiple=True, default=("ubuntu2404", "debian12", "debian13"))
@click.option(
    "--driver", "drivers", multiple=True, help="Versions that NVIDIA's has; default: all."
)
@click.option("--port", default=8900, help="The first of two ports.")
def main(dists: tuple[str, ...], drivers: tuple[str, ...], port: int) -> None:
    """Serve NVIDIA's repository and Ubuntu's archive, both stand-ins."""
    with (
        nvidia_repository.serve(dists, drivers or None, port=port) as nvidia,
        ubuntu_archive.serve(port=port + 1) as ubuntu,
    ):
        for dist in dists:
            print(f"{nvidia.url}/{dist}  key {nvidia.fingerprint(dist)}")
        print(f"{ubuntu.url}  key {ubuntu.fingerprint}\nOn a box: {ubuntu.setup}", flush=True)
        signal.pause()


main()
