"""One step of an install, watched: progress, a time limit, and one line when it fails."""

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from deeprig_box.lib import bounded, files
from deeprig_box.lib.errors import BoxError

OPT = Path("/opt/deeprig")
UV = OPT / "uv/bin/uv"
PYTHONS = OPT / "python"
# What the settings say, and else what somebody has for everybody on the box.
UV_FILES = ("/etc/deeprig/uv.toml", "/etc/uv/uv.toml")
PIP_FILES = ("/etc/deeprig/pip.conf", "/etc/pip.conf")
PROXY_FILE = "/etc/profile.d/deeprig-proxy.sh"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
MARKER = ".deeprig"  # holds "building", and in the end "complete ..."
LOCK = ".deeprig.lock"
STALL_SECONDS = 1200
PROGRESS_SECONDS = 5
POLL_SECONDS = 0.2

NETWORK = re.compile(
    r"dns error|name resolution|name or service|error sending request|client error|connectionpool"
    r"|connection (refused|reset|timed out)|failed to (fetch|download)|timed out|proxy|certificate",
    re.IGNORECASE,
)
REASONS = (
    (r"dns error|name resolution|name or service not known", "its name cannot be resolved"),
    (r"certificate", "its certificate is not trusted, see Rig.ca_certificates"),
    (r"407|proxy auth", "the proxy wants a login"),
    (r"refused", "it refuses the connection"),
    (r"timed out|timeout", "it does not answer in time"),
    (r"unreachable|no route|connect|request failed|error sending", "the connection fails"),
    (r"\b(40[134]|5\d\d)\b", "it answers with an error"),
)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One run at a time makes things in this folder; while another does, a line every 5 s.

    By a file that nobody else can open, for whoever can may lock it: folders are open to others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    started = last_word = time.monotonic()
    try:
        while not _locked(lock):
            time.sleep(POLL_SECONDS)
            if (now := time.monotonic()) - last_word > PROGRESS_SECONDS:
                last_word = now
                line = step_at_work()
                if "so far" not in line:
                    line += f": at work already, {now - started:.0f} s so far"
                print(line, flush=True)
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def step_at_work() -> str:
    """The last step that this user's log has the beginning of, and how far it says that it is."""
    try:
        steps = re.findall(r"^# \S+ \S+ (.+)$", log_file().read_text(errors="replace"), re.M)
    except OSError:
        steps = []
    return steps[-1] if steps else "Another run"


def log_file() -> Path:
    """Where this user's installs are written down in full."""
    if os.geteuid() == 0:
        return Path("/var/log/deeprig/python-env.log")
    return Path.home() / ".local/state/deeprig/python-env.log"


def uv_cache(wanted: Path | None = None) -> Path:
    """uv's cache for this user: the one wanted where it is there and ours, else the usual one."""
    if wanted and wanted.is_dir() and os.access(wanted, os.W_OK):
        return wanted
    cache = OPT / "cache" if os.geteuid() == 0 else Path.home() / ".cache/uv"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)  # uv lets everybody write its lock files
    return cache


def environment(cache: Path) -> dict[str, str]:
    """A small environment of our own: the box's proxy and certificates, nothing of the caller's."""
    script = f"test ! -r {PROXY_FILE} || . {PROXY_FILE}; env"
    base = {"HOME": str(Path.home()), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    fresh = ["env", "-i", *(f"{name}={value}" for name, value in base.items())]
    lines = bounded.run([*fresh, "/bin/sh", "-c", script]).out.splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    if Path(CERTIFICATES).is_file():
        variables |= {"SSL_CERT_FILE": CERTIFICATES, "PIP_CERT": CERTIFICATES}
    variables |= {"UV_CACHE_DIR": str(cache), "UV_PYTHON_INSTALL_DIR": str(PYTHONS)}
    variables |= {"UV_NO_PROGRESS": "1", "UV_HTTP_TIMEOUT": "60"}
    return variables | own_configuration()


def own_configuration() -> dict[str, str]:
    """The index of the settings, else the box's; a ~/.config/uv/uv.toml or pip.conf is for its
    user's installs.

    Where uv is given a file it looks for none; pip leaves out the user's where it is given one, and
    all of them where that is /dev/null.
    """
    uv = next((file for file in UV_FILES if Path(file).is_file()), "")
    variables = {"UV_CONFIG_FILE": uv} if uv else {"UV_NO_CONFIG": "1"}
    ours, boxs = PIP_FILES
    if index := re.findall(r"^index-url = (\S+)$", _text(ours), re.MULTILINE):
        return variables | {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index[0]}
    return variables | {"PIP_CONFIG_FILE": boxs if Path(boxs).is_file() else os.devnull}


def _text(file: str) -> str:
    try:
        return Path(file).read_text(errors="replace")
    except OSError:
        return ""


def run(what: str, argv: list[str | Path], cache: Path | None = None) -> None:
    """Run one step, a line every 5 s, its output in the log; raise BoxError if it fails."""
    print(f"{what} ...", flush=True)
    path = log_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as log:
        os.fchmod(log.fileno(), 0o600)  # an index's address, with what stands in it
        note(log, what)
        begin = log.tell()
        step = subprocess.Popen(
            [str(word) for word in argv], env=environment(cache or uv_cache()), cwd="/",
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        status = watch(what, step, log)
        log.seek(begin)
        output = "".join(line for line in log if not line.startswith("#"))
    if status:
        raise BoxError(f"{what}: {explain(output)}; all of it is in {path}")


def note(log: TextIOWrapper, line: str) -> None:
    """Have the log say when we did what: whoever waits for us reads it there (step_at_work)."""
    log.write(f"\n# {time.strftime('%F %T')} {line}\n")
    log.flush()


def watch(what: str, step: subprocess.Popen[bytes], log: TextIOWrapper) -> int:
    """Its exit status, a line every 5 s until then; raises BoxError where it no longer gets on."""
    started = moved = time.monotonic()
    written = 0
    while True:
        try:
            return step.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            now, before, written = time.monotonic(), written, bytes_written(step.pid)
        size = f", {written / 1e9:.2f} GB written" if written > 1e7 else ""
        line = f"{what}: {now - started:.0f} s so far{size}"
        print(line, flush=True)
        note(log, line)
        moved = now if written > before else moved
        if now - moved > STALL_SECONDS:
            step.kill()
            minutes = STALL_SECONDS // 60
            raise BoxError(f"{what}: nothing came for {minutes} minutes; see {log_file()}")


def bytes_written(pid: int) -> int:
    """What a process and its ended children wrote; 0 where it is gone."""
    try:
        counts = Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return 0
    return int(re.findall(r"wchar: (\d+)", counts)[0])


def explain(output: str) -> str:
    """The sentence for a failed install: what could not be reached and why, or its last words."""
    if "No space left on device" in output:
        return "the disk is full; make room, then run it again"
    if changed := re.findall(r"Hash mismatch for `([^`]+)`", output):
        return (
            f"{changed[0]} has another checksum than its lock says, so it was changed on the index "
            "or on its way; nothing of it is installed: find out why"
        )
    where = re.findall(r"https?://(?:[^/@\s`]*@)?([^/\s`'\")]+)|host='([^']+)'", output)
    if NETWORK.search(output):
        host = "".join(where[-1]) if where else "the package index"
        why = next((text for sign, text in REASONS if re.search(sign, output, re.I)), "it fails")
        by = next((file for file in (*UV_FILES, *PIP_FILES) if host in _text(file)), "")
        named = f" ({by} names it)" if by else ""
        return f"cannot reach {host}{named}: {why}; check the network, Rig.proxy and Rig.pypi_index"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(error|x |cause:)", line, re.I)]
    return (telling or lines or ["it failed without a word"])[-1].rstrip(".")


def mark(folder: Path, text: str) -> None:
    """Put the marker there in one step; it survives a power cut once it is there."""
    files.write(folder / MARKER, f"{text}\n")


def marked(folder: Path) -> str:
    marker = folder / MARKER
    try:
        return marker.read_text(errors="replace").strip() if marker.is_file() else ""
    except OSError:
        return ""


def has(folder: Path, *modules: str) -> bool:
    """Whether this environment's Python is there, of the version it was made for, with these.

    Seen by what lies there, without starting it at every run.
    """
    python = (folder / "bin/python").resolve()
    packages = folder / "lib" / python.name / "site-packages"
    return os.access(python, os.X_OK) and all((packages / module).exists() for module in modules)


def interpreter(choice: str) -> list[str | Path]:
    """uv's arguments for the Python that the settings name."""
    if choice == "system":
        return ["--python", "/usr/bin/python3", "--no-python-downloads"]
    return ["--python", choice, "--managed-python", "--no-python-downloads"]
