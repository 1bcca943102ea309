"""A deploy that has run leaves the next one nothing to do."""

from typing import Any

from testinfra.host import Host

from deeprig.runner import runs
from deploy import build


def test_a_second_deploy_would_change_nothing(host: Host, name: str, data: dict[str, Any]) -> None:
    report = runs.run(name, data, build, dry=True)
    assert report.error is None
    assert report.changes == []
