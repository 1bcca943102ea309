"""A box on which somebody waits from the first deploy on, for the modules of the lane `trust`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import boxes
from tests.lab.attacked import SECRET, VICTIM, First, marked, verified, witness
from tests.lab.attackers import MARKER, Accounts, haunted, prepare
from tests.lab.conftest import variant
from tests.lab.measured import deeprig, deploy


@pytest.fixture(scope="module")
def accounts(box: boxes.Box) -> Accounts:
    """The work user, another account and root, with the programs at hand."""
    return prepare(box, "ai", "anna")


@pytest.fixture(scope="module")
def first(box: boxes.Box, accounts: Accounts) -> First:
    """The work user waits from the first deploy on: what is in the home runs from the beginning."""
    with haunted(accounts["ai"]), witness(accounts["root"]) as seen:
        done = deploy(box.inventory)
    assert done.code == 0, done.all
    found = First(done, seen, marked(accounts))
    again = deploy(box.inventory)  # the control
    assert again.code == 0, again.all
    return found


@pytest.fixture
def nothing_of_roots(accounts: Accounts) -> Iterator[None]:
    """After each attack: root ran nothing, the victim is as it was, and the home is its owner's."""
    root = accounts["root"]
    root.run(
        f"rm -f {MARKER}; printf '{SECRET}\\n' >{VICTIM}; chmod 600 {VICTIM}; chown 0 {VICTIM}"
    )
    for account in accounts.values():
        account.forget()
    yield
    assert not marked(accounts)
    assert root.run(f"stat -c %a:%U {VICTIM}; cat {VICTIM}").split() == ["600:root", SECRET]
    assert root.run("find ~ai -user root -not -name '*.pub'") == ""


@pytest.fixture(scope="module")
def sound(box: boxes.Box, first: First) -> dict[str, str]:
    """The control: what verify finds while nobody attacks."""
    found = verified(deeprig("verify", box.inventory, "--json"))
    assert {name for name, of in found.items() if of not in ("passed", "skipped")} == set()
    return found


@pytest.fixture
def with_key(box: boxes.Box, tmp_path: Path) -> Path:
    """The inventory in which the work user is in Rig.users, with a key."""
    key = box.key.with_suffix(".pub").read_text().strip()
    return variant(
        box, tmp_path / "users.py",
        ("rig=Rig(", f'rig=Rig(users=[User(name="ai", keys=["{key}"])], '),
        ("import Notebook,", "import Notebook, User,"),
    )  # fmt: skip
