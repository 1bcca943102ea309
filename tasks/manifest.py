"""What was decided for a box, what stands on it, and what the last run that changed it changed."""

import json
from datetime import UTC, datetime
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from deeprig import __version__
from deeprig.facts.survey import Survey
from deeprig.operations import files
from deeprig.operations.core import Commands
from deeprig.operations.facts import Manifest
from deeprig.operations.package_facts import InstalledVersions
from deeprig.resolver.resolve import StackPlan
from deeprig.settings import Rig
from tasks import passthrough, wake_on_lan

PATH = "/var/lib/deeprig/manifest.json"


@deploy("Manifest")
def write(rig: Rig, survey: Survey, plan: StackPlan, *, anew: bool = False) -> None:
    """Keep the record on the box, for its owner and for the next run."""
    record(
        name=f"Write {PATH}",
        anew=anew,
        decided={
            "settings": settings_without_secrets(rig),
            "system": survey.name,
            "gpus": [gpu.id for gpu in survey.graphics.gpus],
            "stack": plan.to_json(),
            "passthrough": passthrough.record(rig.passthrough, survey.bus),
            "wake_on_lan": wake_on_lan.record(rig.wake_on_lan, survey.network),
        },
    )


def settings_without_secrets(rig: Rig) -> dict[str, Any]:
    """The settings as the manifest keeps them; `to_json` has no secret."""
    settings: dict[str, Any] = json.loads(json.dumps(rig.to_json()))
    del settings["connection"]  # how we reach the box is nothing on it
    return settings


@operation()
def record(decided: dict[str, Any], anew: bool = False) -> Commands:
    """Write the manifest, unless this run changed nothing and decided nothing else; or `anew`.

    What apt moves by itself is no reason: after each security update a run would have something
    to do.
    """
    before: dict[str, Any] = host.get_fact(Manifest, path=PATH)
    changed = _changed_by_this_run(host.state, host)
    decided = json.loads(json.dumps(decided))  # tuples are lists, as the file has them
    same = before.get("decided") == decided and before.get("version") == __version__
    if same and not changed and not anew:
        host.noop("the manifest says what is so")
        return
    content = {
        "version": __version__,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "decided": decided,
        "installed": host.get_fact(InstalledVersions),
        "changed": changed,
    }
    # Before the box is called done: not all that wrote to it sees its files onto the disk.
    yield StringCommand("sync")
    yield from files.put._inner(dest=PATH, content=json.dumps(content, indent=2), mode="644")


def _changed_by_this_run(state: State, host: Host) -> list[str]:
    """Names of the operations that changed this host so far; none while the run is planned."""
    done = []
    for op_hash in host.op_hash_order:
        meta = state.ops[host][op_hash].operation_meta if op_hash in state.ops[host] else None
        if meta is not None and meta.is_complete() and meta.did_change():
            done.extend(sorted(state.get_op_meta(op_hash).names))
    return done
