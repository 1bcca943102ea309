"""GRUB's menu as grub.cfg has it: which entry would boot, and the name of the one for a kernel.

Reads text only.
"""

import re
import shlex
from typing import Any, NamedTuple

# What `linux` and `initrd` are called depends on the platform and GRUB's age.
LOADS = re.compile(r"^(linux|initrd)(?:16|efi)?\s+(\S.*)$")
# An entry that somebody wrote by hand, all of it in a line.
ONE_LINE = re.compile(r"^(\s*(?:menuentry|submenu) .*?)\{(.*)\}\s*$", re.MULTILINE)
SAVED = "${saved_entry}"
# Entries that are not the ordinary boot of a kernel; the simple one is always the newest's.
NOT_FOR_US = re.compile(r"-recovery-|-init-|^gnulinux-simple-|^osprober-")


class Entry(NamedTuple):
    """A line of the menu. `kernel` is 6.1.0-56-amd64, empty for a submenu and other systems."""

    title: str
    id: str
    kernel: str
    initrd: str
    entries: list[Any]


def read(text: str) -> list[Entry]:
    """The menu: entries in their order, those of a submenu in its `entries`."""
    top: list[Entry] = []
    # What is open: the list that new entries go to, and the lines of the entry, if it is one.
    blocks: list[tuple[list[Entry], list[str]]] = [(top, [])]
    for line in map(str.strip, ONE_LINE.sub(r"\1{\n\2\n}", text).splitlines()):
        if line.endswith("{"):
            inside = blocks[-1][0]
            if line.startswith(("menuentry ", "submenu ")):
                inside = []
            blocks.append((inside, [line]))
        elif line == "}" and len(blocks) > 1:
            inside, lines = blocks.pop()
            if lines[0].startswith(("menuentry ", "submenu ")):
                blocks[-1][0].append(_entry(lines, inside))
        else:
            blocks[-1][1].append(line)
    return top


def _entry(lines: list[str], inside: list[Entry]) -> Entry:
    words = _words(lines[0].rstrip("{"))
    title, name = words[1] if len(words) > 1 else "", ""
    for option in ("$menuentry_id_option", "--id"):
        if option in words[:-1]:
            name = words[words.index(option) + 1]
    loads: dict[str, str] = {}
    for match in filter(None, map(LOADS.match, lines[1:])):
        loads.setdefault(match[1], (_words(match[2]) or [""])[0])
    kernel = loads.get("linux", "").rpartition("/vmlinuz-")[2]
    if "/vmlinuz-" not in loads.get("linux", "") or name.startswith("osprober-"):
        kernel = ""
    # Ubuntu once signed kernels into files of another name.
    return Entry(title, name, kernel.removesuffix(".efi.signed"), loads.get("initrd", ""), inside)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def environment(text: str) -> dict[str, str]:
    """What stands in grubenv."""
    rows = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in rows if equals}


def set_default(text: str) -> str:
    """What grub.cfg sets as default where nobody asked for another entry once."""
    values = re.findall(r'^\s*set default="?([^"\n]*)"?\s*$', text, re.MULTILINE)
    usual = [value for value in values if value != "${next_entry}"]
    return usual[-1] if usual else "0"


def next_default(text: str, grubenv: dict[str, str]) -> str:
    """What the next boot takes: what `grub-reboot` asked for once, else the default."""
    once = grubenv.get("next_entry", "")
    if grubenv.get("initrdfail") == "1":  # Ubuntu: the boot before failed without an initrd
        once = grubenv.get("prev_entry", "")
    return once if once and "${next_entry}" in text else resolved(set_default(text), grubenv)


def resolved(default: str, grubenv: dict[str, str]) -> str:
    """The default, with the saved entry's name in the place of `saved`."""
    return grubenv.get("saved_entry", "") if default in (SAVED, "saved") else default


def chosen(entries: list[Entry], default: str) -> "Entry | None":
    """The entry that GRUB takes for this default; None for an empty menu.

    As GRUB's menu code does: a number counts from 0, else it is an id or a title; `>` goes into a
    submenu; and what is not there is the first entry.
    """
    if not entries:
        return None
    name, _, rest = default.partition(">")
    entry = entries[0]
    if name.strip().isdigit():
        number = int(name)
        entry = entries[number] if number < len(entries) else entries[0]
    else:
        entry = next((e for e in entries if name and name in (e.title, e.id)), entries[0])
    return chosen(entry.entries, rest) if entry.entries else entry


def address(entries: list[Entry], kernel: str) -> str:
    """The default that boots this kernel, whatever else is in the menu; empty if none does."""
    for entry in entries:
        if entry.entries and (inside := address(entry.entries, kernel)):
            return f"{entry.id or entry.title}>{inside}"
        if entry.kernel == kernel and entry.id and not NOT_FOR_US.search(entry.id):
            return entry.id
    return ""
