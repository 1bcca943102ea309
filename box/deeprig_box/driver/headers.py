"""The kernels' headers: of the image's own version, and none that nobody has.

A module of somebody else's that does not build fails in their postinst: then they go again.
"""

import re
from typing import Any

from deeprig_box.driver import reasons, simulate
from deeprig_box.driver.simulate import APT_GET
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver, steps
from deeprig_box.nvidia.held_updates import newer
from deeprig_box.nvidia.steps import run

HEADERS, IMAGE = "linux-headers-", "linux-image-"
# What DKMS says of a build that failed, or of a source that is none.
FAILED = re.compile(r"/var/lib/dkms/([\w.+-]+)/([\w.+~-]+)/(?:source\b|(?:\S+/)?build/make\.log)")


def lacking(plan: dict[str, Any]) -> list[str]:
    """As apt takes them; an image from another suite than the usual has its own headers there."""
    versions, names = driver.installed(), []
    for name in plan["headers"]:
        image = versions.get(name.replace(HEADERS, IMAGE, 1), "")
        has, offered = versions.get(name, ""), simulate.offered(name)
        if image in offered and (not has or newer(image, has)):
            names.append(f"{name}={image}")
        elif not has and offered:
            names.append(name)
    return names


def install(plan: dict[str, Any]) -> None:
    if names := lacking(plan):
        bring("Install the kernels' headers", names)


def bring(what: str, names: list[str]) -> None:
    """These packages, or none of them and the reason."""
    would = simulate.simulated(names)
    if would.why_not:
        raise BoxError(f"{reasons.why(names, would)}; nothing was installed")
    complaint = run(what, [*APT_GET, "install", *names])
    if not complaint:
        return
    module = FAILED.search(steps.last_said())
    came = [arrival.name for arrival in would.arrives if not arrival.old]
    states = driver.said("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\\n")
    left = {line.split()[1] for line in states.splitlines() if not line.startswith("not-installed")}
    run("Take out what came", ["apt-get", "-q", "-y", "purge", *(n for n in came if n in left)])
    half = " ".join(driver.said("dpkg", "--audit").split())
    end = f"dpkg is left with: {half[:200]}" if half else "what came was taken out again"
    raise BoxError(f"{others(*module.groups()) if module else complaint}; {end}; see {steps.LOG}")


def others(name: str, version: str) -> str:
    """Whose module it is that does not build for the kernel, and the way out."""
    owner = driver.said("dpkg", "-S", f"/usr/src/{name}-{version}").partition(":")[0]
    if owner and ", " not in owner:
        return (
            f"the module {name} {version} of {owner} does not build for this kernel, and fails the "
            f"headers' installation; update it, or `sudo apt purge {owner}`"
        )
    return (
        f"the module {name} {version}, which no package owns, does not build for this kernel, and "
        f"fails the headers' installation; `sudo dkms remove {name}/{version} --all` takes it out"
    )


def of_the_newest(kernel: str) -> None:
    """Have them, for what boots next. Raises BoxError where nobody has them."""
    if driver.has_headers(kernel):
        return
    name = driver.headers_of(kernel)
    if not name:
        raise BoxError(
            f"the archive has no headers for the newest installed kernel, {kernel}; bring the "
            "kernel up to date with `apt full-upgrade`, reboot, and deploy again; those of a "
            f"kernel from elsewhere come from there, and belong at /lib/modules/{kernel}/build"
        )
    bring(f"Install {name}", [name])
