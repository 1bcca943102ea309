"""What `deeprig run` needs on a box: its program, and a tmux server that no deploy restarts."""

from pyinfra.api.deploy import deploy

from deeprig.operations import files as config_files

SCRIPTS = "/usr/local/lib/deeprig"
PROGRAM = f"{SCRIPTS}/job"
TMUX, UNIT_FILE = "/etc/deeprig/jobs-tmux.conf", "/etc/systemd/user/deeprig-jobs.service"
MODULES = [f"{SCRIPTS}/{module}.py" for module in ("job_records", "job_cards", "job_command")]
RUN, WINDOW = f"{SCRIPTS}/notebook-run", f"{SCRIPTS}/job-window"
FILES = (TMUX, UNIT_FILE, *MODULES, RUN, WINDOW, PROGRAM)


@deploy("Jobs")
def provide() -> None:
    """Jobs can be begun; those that run are not touched."""
    for path in (TMUX, UNIT_FILE, *MODULES, RUN):
        config_files.copy(path)
    config_files.copy(WINDOW, mode="755")
    config_files.copy(PROGRAM, mode="755")
