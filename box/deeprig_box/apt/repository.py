"""A repository of packages as /etc/deeprig/repositories/NAME.json has it: with its key, or not.

state NAME     `ok`, or what is missing
install NAME   fetch its key, compare it with those known, try it, and only then list it
remove NAME    no longer list it

What it replaces is kept in /var/lib/deeprig/replaced. Where something fails, all is as before.
Exit status 0 when done, 1 after one line on stderr that says what is wrong.
"""

import sys
import tempfile
from pathlib import Path

from deeprig_box.apt import entries
from deeprig_box.apt.errors import explained
from deeprig_box.apt.index import alone, release, update
from deeprig_box.apt.keys import checked, fetched
from deeprig_box.apt.spec import SPECS, Repository
from deeprig_box.lib import openpgp
from deeprig_box.lib.errors import BoxError
from deeprig_box.lib.files import keep, write_or_remove
from deeprig_box.lib.standing import OK, OWED, Standing


def state(repository: Repository) -> str:
    """`ok`, or what is not as the specification has it."""
    if not repository.keyring.exists() or not repository.sources.exists():
        return "it is not listed"
    if repository.sources.read_text() != repository.entry(repository.keyring):
        return "it is listed otherwise"
    keys = openpgp.keys(repository.keyring.read_bytes())
    if not set(keys) <= set(repository.accepted()):
        return "its key is another"
    if strangers(repository):
        return "it is listed once more"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, repository.sources.name).symlink_to(repository.sources)
        named = release(alone(Path(folder)))
    if not named:
        return "its index has not been read"
    for file, text in repository.preferences(named).items():
        if not file.exists() or file.read_text() != text:
            return f"{file} is otherwise"
    return "ok"


def strangers(repository: Repository) -> dict[Path, bytes]:
    """Other files that list it or trust its keys for everything, and what is to be left of them."""
    others = entries.without(repository.is_it, repository.sources)
    others |= entries.without_keys(repository.obsolete_key)
    return others | {Path(path): b"" for path in repository.spec["obsolete"] if Path(path).exists()}


def install(repository: Repository) -> None:
    """Its key checked, its index read in a corner, then listed; else all is put back."""
    with tempfile.TemporaryDirectory() as corner:
        folder = Path(corner)
        folder.chmod(0o755)  # apt's own user reads the key
        key = checked(repository, fetched(repository, folder))
        draft = folder / "key.gpg"
        draft.write_bytes(key)
        parts = folder / "parts"
        parts.mkdir()
        (parts / "draft.sources").write_text(repository.entry(draft))
        complaints, about = update(repository, alone(parts))
        named = release(alone(parts))
        if about or not named:
            raise BoxError(f"{repository.title} ({repository.uri}): {explained(complaints)}")
    put_in_place(repository, key, named)
    print(f"{repository.title} is listed, signed by {' and '.join(openpgp.keys(key))}")


def put_in_place(repository: Repository, key: bytes, named: str) -> None:
    """All files of it, and none of the others; where apt then complains, as they were before."""
    contents = {path: text.encode() for path, text in repository.preferences(named).items()}
    contents |= strangers(repository)
    contents |= {repository.keyring: key}
    contents[repository.sources] = repository.entry(repository.keyring).encode()
    before = {path: path.read_bytes() if path.exists() else None for path in contents}
    for path in strangers(repository):
        keep(path)
    try:
        for path, content in contents.items():
            write_or_remove(path, content)
        complaints, about = update(repository, [])
        if about:
            raise BoxError(f"{repository.title}: {explained(complaints)}; all is as before")
    except BaseException:
        for path, old in before.items():
            write_or_remove(path, old or b"")
        raise


def remove(repository: Repository) -> None:
    ours = [repository.sources, repository.keyring, *repository.preferences("")]
    for path in [*ours, SPECS / f"{repository.spec['name']}.json"]:
        path.unlink(missing_ok=True)


def check(words: list[str]) -> Standing:
    standing = state(Repository(words[0]))
    return Standing(OK) if standing == "ok" else Standing(OWED, standing)


def apply(words: list[str]) -> None:
    install(Repository(words[0]))


def main() -> None:
    actions = {"state": lambda r: print(state(r)), "install": install, "remove": remove}
    if len(sys.argv) != 3 or sys.argv[1] not in actions:
        raise BoxError(f"apt-repository takes one of: {', '.join(actions)}, and a name")
    actions[sys.argv[1]](Repository(sys.argv[2]))
