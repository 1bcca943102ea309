"""The index of a repository: read by apt, alone or among others, its name in a pin, its age."""

import re
from collections.abc import Sequence
from pathlib import Path

from deeprig_box.apt.spec import Repository
from deeprig_box.lib import bounded

LISTS = Path("/var/lib/apt/lists")


def alone(folder: Path) -> list[str]:
    """apt's options to look at the source in this folder only."""
    return [
        "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={folder}",
        "-o", "APT::Get::List-Cleanup=false",
    ]  # fmt: skip


def release(options: list[str]) -> str:
    """How a pin names this repository, by the index that apt has of it; "" where it has none."""
    form = "$(ORIGIN)|$(LABEL)|$(FILENAME)|$(SITE)"
    rows = bounded.run(
        ["apt-get", *options, "indextargets", "--format", form, "Created-By: Packages"]
    ).out
    for line in rows.splitlines():
        origin, label, file, site = line.split("|")
        # apt keeps an index packed where it is told so.
        if not any(Path(file + end).exists() for end in ("", ".lz4", ".gz", ".xz", ".zst")):
            return ""
        named = {"o": origin, "l": label}
        told = [f"{key}={value}" for key, value in named.items() if value and "$(" not in value]
        return f"release {', '.join(told)}" if told else f"origin {site}"
    return ""


def update(repository: Repository, options: list[str]) -> tuple[str, bool]:
    """`apt-get update`: all that it complains of, and whether any of it is about the repository."""
    complaints = "\n".join(read_anew(options))
    return complaints, repository.uri.rstrip("/") in complaints or "Signed-By" in complaints


def read_anew(options: Sequence[str] = ()) -> list[str]:
    """`apt-get update`: each thing that it complains of.

    Its exit status is no proof: a source that is down, or signed by another key, is a warning, and
    what was read of it before stays.
    """
    done = bounded.run(["apt-get", "-q", *options, "update"], seconds=bounded.LONG)
    form = r"^(?:[WE]|Err|Error|Warning):.*(?:\n  .*)*"
    return re.findall(form, done.out + done.err, re.M)


def last_read(uris: Sequence[str]) -> float:
    """When apt has last read an index of these addresses, in seconds; the oldest, 0 for none."""
    form = "$(REPO_URI)|$(FILENAME)"
    question = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    targets = bounded.run(question).out
    rows = [line.split("|") for line in targets.splitlines()]
    plain = [uri.rstrip("/") for uri in uris]
    files = [file for uri, file in rows if uri.rstrip("/") in plain]
    heads = [head for head in LISTS.glob("*Release") for file in files if head_of(head, file)]
    # apt writes it anew at each reading; its own time is that of the server's file.
    return min((head.stat().st_ctime for head in heads), default=0.0)


def head_of(head: Path, index: str) -> bool:
    """Whether that is the signed list of the files of which this index is one."""
    return index.startswith(str(head).removesuffix("Release").removesuffix("In"))
