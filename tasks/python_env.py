"""Python environments: root's tools for the notebook, and the work user's own to compute in."""

import hashlib
import shlex
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import frameworks, stack
from deeprig.settings import Python
from tasks import archive, config_files, operations, packages
from tasks.facts import Shell
from tasks.operations import Commands, Watched
from tasks.traces import Trace

DATA = Path(__file__).parent.parent / "deeprig/data/notebook"
SCRIPTS = "/usr/local/lib/deeprig"
NO_GPU = stack.Plan()
TRACE = Trace(
    files=(
        *(f"/opt/deeprig/{part}" for part in ("uv", "notebook", "notebook-*", "cache", "*.lock")),
        # Somebody's own uv stays.
        "$(find /usr/local/bin/uv -lname '/opt/deeprig/*' 2>/dev/null)",
        *(f"{SCRIPTS}/{n}" for n in ("tool-env", "python-env", "env_files.py", "install_step.py")),
        "/var/log/deeprig/python-env.log",
    ),
    packages=archive.VENV,
    # The Pythons that uv fetched stay as long as somebody's environment is made of one.
    sign="[ ! -d /opt/deeprig/python ] || "
    "grep -qs /opt/deeprig/python /home/*/envs/*/pyvenv.cfg || echo Pythons",
    before=(
        "grep -qs /opt/deeprig/python /home/*/envs/*/pyvenv.cfg || rm -rf /opt/deeprig/python",
    ),
    after=("[ ! -d /opt/deeprig ] || rmdir --ignore-fail-on-non-empty /opt/deeprig",),
    work="started_from(there, '/opt/deeprig/')",
    stays="~/envs, their kernels and uv's cache stay: they are their user's",
)


@deploy("Python environments")
def provide(
    settings: Python,
    user: str | None,
    plan: frameworks.Plan = NO_GPU,
    cache: str | None = None,
) -> None:
    """uv; and for a box with notebooks the tools, and `user`'s environments.

    `plan` is for the box's GPUs, `cache` the folder for uv's cache where it is not the usual one.
    """
    packages.install(name="Install Python's venv", packages=list(archive.VENV))
    config_files.copy(f"{SCRIPTS}/install_step.py")
    config_files.copy(f"{SCRIPTS}/env_files.py")
    config_files.copy(f"{SCRIPTS}/tool-env", mode="755")

    uv = (DATA / "uv.lock").read_text()
    operations.put(name="Write uv's version and checksums", dest="/opt/deeprig/uv.lock", content=uv)
    _stand(name="Install uv", script=f"{SCRIPTS}/tool-env", arguments=["uv", _version(uv)])

    if user is None:  # nobody computes here, and nothing serves them
        return
    tools = (DATA / "notebook.lock").read_text()
    operations.put(name="Write the tools' lock", dest="/opt/deeprig/notebook.lock", content=tools)
    _stand(
        name="Build the tools' environment",
        script=f"{SCRIPTS}/tool-env",
        arguments=["tools", tool_folder(tools, settings.python), settings.python],
    )

    config_files.copy(f"{SCRIPTS}/python-env", mode="755")
    operations.remove(name="No script of older versions", path=f"{SCRIPTS}/base-env")
    options = ["--cache", cache] if cache else []
    _own_environment(
        name=f"Make {user}'s environment base",
        user=user,
        arguments=[*options, "base", settings.python, *settings.packages],
        update=settings.update,
    )
    for framework in settings.frameworks:
        wanted = frameworks.environment(framework, plan, torch_index=settings.torch_index)
        _own_environment(
            name=f"Make {user}'s environment {framework}",
            user=user,
            arguments=[
                *options, *_sources(wanted), framework, settings.python, *wanted.requirements
            ],
            update=settings.update,
        )  # fmt: skip


def _sources(wanted: frameworks.Environment) -> list[str]:
    """python-env's options for the wheels' source and size."""
    options = ["--gigabytes", str(wanted.gigabytes)]
    if wanted.torch_backend:
        options += ["--torch-backend", wanted.torch_backend]
    if wanted.torch_index:
        options += ["--torch-index", wanted.torch_index]
    return options


def tool_folder(lock: str, python: str) -> str:
    """The folder below /opt/deeprig for the tools: another lock or Python is another folder."""
    return f"notebook-{hashlib.sha256(f'{lock}{python}'.encode()).hexdigest()[:12]}"


def _version(lock: str) -> str:
    return lock.partition("==")[2].split()[0]


@operation()
def _stand(script: str, arguments: list[str]) -> Commands:
    """Have `script` make what it does not find standing."""
    asked = shlex.join(arguments)
    if host.get_fact(Shell, script=f"{script} --check {asked}"):
        host.noop(f"{arguments[0]} stands")
        return
    yield Watched(f"{script} {asked}")


@operation()
def _own_environment(user: str, arguments: list[str], update: bool) -> Commands:
    """Make the user's environment once; later only look at it, unless the settings ask for more."""
    script = f"runuser -u {user} -- {SCRIPTS}/python-env"
    asked = shlex.join(arguments)
    found = host.get_fact(Shell, script=f"{script} --check {asked}")
    if not update and (found == "ok" or found.startswith("note ")):
        if found != "ok" and host.state.is_executing:
            operations.say(host, f"{found.removeprefix('note ')}.")
        host.noop("the environment is left as it is")
        return
    yield Watched(f"{script} {'--update ' if update else ''}{asked}")
