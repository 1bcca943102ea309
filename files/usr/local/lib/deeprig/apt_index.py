"""The index of a repository: read by apt, alone or among others, and how a pin names it.

Written by deeprig (files/usr/local/lib/deeprig/apt_index.py): change it there.
"""

import re
import subprocess
from pathlib import Path

from apt_specification import Repository
from apt_words import C


def alone(folder: Path) -> list[str]:
    """apt's options to look at the source in this folder only."""
    return [
        "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={folder}",
        "-o", "APT::Get::List-Cleanup=false",
    ]  # fmt: skip


def release(options: list[str]) -> str:
    """How a pin names this repository, by the index that apt has of it; "" where it has none."""
    form = "$(ORIGIN)|$(LABEL)|$(FILENAME)|$(SITE)"
    said = subprocess.run(
        ["apt-get", *options, "indextargets", "--format", form, "Created-By: Packages"],
        capture_output=True, text=True, env=C,
    ).stdout  # fmt: skip
    for line in said.splitlines():
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
    done = subprocess.run(
        ["apt-get", "-q", *options, "update"], capture_output=True, text=True, env=C
    )
    form = r"^(?:[WE]|Err|Error|Warning):.*(?:\n  .*)*"
    said = "\n".join(re.findall(form, done.stdout + done.stderr, re.M))
    return said, repository.uri.rstrip("/") in said or "Signed-By" in said
