"""What `deeprig run` needs on a box: a tmux server that no deploy restarts."""

from pyinfra.api.deploy import deploy

from deeprig.operations import files

TMUX, UNIT_FILE = "/etc/deeprig/jobs-tmux.conf", "/etc/systemd/user/deeprig-jobs.service"
FILES = (TMUX, UNIT_FILE)


@deploy("Jobs")
def provide() -> None:
    """Jobs can be begun; those that run are not touched."""
    for path in FILES:
        files.copy(path)
