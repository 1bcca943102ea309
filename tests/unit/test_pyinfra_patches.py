"""What pyinfra is spared: the same results, by less work."""

import inspect
import typing
from typing import Any

import pytest
from pyinfra.api import Config, Inventory, State, arguments, util

from fast_ssh import pyinfra_patches


def results(state: State) -> tuple[Any, ...]:
    return (
        util.get_operation_order_from_stack(state),
        util.get_call_location(),
        arguments.all_global_arguments(),
    )


def test_pyinfra_finds_the_same_and_reads_no_source_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "stack", inspect.stack)
    monkeypatch.setattr(util, "getframeinfo", inspect.getframeinfo)
    monkeypatch.setattr(arguments, "get_type_hints", typing.get_type_hints)
    state = State(inventory=Inventory((["@fake/rig"], {"fake_delay": 0})), config=Config())
    state.current_deploy_filename = __file__
    looked: list[object] = []
    find, evaluate = inspect.getsourcefile, typing._eval_type  # type: ignore[attr-defined]
    monkeypatch.setattr(inspect, "getsourcefile", lambda o: (looked.append(o), find(o))[1])
    monkeypatch.setattr(
        typing, "_eval_type", lambda *a, **o: (looked.append(a), evaluate(*a, **o))[1]
    )

    found, work = [], []
    for light in (False, True, True):
        if light:
            pyinfra_patches.apply()
        looked.clear()
        found.append(results(state))
        work.append(len(looked))
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) > 1
    assert work[0] > 50  # the control: it was much
    assert work[2] == 0
