"""What the documents tell a person to type."""

import re
import shlex
from pathlib import Path

TOP = Path(__file__).parents[1]
PAGES = [*sorted(TOP.glob("*.md")), *sorted((TOP / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Markdown's other way to set a block of code, with or without a list around it.
INDENTED = re.compile(r"^ {4,7}(\S.*)$", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
SHELL = ("", "sh", "console")


def lines(page: Path) -> list[str]:
    """Every line of a block of commands, without what is said about it."""
    text = page.read_text()
    fenced = [block for language, block in BLOCK.findall(text) if language in SHELL]
    found = "\n".join(fenced).replace("\\\n", " ").splitlines()
    found += INDENTED.findall(BLOCK.sub("", text))
    return [line.partition("  # ")[0].strip() for line in found]


def spans(page: Path) -> list[str]:
    """Every piece of code in a sentence."""
    return SPAN.findall(BLOCK.sub("", page.read_text()))


def commands(program: str) -> list[tuple[Path, list[str]]]:
    """The words after the program's name, wherever a page has somebody type it."""
    found = []
    for page in PAGES:
        for line in lines(page) + spans(page):
            words = line.removeprefix(".venv/bin/")
            if words.startswith(f"{program} "):
                found.append((page, shlex.split(words, comments=True)[1:]))
    return found
