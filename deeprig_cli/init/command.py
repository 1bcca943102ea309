"""`deeprig init`: from the address of a box to an inventory that says what it shall be."""

import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

import click

from deeprig import inventories, tree
from deeprig.bootstrap.first_contact import Outcome, Target
from deeprig.bootstrap.prompts import Answers
from deeprig.errors import DeeprigError
from deeprig.facts.survey import Survey, objections, read, script
from deeprig.resolver import resolve
from deeprig.resolver.refusal import Refusal
from deeprig.settings import DEPLOY_USER, Notebook, Rig
from deeprig.ssh import connection, private_keys, root_shell, ssh_config
from deeprig.ssh.key_pair import USUAL
from deeprig.ui import screen
from deeprig.ui.options import OF_A_CHECKOUT, json_option, usual_inventory
from deeprig.ui.options import RIGS as FILE
from deeprig_cli.bootstrap import contact_by
from deeprig_cli.init import inventory_text
from deeprig_cli.init.inventory_text import Chosen
from deeprig_cli.init.questions import FRAMEWORKS, Questions

PATH = click.Path(path_type=Path, dir_okay=False)
SURVEY_SECONDS = 120
DEPLOY = "deeprig deploy" if tree.INSTALLED else ".venv/bin/pyinfra inventory.py deploy.py"
NEXT = (tree.command("deeprig plan"), DEPLOY)


@click.command()
@click.argument("host")
@click.option("--name", help="What the box is called in the inventory.  [HOST]")
@click.option("--user", help="Who can log in now and use sudo (usually the installer's).  [ai]")
@click.option("--port", type=click.IntRange(1, 65535), help="Where sshd listens.  [22]")
@click.option("--key", type=PATH, help=f"Your private key.  [{USUAL}]")
@click.option("--work-user", help="Who computes there.  [the one who logs in now]")
@click.option("--frameworks", metavar="torch,...", help=f"Of {', '.join(FRAMEWORKS)}; or none.")
@click.option("--docker/--no-docker", default=None, help="Docker and NVIDIA's toolkit for it.")
@click.option("--disk", metavar="SERIAL|UUID", help="The disk for /data, or none.")
@click.option("--fingerprint", metavar="SHA256:...", help="The host key to expect; none other.")
@click.option("--yes", is_flag=True, help="Ask nothing: believe the host key, take the defaults.")
@click.option("--password-stdin", is_flag=True, help="The password is the first line of stdin.")
@json_option
def init(
    host: str,
    name: str | None,
    user: str | None,
    port: int | None,
    key: Path | None,
    work_user: str | None,
    frameworks: str | None,
    docker: bool | None,
    disk: str | None,
    as_json: bool,
    **answers: Any,
) -> None:
    """Make first contact with HOST, look at it, ask a few questions, and write rigs.py.

    What an option says is not asked. A rigs.py that is there is never changed: then the text for
    it is printed. Exits 0: written; 1: printed, since a rigs.py is there; 2: it could not look.
    """
    if not tree.INSTALLED and not OF_A_CHECKOUT.is_file():
        raise DeeprigError(f"{OF_A_CHECKOUT} is not here; run this in deeprig's own folder.")
    before, _, address = host.rpartition("@")
    given = Answers(reinstalled=False, **answers)
    own = ssh_config.of(address)
    target = Target(
        hostname=address,
        port=port or own.port or 22,
        user=user or before or own.user or "ai",
    )
    named = key or next(iter(own.identities), USUAL)
    outcome = contact_by(
        target,
        key=given.key(named.expanduser().absolute()),
        pins=Path("known_hosts"),
        identity=None,
        answers=given,
    )
    questions = Questions(
        asks=given.can_ask and not given.yes,
        work_user=work_user,
        frameworks=frameworks,
        docker=docker,
        disk=disk,
    )
    usual = target.user if target.user not in (DEPLOY_USER, "root") else "ai"
    worker = questions.who(usual)
    survey = look(outcome, worker)
    chosen = choose(name or address, outcome, worker, survey, questions)
    written = write(chosen, survey)
    in_the_way = obstacles(chosen, survey)
    if as_json:
        screen.as_json(_to_json(chosen, survey, written, in_the_way))
    else:
        screen.echo(_page(chosen, survey, written, in_the_way))
    sys.exit(0 if written else 1)


def look(outcome: Outcome, worker: str) -> Survey:
    """What the box is, by its own commands; the work user among what is asked."""
    data = connection.data(
        hostname=outcome.hostname,
        user=outcome.user,
        port=outcome.port,
        new_port=None,
        key=outcome.key,
        known_hosts=outcome.known_hosts,
    )
    question = script(Rig(notebook=Notebook(user=worker)))
    with connection.connect(data, port=outcome.port) as client:
        transport = client.get_transport()
        assert transport is not None
        command = f"sudo -n sh -c {shlex.quote(question)}"
        done = root_shell.run(transport, command, seconds=SURVEY_SECONDS)
    if done.code:
        raise DeeprigError(f"{outcome.hostname} does not say what it is: {done.last_words}")
    survey = read(done.out.splitlines())
    if survey.strange:
        raise DeeprigError(f"{outcome.hostname}: {survey.strange[0]}")
    return survey


def choose(
    name: str, outcome: Outcome, worker: str, survey: Survey, questions: Questions
) -> Chosen:
    """What the box shall be. Who may use sudo without a password gets another work user beside."""
    if worker in survey.users_with_free_sudo:
        screen.echo(
            f"{worker} may use sudo without a password there: one bad package in a notebook would "
            "own the box. The work user is `ai` instead.",
            err=True,
        )
        worker = "ai"
    ready = worker in survey.users and worker in survey.users_with_key
    usual_key = outcome.key == USUAL.expanduser()
    return Chosen(
        name=name,
        hostname="" if name == outcome.hostname else outcome.hostname,
        port=outcome.port,
        # Where the agent did it, it will do it again: a key with a passphrase is of no use alone.
        key=str(USUAL) if usual_key else str(outcome.key or ""),
        work_user=worker,
        new_user=not ready,
        public_key=public_half(outcome),
        frameworks=questions.which_frameworks(survey),
        disk=questions.data_disk(survey),
        docker=questions.wants_docker(),
    )


def public_half(outcome: Outcome) -> str:
    """The key that has just let us in, for the work user: its .pub file, or the line itself."""
    if outcome.key is None:
        return outcome.public
    has_file = private_keys.beside(outcome.key).split()[:2] == outcome.public.split()[:2]
    return f"{outcome.key}.pub" if has_file else outcome.public


def write(chosen: Chosen, survey: Survey) -> bool:
    """Whether rigs.py was written: one that is there stays as it is."""
    text = inventory_text.whole(chosen, survey, date.today())
    compile(text, str(FILE), "exec")
    try:
        with FILE.open("x") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        screen.echo(f"{FILE} cannot be written here ({error.strerror}).", err=True)
        return False
    inventories.load(
        usual_inventory()
    )  # whatever is wrong with it is said now, not by the first deploy
    return True


def obstacles(chosen: Chosen, survey: Survey) -> list[str]:
    """What a deploy would refuse already now; `deeprig plan` says all of it."""
    rig = Rig(notebook=Notebook(user=chosen.work_user))
    refusals = [] if chosen.new_user else objections(survey, rig)
    decided = resolve.decide(survey, rig)
    refused = [decided.refusal, decided.instead] if isinstance(decided, Refusal) else []
    return [*refusals, *refused]


def _page(chosen: Chosen, survey: Survey, written: bool, in_the_way: list[str]) -> str:
    cards = ", ".join(map(str, survey.graphics.gpus)) or "no NVIDIA card"
    lines = [f"{chosen.name}: {survey.name}, {survey.architecture}, {cards}"]
    if written:
        lines.append(f"Wrote {FILE}: read it, change what you like.")
    else:
        text = inventory_text.block(chosen, survey)
        names = ", ".join(inventory_text.names(text))
        state = "is there and stays as it is" if FILE.exists() else "could not be written"
        lines += [
            f"{FILE} {state}. Into its list goes ({names} imported):",
            "",
            text,
        ]
    lines += [f"In the way: {sentence}" for sentence in in_the_way]
    return "\n".join([*lines, "Next:", *(f"  {command}" for command in NEXT)])


def _to_json(
    chosen: Chosen, survey: Survey, written: bool, in_the_way: list[str]
) -> dict[str, Any]:
    return {
        "host": chosen.name,
        "written": str(FILE) if written else None,
        "text": None if written else inventory_text.block(chosen, survey),
        "system": f"{survey.system}-{survey.version}",
        "gpus": [gpu.id for gpu in survey.graphics.gpus],
        "disks": [device.path for device in inventory_text.others(survey)],
        "work_user": chosen.work_user,
        "frameworks": list(chosen.frameworks),
        "docker": chosen.docker,
        "in_the_way": in_the_way,
        "next": list(NEXT),
    }
