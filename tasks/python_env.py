"""Python environments: root's tools for the notebook, and the work user's own to compute in."""

import hashlib
import shlex
from dataclasses import dataclass
from functools import cached_property

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import operations, tree
from deeprig.facts import people
from deeprig.operations import files, packages
from deeprig.operations.box_program import BOX
from deeprig.operations.core import Commands, StreamedCommand
from deeprig.operations.facts import Shell
from deeprig.operations.footprint import Footprint
from deeprig.parsers import untrusted
from deeprig.resolver import resolve
from deeprig.resolver.environments import Environment, WheelPlan, environment
from deeprig.settings import Python, requirements_file
from deeprig.ssh import as_user
from tasks import base_packages

DATA = tree.CODE / "deeprig/catalog/notebook"
TOOL_ENV, PYTHON_ENV = f"{BOX} tool-env", f"{BOX} python-env"
HOURS = 12
NO_GPU = resolve.StackPlan()
HEAD_START = "deeprig-head-start"
UNMADE = ("", "absent", "unfinished")  # what the scripts' --check says of these
# Each home is looked at as its owner. Who does not answer in time keeps the Pythons too.
IN_USE = f"""{people.functions()}
used=
for owner in $(everyone); do
    as_user 10 "$owner" sh -c 'grep -qsD skip /opt/deeprig/python "$1"/envs/*/pyvenv.cfg' \\
        sh "$(home_of "$owner")" && used=yes || case $? in 124 | 137) used=yes ;; esac
done 2>/dev/null"""
FOOTPRINT = Footprint(
    files=(
        *(f"/opt/deeprig/{part}" for part in ("uv", "notebook", "notebook-*", "cache", "*.lock")),
        # Somebody's own uv stays.
        "$(find /usr/local/bin/uv -lname '/opt/deeprig/*' 2>/dev/null)",
        "/var/log/deeprig/python-env.log",
    ),
    packages=base_packages.VENV,
    # The Pythons that uv fetched stay as long as somebody's environment is made of one.
    residue_check=(
        f'[ ! -d /opt/deeprig/python ] || {{ {IN_USE}; [ -n "$used" ] || echo Pythons; }}'
    ),
    before=(f'{IN_USE}; [ -n "$used" ] || rm -rf /opt/deeprig/python',),
    after=("[ ! -d /opt/deeprig ] || rmdir --ignore-fail-on-non-empty /opt/deeprig",),
    work="started_from(there, '/opt/deeprig/')",
    notice="~/envs, their kernels and uv's cache stay: they are their user's",
)


@dataclass(frozen=True)
class Asked:
    """What is to stand in the end, whose, for which GPUs, and uv's cache where it has its own;
    `locks` is where locks outlive a reinstall.
    """

    settings: Python
    user: str | None
    plan: WheelPlan = NO_GPU
    cache: str | None = None
    locks: str | None = None

    @cached_property
    def own_lock(self) -> str:
        """The user's own requirements, or ""."""
        return requirements_file.text(self.settings.lock) if self.settings.lock else ""

    @property
    def own_file(self) -> str:
        """Where the box has them; other ones are another file."""
        digest = hashlib.sha256(self.own_lock.encode()).hexdigest()[:12]
        return f"/opt/deeprig/own-{digest}.lock"

    @property
    def uv_lock(self) -> str:
        """uv's version and checksums."""
        return (DATA / "uv.lock").read_text()

    @property
    def tools_lock(self) -> str:
        """The versions and checksums of every package of the tools."""
        return (DATA / "notebook.lock").read_text()

    def tools(self) -> list[str]:
        """tool-env's arguments: uv's version, and for a box with notebooks what serves them."""
        version, python = self.uv_lock.partition("==")[2].split()[0], self.settings.python
        serving = ["--tools", tool_folder(self.tools_lock, python), python]
        return [version, *(serving if self.user else [])]

    def environments(self) -> dict[str, list[str]]:
        """python-env's arguments for each of the user's environments, in the order of work."""
        options = ["--cache", self.cache] if self.cache else []
        options += ["--locks", self.locks] if self.locks else []
        python = self.settings.python
        own = ["--own", self.own_file] if self.settings.lock else []
        packages = () if own else self.settings.packages
        made = {"base": [*options, *own, "base", python, *packages]}
        for framework in self.settings.frameworks:
            made_of = environment(framework, self.plan, torch_index=self.settings.torch_index)
            made[framework] = [
                *options, *_sources(made_of), framework, python, *made_of.requirements
            ]  # fmt: skip
        return made


@deploy("Python tools, begun")
def begin_tools(asked: Asked) -> None:
    """uv and the tools: they come from the package index while apt is at work."""
    packages.install(name="Install Python's venv", packages=list(base_packages.VENV))
    files.put(name="Write uv's lock", dest="/opt/deeprig/uv.lock", content=asked.uv_lock)
    if asked.user:
        tools = asked.tools_lock
        files.put(name="Write the tools' lock", dest="/opt/deeprig/notebook.lock", content=tools)
    _begin_tools(name="Begin to make what does not stand", asked=asked)


@deploy("Python environments, begun")
def begin(asked: Asked) -> None:
    """The user's environments, which need uv and a Python, but neither apt nor a driver."""
    if asked.user is None:  # nobody computes here
        return
    if asked.settings.lock:
        files.put(
            name="Write the requirements of your own", dest=asked.own_file, content=asked.own_lock
        )
    _begin_environments(name="Begin to make what does not stand", asked=asked)


@deploy("Python tools")
def finish_tools(asked: Asked) -> None:
    """Waits for uv and the tools that are begun, or makes them."""
    _tool(name="Install uv", tool="uv", asked=asked)
    if asked.user:
        _tool(name="Build the tools' environment", tool="tools", asked=asked)


@deploy("Python environments")
def finish(asked: Asked) -> None:
    """Waits for the user's environments that are begun, or makes them."""
    if asked.user is None:
        return
    for name, arguments in asked.environments().items():
        _own_environment(
            name=f"Make {asked.user}'s environment {name}",
            user=asked.user,
            arguments=arguments,
            update=asked.settings.update,
        )


def _as(user: str) -> str:
    """As that user, for as long as fetching and building may take; what it says is passed on."""
    return f"{BOX} as-user {HOURS * 3600} {shlex.quote(user)} {PYTHON_ENV}"


def _sources(wanted: Environment) -> list[str]:
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


@operation()
def _tool(tool: str, asked: Asked) -> Commands:
    """Have "uv" or the "tools", waiting for it where it is begun."""
    if tool in _standing(asked):
        host.noop(f"{tool} stands")
        return
    yield StreamedCommand(_make_tools(asked, tool))


@operation()
def _begin_tools(asked: Asked) -> Commands:
    """Have a unit of its own make the tools, as `finish_tools` does what it left undone."""
    if _standing(asked) >= ({"uv", "tools"} if asked.user else {"uv"}):
        host.noop("all of it was made")
        return
    yield _in_a_unit(f"{HEAD_START}-tools", [_make_tools(asked, "tools")])


@operation()
def _begin_environments(asked: Asked) -> Commands:
    """Have a unit of its own make one after the other, as `finish` does what it left undone.

    It waits for uv and its Python, which come with the tools.
    """
    script = _as(asked.user or "")
    todo = [
        f"{script} {shlex.join(arguments)}"
        for arguments in asked.environments().values()
        if _how_it_stands(asked.user or "", arguments) in UNMADE
    ]
    if not todo:
        host.noop("all of it was made")
        return
    yield _in_a_unit(f"{HEAD_START}-environments", [_make_tools(asked, "tools"), *todo])


def _make_tools(asked: Asked, tool: str) -> str:
    """The command that makes "uv" alone, or the "tools" with it."""
    arguments = asked.tools() if tool == "tools" else asked.tools()[:1]
    return f"{TOOL_ENV} {shlex.join(arguments)}"


def _standing(asked: Asked) -> set[str]:
    """Which of uv and the tools stand."""
    names: str = host.get_fact(Shell, script=_check(TOOL_ENV, asked.tools()))
    return set(names.split())


def _in_a_unit(unit: str, commands: list[str]) -> StringCommand:
    return StringCommand(
        f"systemctl is-active -q {unit} || systemd-run --quiet --collect --unit={unit} "
        f"sh -c {shlex.quote('; '.join(commands))}"
    )


def _check(script: str, arguments: list[str]) -> str:
    return f"{script} --check {shlex.join(arguments)}"


def _how_it_stands(user: str, arguments: list[str]) -> str:
    """What python-env says of the user's environment; by looking at their files, so as them."""
    script = as_user.command(user, [*PYTHON_ENV.split(), "--check", *arguments])
    standing: str = host.get_fact(Shell, script=script)
    return standing


@operation()
def _own_environment(user: str, arguments: list[str], update: bool) -> Commands:
    """Make the user's environment once; later only look at it, unless the settings ask for more."""
    standing = _how_it_stands(user, arguments)
    if not update and (standing == "ok" or standing.startswith("note ")):
        if standing != "ok" and host.state.is_executing:
            operations.say(host, f"{untrusted.visible(standing.removeprefix('note '))}.")
        host.noop("the environment is left as it is")
        return
    yield StreamedCommand(f"{_as(user)} {'--update ' if update else ''}{shlex.join(arguments)}")
