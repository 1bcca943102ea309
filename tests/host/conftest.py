"""Hosts, their settings and new logins for the checks: of the boxes that are given, or of one
inventory file.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import paramiko
import pytest
from testinfra.host import Host

from deeprig import inventories
from deeprig.errors import DeeprigError
from deeprig.facts.survey import Survey, read, script
from deeprig.inventories import Box
from deeprig.parsers.door import ASK, Door
from deeprig.parsers.door import read as door_of
from deeprig.resolver.resolve import StackPlan, decide
from deeprig.settings import Rig
from deeprig.ssh import connection, dial
from deeprig_cli.verify import live_host
from deeprig_cli.verify.runner import BOXES, FAKE, NOTE, TIERS, WARNING, tier_of
from tests.host import here
from tests.host.newcomer import Login, Stranger

P, T = ParamSpec("P"), TypeVar("T")
FAKES = pytest.StashKey[dict[str, str]]()
BEGUN = pytest.StashKey[dict[str, "Future[Host]"]]()
KNOCKS = pytest.StashKey[dict[str, "Future[None]"]]()
LIVE = pytest.StashKey[Host]()
NOBODYS_PORT = 9  # the discard service, which no box runs
SECOND_TRY = 1.5  # seconds: the kernel knocks once more after one (RFC 6298, 2.1)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("deeprig")
    group.addoption("--inventory", default="inventory.py", help="the file that lists the boxes")
    group.addoption("--here", action="store_true", help="this machine itself, deployed or not")
    group.addoption("--limit", action="append", default=[], help="only this box; may be repeated")
    group.addoption(
        "--tier", choices=TIERS, default="functional", help="this tier and lighter ones"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"tier(name): how much it asks of the box: {', '.join(TIERS)}"
    )
    config.addinivalue_line("markers", "remedy(text): what to do where this check fails")
    config.addinivalue_line(
        "markers",
        "of_the_record: about what a deploy wrote down of the driver, not about the driver",
    )
    config.stash[FAKES] = {}
    config.stash[KNOCKS] = {}
    if config.getoption("--here"):
        config.stash[BOXES] = [here.box()]
    if BOXES in config.stash:
        return
    try:
        file = Path(config.getoption("--inventory"))
        config.stash[BOXES] = inventories.load(file, config.getoption("--limit"))
    except DeeprigError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "box" in metafunc.fixturenames:
        found = metafunc.config.stash[BOXES]
        ids = [name for name, _ in found]
        metafunc.parametrize("box", found, ids=ids, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)  # pytest itself then puts each box's together
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    allowed = TIERS[: TIERS.index(config.getoption("--tier")) + 1]
    heavier = [item for item in items if tier_of(item) not in allowed]
    config.hook.pytest_deselected(items=heavier)
    items[:] = sorted((item for item in items if item not in heavier), key=_does_something)


@pytest.fixture(scope="session")
def box(request: pytest.FixtureRequest) -> Box:
    """One box of the inventory: its name, and pyinfra's data for it."""
    found: Box = request.param
    return found


@pytest.fixture(scope="session")
def name(box: Box) -> str:
    return box[0]


@pytest.fixture(scope="session")
def data(box: Box) -> dict[str, Any]:
    """What the inventory says of the box, for a connection of one's own."""
    return box[1]


@pytest.fixture(scope="session")
def rig(data: dict[str, Any]) -> Rig:
    """The settings that the box should live up to."""
    settings: Rig = data["rig"]
    return settings


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest, box: Box) -> Iterator[Host]:
    """The live box, over one connection for all checks."""
    config = request.config
    begun = config.stash[BEGUN].pop(box[0], None) or _log_in(config, box)
    live = config.stash[LIVE] = begun.result()
    here_itself = config.getoption("--here")
    if not here_itself and any("newcomer" in _fixtures(item) for item in request.session.items):
        request.getfixturevalue("newcomer")  # it begins, and the checks go on
    yield live
    del config.stash[LIVE]
    live.backend.close()


@pytest.fixture(scope="session")
def newcomer(
    data: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[Future[paramiko.SSHClient]]:
    """Somebody else who logs in as the deploy user, beside the other checks."""
    if request.config.getoption("--here"):
        pytest.skip("nobody logs in to the machine itself")
    begun = _beside(connection.connect, data, factory=Stranger)
    yield begun
    with suppress(DeeprigError):
        begun.result().close()


@pytest.fixture(scope="session")
def knock(request: pytest.FixtureRequest, host: Host, name: str) -> Future[None]:
    """What came of knocking at a port of nobody's: TimeoutError where nothing answered."""
    return request.config.stash[KNOCKS][name]


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """The first box is logged in to, and answers, while the checks are still being loaded."""
    config = session.config
    first = config.stash[BOXES][0]
    config.stash[BEGUN] = {first[0]: _log_in(config, first)}


def pytest_unconfigure(config: pytest.Config) -> None:
    for begun in config.stash.get(BEGUN, {}).values():  # no check asked that box
        with suppress(DeeprigError):
            begun.result().backend.close()


def _log_in(config: pytest.Config, box: Box) -> Future[Host]:
    name, data = box
    if config.getoption("--here"):
        return _beside(here.connect)
    # Silence takes its time to be known as such: it is waited for beside all else.
    config.stash[KNOCKS][name] = _beside(_knock, data)
    return _beside(live_host.connect, name, data, _questions(config, data))


def _knock(data: dict[str, Any]) -> None:
    dial.by(connection.entry_of(data), NOBODYS_PORT, seconds=SECOND_TRY).close()


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def _beside(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> Future[T]:
    """What comes of this, in a thread of its own."""
    thread = ThreadPoolExecutor(max_workers=1)
    begun = thread.submit(work, *args, **options)
    thread.shutdown(wait=False)
    return begun


def _questions(config: pytest.Config, data: dict[str, Any]) -> Path:
    """Where what these checks ask is kept for the next time: other checks ask something else."""
    files = [Path(arg).stem.removeprefix("test_") for arg in config.args if arg.endswith(".py")]
    checks = "-".join(["verify", config.getoption("--tier"), *files])
    return Path(data["fast_questions"], checks)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture of the check asks the box."""
    if live := item.config.stash.get(LIVE, None):
        live.backend.begin(changes=_does_something(item))


def _does_something(item: pytest.Item) -> bool:
    """Whether it may change what other checks look at: only those of the heavier tiers."""
    return TIERS.index(tier_of(item)) >= TIERS.index("functional")


@pytest.fixture(scope="session")
def survey(host: Host, rig: Rig, request: pytest.FixtureRequest) -> Survey:
    """What the live box says of itself."""
    with host.sudo():
        said = host.check_output("sh -c %s", script(rig))
    found = read(said.splitlines())
    assert not found.strange, found.strange[0]
    return here.seen(found) if request.config.getoption("--here") else found


@pytest.fixture(scope="session")
def fake(survey: Survey, request: pytest.FixtureRequest, name: str) -> str:
    """The profile of a lab's pretended cards, or ""."""
    request.config.stash[FAKES][name] = survey.graphics.fake
    return survey.graphics.fake


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Whatever is decided for a pretended card is known as such in the report."""
    if call.when != "setup" or "stack_plan" not in _fixtures(item):
        return
    callspec: Any = getattr(item, "callspec", None)
    if fake := callspec and item.config.stash[FAKES].get(callspec.params["box"][0]):
        item.user_properties.append((FAKE, fake))


@pytest.fixture(scope="session")
def stack_plan(survey: Survey, rig: Rig, fake: str, request: pytest.FixtureRequest) -> StackPlan:
    """What goes on this box for its GPUs."""
    if request.config.getoption("--here"):
        return here.plan(survey, rig, Path("/etc/deeprig-lab-gpu/root" if fake else "/"))
    plan = decide(survey, rig)
    assert isinstance(plan, StackPlan), f"{plan.refusal} What would work: {plan.instead}"
    return plan


@pytest.fixture
def warn(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Have the check pass with something that its reader should look after."""
    return lambda sentence: request.node.user_properties.append((WARNING, sentence))


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Have the check, where it passes, say what it saw."""
    return lambda sentence: request.node.user_properties.append((NOTE, sentence))


@pytest.fixture
def door(host: Host) -> Door:
    """This login as the box sees it; its own port may be another than the one that is dialled."""
    return door_of(host.check_output(ASK))


@pytest.fixture
def ssh_port(rig: Rig, door: Door) -> int:
    """Where sshd is to listen on the box."""
    return rig.ssh.port or door.port


@pytest.fixture
def login(newcomer: Future[paramiko.SSHClient]) -> Login:
    """Log in as the deploy user with its key, as a newcomer does, one for all checks."""
    return newcomer.result


@pytest.fixture
def stranger(newcomer: Future[paramiko.SSHClient]) -> Stranger:
    """What came of the newcomer's first tries."""
    found = newcomer.result().get_transport()
    assert isinstance(found, Stranger)
    return found
