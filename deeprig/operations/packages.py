"""Debian packages without a person to answer: installed, held, repaired, their lock awaited."""

import time
from fnmatch import fnmatchcase

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from deeprig.operations.box_program import BOX
from deeprig.operations.core import Commands, Step, StreamedCommand, say
from deeprig.operations.package_facts import (
    AptHolds,
    AptLockHolder,
    BrokenPackages,
    PackageVersions,
)

# No dialog, and no restart of services that somebody works in, whatever needrestart is told.
APT_GET = "env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y"
INDEX_MINUTES = 60
# What was wrong when we last read apt's index, and by its age when that was. The lists have the
# times of their servers, and one of them may be fresh where the others could not be read.
INDEX = "/run/deeprig-apt-index"
# A failed source is an error, or a warning and an exit status of 0: apt's own words tell, in C.
# `apt-get` calls them E and W, `apt` Error and Warning.
WRONG = (
    "s/^(E|Error): //p; "
    "s/^(W|Warning): (.*(Failed to fetch|GPG error|signature verification|Release file).*)/\\2/p"
)
# The packages that `dpkg --audit` names, one a line after a blank.
AUDITED = r"sed -n 's/^ \([a-z0-9][a-z0-9+.:-]*\)\( .*\)\{0,1\}$/\1/p' | sort -u"
HALF = "dpkg-query -W -f '${db:Status-Eflag} ${Package}\\n' | sed -n 's/^reinstreq //p' | xargs"
LOCK_SECONDS = 900
FRESH = (
    f'[ -n "$(find {INDEX} -mmin -{INDEX_MINUTES} 2>/dev/null)" ] && '
    "[ -n \"$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -print -quit)\" ]"
)
# After an installation that failed: which sources failed; the next run reads the index again.
NAME_SOURCES = (
    f"{{ rc=$?; [ ! -s {INDEX} ] || {{ echo 'apt could not read all of its sources, and what is "
    "missing may be in one of these; mend them or switch them off, and run this again:'; "
    f"head -n 9 {INDEX}; }} >&2; rm -f {INDEX}; exit $rc; }}"
)
# What deploys brought that was not there before, a kind and a name on each line.
BROUGHT = "/var/lib/deeprig/brought"


@operation()
def install(packages: list[str], watched: bool = False) -> Commands:
    """Install what is missing of these Debian packages, in one transaction.

    A package may be a name alone, or carry a version as apt takes it: libnccl2=2.*+cuda13.0.
    `watched` shows what apt says meanwhile, for what takes minutes, and keeps no downloads.
    """
    installed: dict[str, str] = host.get_fact(PackageVersions, packages=packages)
    missing = lacking(packages, installed)
    if not missing:
        host.noop(f"{len(packages)} packages are installed")
        return
    yield StringCommand(f"{FRESH} || {read_index()}")
    option = "--no-install-recommends"
    names = [QuoteString(name) for name in missing]
    came = [name for package in missing if (name := package.partition("=")[0]) not in installed]
    if came:
        yield note(came)
    if watched:
        no_copies = "-o APT::Keep-Downloaded-Packages=false"
        yield StreamedCommand(APT_GET, "install", option, no_copies, *names, "||", NAME_SOURCES)
    else:
        yield StringCommand(APT_GET, "install", option, *names, "||", NAME_SOURCES)


def read_index() -> str:
    """Have apt read its sources. One that fails stops nothing yet: it may be anybody's."""
    return f"LC_ALL=C {APT_GET} update 2>&1 | sed -nE '{WRONG}' > {INDEX}"


def note(names: list[str]) -> StringCommand:
    """Write down what a deploy brings, before it does: what was there before is never taken out."""
    lines = [QuoteString(f"package {name}") for name in names]
    return StringCommand(
        f"mkdir -p $(dirname {BROUGHT}) && printf '%s\\n'", *lines, f">> {BROUGHT}"
    )


def lacking(packages: list[str], there: dict[str, str]) -> list[str]:
    """Those of the packages that are not there, or not at the version they carry."""

    def fits(package: str) -> bool:
        name, _, version = package.partition("=")
        return name in there and (not version or fnmatchcase(there[name], version))

    return [package for package in packages if not fits(package)]


@operation()
def hold(packages: list[str]) -> Commands:
    """Keep these packages at their version."""
    on_hold: list[str] = host.get_fact(AptHolds)
    todo = [package for package in packages if package not in on_hold]
    if not todo:
        host.noop(f"{', '.join(packages)} held")
        return
    yield StringCommand("apt-mark", "hold", *(QuoteString(p) for p in todo))


@operation()
def repair_packages() -> Commands:
    """Finish the configuration of packages that an interrupted dpkg left half done."""
    if not host.get_fact(BrokenPackages):
        host.noop("dpkg has nothing left to do")
        return
    # `dpkg --configure` fails where a package waits for one that is not there, and leaves alone
    # what was cut off while it was unpacked; apt brings the one and the other once more.
    # A driver that does not build would stay half configured for ever: driver-set takes it out.
    yield StringCommand(
        f"! [ -x {BOX} ] || {BOX} driver-set mend; "
        "env DEBIAN_FRONTEND=noninteractive dpkg --configure -a || "
        f"{APT_GET} --fix-broken install; "
        f"again=$(dpkg --audit | {AUDITED}); "
        f'[ -z "$again" ] || {APT_GET} install --reinstall $again; '
        # What was cut off while it came and is in no archive, apt can neither finish nor take out.
        f"half=$({HALF}); "
        '[ -z "$half" ] || { echo "half installed, and no archive has it: $half;" '
        '"sudo dpkg --remove --force-remove-reinstreq $half takes it out" >&2; exit 1; }; '
        'left=$(dpkg --audit); [ -z "$left" ] || { echo "$left" >&2; exit 1; }'
    )


@operation()
def wait_for_apt() -> Commands:
    """Wait until no other program holds apt's locks, saying who it is."""
    if not host.get_fact(AptLockHolder):
        host.noop("apt is free")
        return

    def wait(state: State, host: Host) -> bool:
        started = time.monotonic()
        while holder := host.get_fact(AptLockHolder, _sudo=True):
            waited = time.monotonic() - started
            if waited > LOCK_SECONDS:
                say(host, f"{holder} has held apt for {waited:.0f} s; see to it.", wrong=True)
                return False
            say(host, f"Waiting for {holder}, which holds apt; {waited:.0f} s so far")
            time.sleep(5)
        return True

    yield Step(wait)
