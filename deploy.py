"""Bring every box to the state its settings describe: `pyinfra inventory.py deploy.py`."""

from pyinfra.context import config, host

from deeprig.facts import encryption
from deeprig.settings import Rig
from tasks import (
    absent,
    access,
    base,
    base_packages,
    boot_guard,
    boot_trial,
    containers,
    cuda,
    data_folder,
    desktop,
    driver,
    driver_move,
    gpu_settings,
    host_keys,
    jobs,
    kernel_parameters,
    manifest,
    network_access,
    notebook,
    notify,
    one_deploy,
    passthrough,
    python_env,
    reboot,
    sessions,
    storage,
    users,
    wake_on_lan,
)


def build(rig: Rig) -> None:
    """The order of work on one box."""
    survey = base.survey(rig=rig)
    plan = base.decide(rig=rig, survey=survey) if survey else None
    if survey is None or plan is None:
        return  # refused, with reasons, before anything was touched
    one_deploy.begin()

    user = rig.notebook.user if rig.notebook else None
    caches = sessions.caches(rig, survey)
    environments = rig.python and python_env.Asked(
        settings=rig.python,
        user=user,
        plan=plan,
        cache=caches.variables["UV_CACHE_DIR"] if caches else None,
        locks=f"{rig.storage.folder}/{user}/locks" if caches and rig.storage else None,
    )

    network_access.provide(settings=rig)
    base.have_program()
    base.have_apt_ready(survey=survey)
    if environments:
        python_env.begin_tools(asked=environments)  # downloads while apt is at work
    base.prepare(survey=survey, batched=base_packages.batched(rig, survey))
    absent.take_out(rig=rig, plan=plan)
    if survey.grub:
        boot_trial.begin()
        kernel_parameters.provide(parameters=rig.kernel_parameters)
    if rig.storage:
        storage.provide(settings=rig.storage, survey=survey)
    users.provide(settings=rig.users, data_folder=rig.storage.folder if rig.storage else None)
    if rig.storage:
        data_folder.provide(settings=rig.storage, survey=survey, user=user)
    if caches:
        sessions.provide(caches=caches)
    if environments:
        python_env.begin(asked=environments)  # downloads while the driver is built
    access.change(
        survey=survey,
        rig=rig,
        session_files=sessions.sshd_files(caches),
    )
    if rig.ssh.keep_host_keys:
        host_keys.keep(public_key=rig.ssh.keep_host_keys)

    if rig.driver and rig.driver.desktop == "off":
        desktop.switch_off()
    if rig.driver:
        driver.install(plan=plan, rig=rig, secure_boot=survey.graphics.secure_boot)
        gpu_settings.provide(settings=rig.driver, plan=plan)
    if rig.cuda:
        cuda.install(plan=plan, rig=rig)
    if rig.containers:
        containers.provide(rig=rig, survey=survey)
    if environments:
        python_env.finish_tools(asked=environments)
    if rig.notebook:
        notebook.serve(settings=rig.notebook)
        jobs.provide()
    if rig.wake_on_lan:
        wake_on_lan.enable(settings=rig.wake_on_lan, network=survey.network)
    if rig.passthrough:
        passthrough.give(settings=rig.passthrough, bus=survey.bus)
    elif "passthrough" in rig.absent:
        passthrough.take_back(bus=survey.bus)
    if rig.driver:
        boot_guard.watch(plan=plan)
        driver_move.provide(plan=plan)
    if rig.notify:
        notify.provide(to=rig.notify, relay=rig.mail_relay)
    if environments:
        python_env.finish(asked=environments)

    base.tidy_program()
    manifest.write(rig=rig, survey=survey, plan=plan)
    if survey.grub:
        boot_trial.arm()
    if survey.grub or plan.driver_packages:
        reboot.when_due(rig=rig, asks=encryption.sentence(survey.locks))


if __name__ != "deploy":  # pyinfra's CLI executes this file; the verbs import it
    config.SUDO = True
    build(rig=host.data.rig)
