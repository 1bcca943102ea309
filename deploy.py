"""Bring every box to the state its settings describe: `pyinfra inventory.py deploy.py`."""

from pyinfra.context import config, host

from deeprig.settings import Rig
from tasks import access, base, manifest, network_access, notebook, python_env, users


def build(rig: Rig) -> None:
    """The order of work on one box."""
    survey = base.survey(rig=rig)
    if survey is None:
        return  # refused, with reasons, before anything was touched

    network_access.provide(settings=rig)
    base.prepare(survey=survey)
    users.provide(settings=rig.users)
    access.change(survey=survey, ssh_settings=rig.ssh, firewall_settings=rig.firewall)

    if rig.python:
        python_env.provide(settings=rig.python, user=rig.notebook.user if rig.notebook else None)
    if rig.notebook:
        notebook.serve(settings=rig.notebook)

    manifest.write(rig=rig, survey=survey)


if __name__ != "deploy":  # pyinfra's CLI executes this file; the verbs import it
    config.SUDO = True
    build(rig=host.data.rig)
