"""NVIDIA's container toolkit: four packages at one version, patched by themselves, and CDI."""

import shlex
from urllib.parse import urlsplit

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from deeprig import catalog, operations
from deeprig.facts.survey import Survey
from deeprig.operations import apt_repositories, files
from deeprig.operations.apt_repositories import Repository
from deeprig.operations.box_fact import BoxFact
from deeprig.operations.box_program import BOX
from deeprig.operations.core import Commands, StreamedCommand
from deeprig.operations.package_facts import PackageVersions
from deeprig.operations.packages import APT_GET, note
from deeprig.settings import Containers

NAME = "container-toolkit"
SOURCES = f"/etc/apt/sources.list.d/deeprig-{NAME}.sources"
UPDATES = f"/etc/apt/apt.conf.d/deeprig-{NAME}.conf"
PREFERRED, ONLY_THERE = 600, 100
# As `nvidia-ctk runtime configure` would write it.
RUNTIMES = {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}
# A specification of its owner's has the same name: two of one card in one folder count for neither.
SPEC = "/etc/cdi/nvidia.yaml"
OURS = "# Written by deeprig (tasks/container_toolkit.py)."
# From 1.18 on a unit of the package's own keeps the first up to date, at boot and after an upgrade.
SPECS = f"/run/cdi/nvidia.yaml /var/run/cdi/nvidia.yaml {SPEC}"
WRITE_SPEC = (
    f"mkdir -p /etc/cdi && {{ echo {shlex.quote(OURS)} && nvidia-ctk --quiet cdi generate; }} "
    f">{SPEC}.new && mv {SPEC}.new {SPEC}"
)
# A driver that hangs has its say in verify; nobody waits for it here.
ANSWERS = f"{BOX} bounded 60 nvidia-smi -L >/dev/null 2>&1"
REFRESH = "nvidia-cdi-refresh.service"
UNITS = (REFRESH, "nvidia-cdi-refresh.path")
LINKS = "deeprig-gpu-links.service"


def provide(settings: Containers, survey: Survey) -> None:
    """The toolkit from NVIDIA's repository for it; part of the deploy of containers."""
    apt_repositories.provide(repository(settings, survey.architecture))
    _at_one_version(
        name="Install the container toolkit",
        packages=catalog.load("containers")["toolkit"]["packages"],
    )
    site = urlsplit(settings.mirror or catalog.load("containers")["toolkit"]["base"]).hostname or ""
    _patched(name="Have security updates reach the container toolkit", site=site)


def repository(settings: Containers, architecture: str) -> Repository:
    """The toolkit's repository, or a mirror of it, as apt is to know it."""
    known = catalog.load("containers")["toolkit"]
    base = (settings.mirror or known["base"]).rstrip("/")
    debian = catalog.load("systems")["architectures"][architecture]
    return Repository(
        name=NAME,
        title="NVIDIA's repository of the container toolkit",
        uri=f"{base}/{known['folder']}/{debian}/",
        key_urls=(f"{base}/{known['key_file']}",),
        fingerprints=tuple(known["fingerprints"]),
        setting="Containers",
        repo_key=settings.repo_key or "",
        other_addresses=(f"{known['base']}/", *known["former"]),
        preferences={
            f"zz-deeprig-{NAME}": (
                (" ".join(known["packages"]), "", PREFERRED),
                ("*", "", ONLY_THERE),
            )
        },
    )


def keep_cards() -> None:
    """Have containers keep their cards at a daemon-reload: a link for each device file."""
    files.units(LINKS)
    operations.enable(name=f"Have {LINKS} run at boot", unit=LINKS, start=False)
    operations.shell(
        name="Have the links of the cards now",
        unless=f"[ -e /sys/module/nvidia ] && ! systemctl is-active -q {LINKS} || echo fine",
        commands=[f"systemctl start {LINKS}"],
    )


def describe_cards() -> None:
    """Have a CDI specification of the cards, once a driver answers for them."""
    operations.shell(
        name="Describe the cards to Docker (CDI)",
        unless=f"{ANSWERS} || {{ echo no driver answers; exit; }}; "
        f"for f in {SPECS}; do [ -s $f ] && echo $f && exit; done",
        commands=[
            f"systemctl start {REFRESH} 2>/dev/null; "
            f"for f in {SPECS}; do [ -s $f ] && exit 0; done; {WRITE_SPEC}"
        ],
    )


class Candidate(BoxFact[str]):
    """The version of a package that apt would install; empty where it knows none."""

    default = str

    def command(self, package: str) -> str:
        return f"LC_ALL=C apt-cache policy {shlex.quote(package)} | sed -n 's/^  Candidate: //p'"

    def process(self, output: list[str]) -> str:
        version = output[0].strip()
        return "" if version == "(none)" else version


@operation()
def _at_one_version(packages: list[str]) -> Commands:
    """Install them together, for apt would take one and leave the others as they are."""
    versions: dict[str, str] = host.get_fact(PackageVersions, packages=packages)
    if len(versions) == len(packages) and len(set(versions.values())) == 1:
        host.noop(f"all are at {versions[packages[0]]}")
        return
    version = host.get_fact(Candidate, package=packages[0])
    named = [f"{name}={version}" if version else name for name in packages]
    if came := [name for name in packages if name not in versions]:
        yield note(came)
    yield StreamedCommand(
        APT_GET, "install --no-install-recommends --allow-downgrades", *map(QuoteString, named)
    )


class Origin(BoxFact[str]):
    """Whose the toolkit's packages say they are, as apt knows it from the index."""

    default = str

    def command(self) -> str:
        return (
            "apt-get indextargets --format '$(ORIGIN)' 'Created-By: Packages' "
            f"'Sourcesentry: {SOURCES}:1' || true"
        )

    def process(self, output: list[str]) -> str:
        return output[0].strip()


@operation()
def _patched(site: str) -> Commands:
    """unattended-upgrades takes from the distribution alone, unless it is told of others."""
    origin = host.get_fact(Origin)
    if not origin:  # not listed yet, while the run is only planned
        yield StringCommand("echo 'apt has no index of the container toolkit' >&2; false")
        return
    yield from files.put._inner(dest=UPDATES, content=updates(origin, site))


def updates(origin: str, site: str) -> str:
    """The part of unattended-upgrades' configuration that names the repository."""
    pattern = f"site={site}" if "$(" in origin else f"origin={origin},site={site}"
    return (
        "// Written by deeprig (tasks/container_toolkit.py): edit it there.\n"
        f'Unattended-Upgrade::Origins-Pattern {{\n    "{pattern}";\n}};\n'
    )
