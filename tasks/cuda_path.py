"""CUDA's programs on the PATH of each kind of session, after what is there already.

Three doors, as each kind of session has its own: PAM's /etc/environment for a command over SSH,
/etc/profile.d for login shells, environment.d for what a user's systemd starts. LD_LIBRARY_PATH
is in none of them: it would put these libraries before those that frameworks bring.
"""

from deeprig import operations
from deeprig.operations import files
from deeprig.ssh import as_user

PROGRAMS = "/usr/local/cuda/bin"
PROFILE = "/etc/profile.d/deeprig-cuda.sh"
SERVICES = "/etc/environment.d/50-deeprig-cuda.conf"
PAM = "/etc/environment"
FILES = (PROFILE, SERVICES)
# What Ubuntu has there, and more than Debian's sshd gives by itself.
USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:/usr/local/games"


def provide() -> None:
    """nvcc is found; part of CUDA's deploy."""
    files.copy(PROFILE)
    files.copy(SERVICES)
    operations.shell(
        name="Have it known to what users' systemd starts, where one runs by now",
        unless=f"{as_user.of_each_manager('show-environment')} | grep '^PATH=' | "
        f"grep -qv {PROGRAMS} || echo known",
        commands=[as_user.of_each_manager("daemon-reload")],
    )
    operations.shell(
        name="Have CUDA's programs on PATH in commands over SSH",
        unless=f"grep -E '^PATH=.*{PROGRAMS}' {PAM}",
        commands=[with_programs()],
    )


def with_programs() -> str:
    """Lengthens the PATH that is there, or writes one."""
    return (
        f"touch {PAM}; if grep -q '^PATH=' {PAM}; "
        f"""then sed -i -E '/^PATH=/s|"?$|:{PROGRAMS}&|' {PAM}; """
        f"""else echo 'PATH="{USUAL}:{PROGRAMS}"' >> {PAM}; fi"""
    )


def removal() -> str:
    """A command that takes them from the PATH again, and the file that had nothing else."""
    return (
        f"sed -i 's|:{PROGRAMS}||' {PAM}; "
        f"""if [ "$(cat {PAM})" = 'PATH="{USUAL}"' ]; then : > {PAM}; fi"""
    )
