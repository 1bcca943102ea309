"""What the thirty operations bring about, for pyinfra and for ansible alike."""

import json
from typing import Any

ROOT = "/opt/bench"
PACKAGES = ("curl", "htop", "rsync")
FOLDERS = tuple(f"{ROOT}/folder{number}" for number in range(5))
CONTENT = "# a file of some lines\n" + "setting = value\n" * 20
FILES = tuple(f"{ROOT}/folder0/file{number}.conf" for number in range(10))
LINES_IN = f"{ROOT}/folder1/lines"
LINES = ("one=on", "two=on", "three=on")
LINKS = {f"{ROOT}/link{number}": FOLDERS[number] for number in range(2)}
SERVICES = ("cron", "ssh")
EMPTY = f"{ROOT}/empty"
BLOCK_IN, BLOCK = f"{ROOT}/folder2/block", "a block\nof two lines"


def playbook(hostname: str) -> str:
    """The same as an ansible playbook, an operation each; JSON is YAML."""
    own: dict[str, Any] = {"owner": "root", "group": "root"}
    tasks: list[dict[str, Any]] = [
        *({"apt": {"name": name, "install_recommends": False}} for name in PACKAGES),
        {"group": {"name": "bench"}},
        {"user": {"name": "bench", "group": "bench", "shell": "/bin/bash"}},
        *({"file": {"path": p, "state": "directory", "mode": "0755"} | own} for p in FOLDERS),
        *({"copy": {"dest": p, "content": CONTENT, "mode": "0644"} | own} for p in FILES),
        *({"lineinfile": {"path": LINES_IN, "line": x, "create": True}} for x in LINES),
        *({"file": {"path": p, "src": to, "state": "link"}} for p, to in LINKS.items()),
        *({"systemd": {"name": s, "state": "started", "enabled": True}} for s in SERVICES),
        {"hostname": {"name": hostname, "use": "systemd"}},
        {"file": {"path": EMPTY, "state": "touch", "modification_time": "preserve",
                  "access_time": "preserve", "mode": "0644"}},
        {"blockinfile": {"path": BLOCK_IN, "block": BLOCK, "create": True}},
    ]  # fmt: skip
    play = {"hosts": "all", "become": True, "gather_facts": False, "tasks": tasks}
    return json.dumps([play], indent=1)
