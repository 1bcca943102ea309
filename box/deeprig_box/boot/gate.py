"""Before a reboot: whether one is owed, what it would end, and how it would come up.

due       JSON: `owed`, why the driver needs one, and `work` and `people`, what it would end
check     `ok KERNEL` where it would come up with the driver; else why, and status 1
arrived   after it: the kernel and driver that run; status 1 where what was owed is not done
"""

import json
import os
import sys

from deeprig_box.boot import kernel_check
from deeprig_box.boot.grub import Loader
from deeprig_box.lib import bounded, workload
from deeprig_box.nvidia import driver

STARTING_SECONDS = 120


def check() -> None:
    coming = Loader().next
    if not coming.kernel:
        sys.exit(f"No reboot: {coming.title!r} boots next, which is no kernel of this system.")
    if problem := kernel_check.why_not(coming.kernel, coming.initrd):
        if kernel_check.without_driver(coming.kernel):
            for line in kernel_check.build_log(coming.kernel):
                print(line, flush=True)
        sys.exit(f"No reboot: kernel {coming.kernel} boots next, and {problem}.")
    print(f"ok {coming.kernel}")


def arrived() -> None:
    bounded.run(["systemctl", "is-system-running", "--wait"], seconds=STARTING_SECONDS)
    use = driver.in_use()
    if use.startswith("wrong: "):
        sys.exit(f"The reboot is done, and {use.removeprefix('wrong: ')}.")
    if use == "load" and (why := kernel_check.refused()):
        sys.exit(f"The reboot is done, and the driver does not load: {why}.")
    if why := kernel_check.owed():
        sys.exit(f"The reboot is done, and another is owed: {why}.")
    print(f"kernel {os.uname().release} runs, with driver {driver.driver_version()}")


def main() -> None:
    match sys.argv[1:]:
        case ["due"]:
            print(json.dumps({"owed": kernel_check.owed(), **workload.all_of_it()}))
        case ["check"]:
            check()
        case ["arrived"]:
            arrived()
        case _:
            sys.exit("reboot-gate takes one of: due, check, arrived.")
