"""What `deeprig run` needs on a box: its program, and a tmux server that no deploy restarts."""

from pyinfra.api.deploy import deploy

from tasks import config_files

SCRIPTS = "/usr/local/lib/deeprig"
PROGRAM = f"{SCRIPTS}/job"


@deploy("Jobs")
def provide() -> None:
    """Jobs can be begun; those that run are not touched."""
    config_files.copy("/etc/deeprig/jobs-tmux.conf")
    config_files.copy("/etc/systemd/user/deeprig-jobs.service")
    for module in ("job_records", "job_cards", "job_command"):
        config_files.copy(f"{SCRIPTS}/{module}.py")
    config_files.copy(f"{SCRIPTS}/notebook-run")
    config_files.copy(f"{SCRIPTS}/job-window", mode="755")
    config_files.copy(PROGRAM, mode="755")
