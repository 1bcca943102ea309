"""The record on the box is true."""

import json
from collections import Counter
from typing import Any

import pytest
from testinfra.host import Host

from deeprig.facts.survey import Survey
from deeprig.settings import Rig
from tasks import manifest

# dpkg's log has the box's own time: `2026-11-28 14:02:02 upgrade tmux:amd64 3.4 3.5`.
MOVED_SINCE = (
    "since=$(date -d %s '+%%F %%T'); zcat -f /var/log/dpkg.log* | "
    'awk -v since="$since" \'$1 " " $2 >= since {sub(":.*", "", $4); print $4}\' | sort -u'
)


@pytest.fixture
def record(host: Host) -> dict[str, Any]:
    if not host.file(manifest.PATH).exists:
        pytest.skip("no deploy has come to its end on this box")
    found: dict[str, Any] = json.loads(host.file(manifest.PATH).content_string)
    return found


@pytest.mark.remedy("let a deploy go on to its end; the rest comes of it")
def test_a_deploy_has_come_to_its_end(host: Host) -> None:
    assert host.file(manifest.PATH).exists, f"it writes {manifest.PATH} last, which is not there"


def test_the_manifest_says_what_was_decided(record: dict[str, Any], rig: Rig) -> None:
    assert record["decided"]["settings"] == manifest.settings_without_secrets(rig)


def test_what_is_not_as_the_manifest_says_was_moved_by_dpkg_since(
    host: Host, record: dict[str, Any]
) -> None:
    packages = {name: version for name, version in record["installed"].items() if "/" not in name}
    assert "openssh-server" in packages
    shown = "dpkg-query -W -f '${Package} ${Version}\\n'"
    there = dict(line.split(" ", 1) for line in host.check_output(shown).splitlines())
    differ = {name for name, version in packages.items() if there.get(name) != version}
    with host.sudo():
        log = host.check_output(MOVED_SINCE, record["when"])
    assert differ - set(log.split()) == set()


def test_the_manifest_says_which_deeprig_wrote_it_and_when(record: dict[str, Any]) -> None:
    assert record["version"]
    assert record["when"].endswith("+00:00")


@pytest.mark.remedy("power off and on; if it stays gone, look at its seat, riser and power cables")
def test_no_card_is_gone_since_the_last_deploy(record: dict[str, Any], survey: Survey) -> None:
    present = Counter(gpu.id for gpu in survey.graphics.gpus)
    gone = Counter(record["decided"].get("gpus", [])) - present
    assert not gone, f"gone since the last deploy: {', '.join(gone.elements())}"
