"""An install that does not end well is taken out again, and what stood before stands again."""

import re
from pathlib import Path

from deeprig_box.driver.desired import WANTED
from deeprig_box.lib.errors import BoxError
from deeprig_box.nvidia import driver, steps

# What an unfinished install brought; it is there only while one is under way.
CAME = Path("/var/lib/deeprig/driver-came")
BROUGHT = Path("/var/lib/deeprig/driver-brought")
# What stood before, while another plan is tried.
BEFORE = Path("/var/lib/deeprig/driver-before.json")
MAKE_LOG = Path("/var/log/deeprig/driver-make.log")


def take_over() -> None:
    """From here on the wanted plan is what stands, or what stood before comes back."""
    if not WANTED.exists():
        return
    if driver.PLAN.exists():
        BEFORE.write_bytes(driver.PLAN.read_bytes())
    draft = driver.PLAN.with_suffix(".new")
    draft.write_bytes(WANTED.read_bytes())
    draft.replace(driver.PLAN)


def stands_again() -> None:
    if BEFORE.exists():
        BEFORE.replace(driver.PLAN)
    elif WANTED.exists():
        driver.PLAN.unlink(missing_ok=True)


def came(names: list[str]) -> None:
    CAME.parent.mkdir(parents=True, exist_ok=True)
    before = CAME.read_text().split() if CAME.exists() else []
    CAME.write_text("\n".join(dict.fromkeys([*before, *names])) + "\n")


def arrived() -> None:
    """The install is whole; what it brought is noted for the day when the driver is taken out."""
    if CAME.exists():
        with BROUGHT.open("a") as noted:
            noted.write(CAME.read_text())
        CAME.unlink()


def unpin() -> None:
    """Take out the pin that came for an install that will not be."""
    if CAME.exists():
        take_out()


def give_up(why: str) -> None:
    """Say why, with the end of the build's log; take out what came, if that is what is wrong."""
    make_logs = sorted(Path("/var/lib/dkms").glob(f"{driver.plan()['dkms_name']}/*/build/make.log"))
    built = make_logs[-1].read_text(errors="replace") if make_logs else ""
    if built:
        MAKE_LOG.write_text(built)
        print(f"The end of {MAKE_LOG} from the first error on, without the compiler's calls:")
        short = [line for line in built.splitlines() if 0 < len(line) < 200]
        begin = next((n for n, line in enumerate(short) if "error: " in line), len(short) - 18)
        print("\n".join(f"    {line}" for line in short[max(begin, 0) :][:24]), flush=True)
        errors = re.findall(r"error: (.+)$", built, re.MULTILINE)
        why = f"the driver's modules do not build ({errors[0]})" if errors else why
    if CAME.exists():
        take_out()
        stands_again()
        back = "what came was taken out again, and the box is as before"
        log = f"see {steps.LOG}, and set Rig.driver to None to have all else"
        raise BoxError(f"{why}; {back}; {log}")
    raise BoxError(f"{why}; see {steps.LOG}")


def take_out() -> None:
    """Purge what an unfinished install brought, whatever state it is in."""
    known = driver.said("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\\n")
    names = {line.split()[1] for line in known.splitlines() if not line.startswith("not-installed")}
    came = [name for name in CAME.read_text().split() if name in names]
    if came:
        steps.run("Take out what came", ["apt-get", "-q", "-y", "purge", *came])
    if half := driver.said("dpkg", "--audit"):
        raise BoxError(f"dpkg is left with: {' '.join(half.split())}; see {steps.LOG}")
    CAME.unlink()


def mend() -> None:
    """An install that was cut off is taken out; the next step of the deploy starts it anew."""
    if CAME.exists() and driver.said("dpkg", "--audit"):
        steps.run("Finish the driver's installation", ["dpkg", "--configure", "-a"])
        if driver.said("dpkg", "--audit"):
            take_out()
