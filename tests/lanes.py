"""The lanes of the test suite: `python -m tests.lanes quick`, or any of their names.

Prints what each lane skipped and why, and how long it took. Of the quick ones two run at a time,
for a deploy mostly waits for its box; each prints when it ends. pytest ends with an error where it
finds no test, so a lane that ran nothing fails.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from lab import root

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PYTEST = [sys.executable, "-m", "pytest", "-q", "-ra", "--durations=5"]

WORKFLOWS = (".github/workflows/release.yml", ".github/workflows/ubuntu.yml")
FIRST_DRIVER = "none_was_built or came_from or second_deploy or verifies or one_set"
TRUST = ("tests/lab/test_trust.py", "tests/lab/test_trust_long.py")
BOOT_GUARD = ("test_boot_guard", "test_reboot_gate")

# It has no ending in its name, so ruff would not look at it.
ON_BOXES = ["box/deeprig-box"]

LANES: dict[str, list[list[str]]] = {
    "lint": [
        [str(BIN / "ruff"), "check", ".", *ON_BOXES],
        [str(BIN / "ruff"), "format", "--check", ".", *ON_BOXES],
        ["env", "PYTHONPATH=box", str(BIN / "lint-imports"), "--no-cache"],
        [sys.executable, "-m", "tests.shell_files"],
        [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *WORKFLOWS],
        [str(BIN / "zizmor"), "--offline", "--quiet", *WORKFLOWS],
    ],
    "types": [
        [str(BIN / "mypy")],
        # And as the oldest and the newest Python of a box takes it.
        *(
            [str(BIN / "mypy"), "-p", "deeprig_box", "--python-version", v]
            for v in ("3.10", "3.14")
        ),
        [
            *(str(BIN / "mypy"), "deploy.py", "hatch_build.py", "inventory.py"),
            *("tools/gpu_evidence.py", "tools/release.py", "tools/seen_on.py"),
        ],
    ],
    "unit": [[*PYTEST, "tests/unit"]],
    "coverage": [  # of its own, for it takes the unit tests two fifths more of a processor
        [str(BIN / "coverage"), "run", *PYTEST[1:], "tests/unit"],
        [sys.executable, "-m", "tests.covered"],
    ],
    "debian-13": [[*PYTEST, "tests/lab/test_main_job.py", "--os", "debian-13"]],
    "ubuntu-like": [[*PYTEST, "tests/lab/test_main_job.py", "--os", "ubuntu-like"]],
    "debian-12": [[*PYTEST, "tests/lab/test_main_job.py", "--os", "debian-12"]],
    "machines": [[*PYTEST, "tests/lab/test_lab_machines.py"]],
    "bootstrap": [[*PYTEST, "tests/lab/test_bootstrap.py"]],
    "jump": [[*PYTEST, "tests/lab/test_jump.py"]],
    "init": [[*PYTEST, "tests/lab/test_init.py"]],
    "installed": [[*PYTEST, "tests/lab/test_installed.py"]],
    "reinstall": [
        [*PYTEST, "tests/lab/test_kept_host_keys.py", "tests/lab/test_reinstall.py"],
    ],
    "lockout": [[*PYTEST, "tests/lab/test_lockout.py", "tests/lab/test_lockout_owner.py"]],
    "notebook": [[*PYTEST, "tests/lab/test_notebook.py"]],
    "notebook-ports": [[*PYTEST, "tests/lab/test_notebook_ports.py"]],
    "notebook-ports-ubuntu-like": [
        [*PYTEST, "tests/lab/test_notebook_ports.py", "--os", "ubuntu-like"]
    ],
    "tunnel": [[*PYTEST, "tests/lab/test_tunnel.py"]],
    "browser": [[*PYTEST, "tests/lab/test_browser.py"]],
    "vscode": [[*PYTEST, "tests/lab/test_vscode.py"]],
    "mutation": [[*PYTEST, "tests/lab/test_mutation.py"]],
    "bad-input": [[*PYTEST, "tests/lab/test_bad_input.py"]],
    "ssh": [[*PYTEST, "tests/lab/test_ssh.py"]],
    "ssh-debian-12": [[*PYTEST, "tests/lab/test_ssh.py", "--os", "debian-12"]],
    "ssh-ubuntu-like": [[*PYTEST, "tests/lab/test_ssh.py", "--os", "ubuntu-like"]],
    "fast": [[*PYTEST, "tests/lab/test_fast.py"]],
    "fast-debian-12": [[*PYTEST, "tests/lab/test_fast.py", "--os", "debian-12"]],
    "fast-ubuntu-like": [[*PYTEST, "tests/lab/test_fast.py", "--os", "ubuntu-like"]],
    "base": [
        [
            *PYTEST,
            *(f"tests/lab/test_{part}.py" for part in ("base", "operations", "hostile_people")),
        ]
    ],
    "hostile-logs": [
        [*PYTEST, "tests/lab/test_hostile_logs.py", "--os", system]
        for system in ("debian-13", "debian-12", "ubuntu-like")
    ],
    "apt-cache": [[*PYTEST, "tests/lab/test_apt_cache.py"]],
    "python-env": [[*PYTEST, "tests/lab/test_python_env.py"]],
    "frameworks": [[*PYTEST, "tests/lab/test_frameworks.py"]],
    "conda": [[*PYTEST, "tests/lab/test_conda.py"]],
    "storage": [
        [
            *PYTEST,
            *(f"tests/lab/test_{part}.py" for part in ("data_disk", "storage", "hostile_folders")),
        ]
    ],
    "nvidia-repository": [
        [*PYTEST, "tests/lab/test_nvidia_repository.py", "--os", system]
        for system in ("debian-13", "debian-12", "ubuntu-like")
    ],
    "gpu-stack": [  # the first fifth of driver-ubuntu-like: installed, unchanged, verified, held
        [*PYTEST, "tests/lab/test_driver_archive.py", "--os", "ubuntu-like", "-k", FIRST_DRIVER]
    ],
    "driver-ubuntu-like": [
        [*PYTEST, "tests/lab/test_driver_archive.py", "--os", "ubuntu-like"],
        [*PYTEST, "tests/lab/test_driver_nvidia.py", "--os", "ubuntu-like"],
    ],
    "driver-debian-12": [
        [*PYTEST, "tests/lab/test_driver.py", "--os", "debian-12"],
        [*PYTEST, "tests/lab/test_driver_nvidia.py", "--os", "debian-12"],
    ],
    "driver-debian-13": [
        [*PYTEST, "tests/lab/test_driver.py", "--os", "debian-13"],
        [*PYTEST, "tests/lab/test_driver_nvidia.py", "--os", "debian-13"],
    ],
    "driver-found": [
        [*PYTEST, "tests/lab/test_driver_found.py", "--os", system]
        for system in ("debian-12", "debian-13")
    ],
    "driver-upgrade": [[*PYTEST, "tests/lab/test_driver_upgrade.py"]],
    "cuda": [[*PYTEST, "tests/lab/test_cuda.py"]],
    "nvlink-board": [[*PYTEST, "tests/lab/test_nvlink_board.py"]],
    "gpu-live": [[*PYTEST, "tests/lab/test_gpu_live.py", "tests/lab/test_gpu_watch.py"]],
    "gpu-evidence": [[*PYTEST, "tests/lab/test_gpu_evidence.py"]],
    "containers": [[*PYTEST, "tests/lab/test_containers.py"]],
    "containers-debian-12": [[*PYTEST, "tests/lab/test_containers.py", "--os", "debian-12"]],
    "wake-on-lan": [[*PYTEST, "tests/lab/test_wake_on_lan.py"]],
    "wake-on-lan-ubuntu-like": [[*PYTEST, "tests/lab/test_wake_on_lan.py", "--os", "ubuntu-like"]],
    "wake-on-lan-vm": [[*PYTEST, "tests/lab/test_wake_on_lan_vm.py"]],
    "wake": [[*PYTEST, "tests/lab/test_wake.py"]],
    "shells": [[*PYTEST, "tests/lab/test_shells.py"]],
    "german": [[*PYTEST, "tests/lab/test_german.py"]],
    "start-up-files": [[*PYTEST, "tests/lab/test_start_up_files.py"]],
    "jobs": [[*PYTEST, "tests/lab/test_jobs.py"]],
    "several": [[*PYTEST, "tests/lab/test_several.py"]],
    "absent": [[*PYTEST, "tests/lab/test_absent.py"]],
    "plan": [[*PYTEST, "tests/lab/test_plan.py"]],
    "trust": [[*PYTEST, "tests/lab/test_trust.py"]],
    "trust-quick": [[*PYTEST, "tests/lab/test_trust.py", "-m", "one_of_each"]],
    "trust-long": [
        [*PYTEST, *TRUST, "--os", "debian-13", "-m", "not minutes"],
        [*PYTEST, *TRUST, "--os", "ubuntu-like", "-m", "not minutes and not every_pair"],
    ],
    "trust-slow": [[*PYTEST, "tests/lab/test_trust_long.py", "-m", "minutes"]],
    "walk": [[*PYTEST, "tests/lab/test_walk.py"]],
    "year": [[*PYTEST, "tests/lab/test_year.py"]],
    "notify": [[*PYTEST, "tests/lab/test_notify.py"]],
    "vm": [[*PYTEST, "tests/lab/test_vm.py"]],
    "vm-debian-12": [[*PYTEST, "tests/lab/test_vm.py", "--os", "debian-12"]],
    "vm-hardware": [[*PYTEST, "tests/lab/test_vm_hardware.py"]],
    "vm-headless": [[*PYTEST, "tests/lab/test_headless_vm.py"]],
    "vm-storage": [[*PYTEST, "tests/lab/test_storage_vm.py"]],
    "vm-encrypted": [[*PYTEST, "tests/lab/test_encrypted_root_vm.py"]],
    "vm-main-job": [[*PYTEST, "tests/lab/test_main_job_vm.py"]],
    "vm-main-job-debian-12": [[*PYTEST, "tests/lab/test_main_job_vm.py", "--os", "debian-12"]],
    "boot-trial": [[*PYTEST, "tests/lab/test_boot_trial.py"]],
    "boot-trial-debian-12": [[*PYTEST, "tests/lab/test_boot_trial.py", "--os", "debian-12"]],
    "passthrough": [[*PYTEST, "tests/lab/test_passthrough.py"]],
    "hand-over": [[*PYTEST, "tests/lab/test_hand_over.py"]],
    "boot-guard": [[*PYTEST, f"tests/lab/{name}.py"] for name in BOOT_GUARD],
    "boot-guard-debian-12": [
        [*PYTEST, f"tests/lab/{name}.py", "--os", "debian-12"] for name in BOOT_GUARD
    ],
    "self-update": [
        [*PYTEST, f"tests/lab/{name}.py"] for name in ("test_self_update", "test_self_update_vm")
    ],
    "boot-guard-vm": [[*PYTEST, "tests/lab/test_boot_guard_vm.py"]],
}
QUICK = [  # two at a time, so no two of these share a box
    "lint",
    "types",
    "unit",
    "bad-input",
    "base",
    "ssh",
    "bootstrap",
    "wake-on-lan",
    "notify",
    "gpu-stack",
    "debian-13",
    "ubuntu-like",
    "trust-quick",
]


def main(names: list[str]) -> int:
    """Run the named lanes; 0 if all passed, 1 if one failed, 2 for a name that is no lane."""
    wanted = [lane for name in names for lane in (QUICK if name == "quick" else [name])]
    unknown = [name for name in wanted if name not in LANES]
    if not wanted or unknown:
        print(f"Lanes: {', '.join(LANES)}; quick is {', '.join(QUICK)}.")
        return 2
    if any("tests/lab" in word for lane in wanted for command in LANES[lane] for word in command):
        root.become()  # the boxes are containers; under sudo all of this runs once more
    together = names == ["quick"]
    results = []
    with ThreadPoolExecutor(2 if together else 1) as pool:
        for done in as_completed([pool.submit(_run, name, shown=not together) for name in wanted]):
            name, passed, seconds, said = done.result()
            results.append((name, passed, seconds))
            if together:
                print(f"\n=== {name}\n{said}", flush=True)
    print("\nLane                     result   seconds")
    for name, passed, seconds in results:
        print(f"{name:24} {'passed' if passed else 'FAILED':7} {seconds:8.0f}")
    return 0 if all(passed for _, passed, _ in results) else 1


def _run(name: str, *, shown: bool) -> tuple[str, bool, float, str]:
    """A lane's name, whether each of its commands passed, its seconds, and what was not shown."""
    sys.stdout.write(f"\n=== {name} begins\n" if shown else f"{name} begins\n")
    sys.stdout.flush()
    streams = {} if shown else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    started, said, passed = time.monotonic(), "", True
    for command in LANES[name]:
        done = subprocess.run(command, cwd=ROOT, check=False, text=True, **streams)
        said += done.stdout or ""
        passed = passed and done.returncode == 0
    return name, passed, time.monotonic() - started, said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
