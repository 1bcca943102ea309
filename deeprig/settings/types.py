"""The types of settings: what makes a value impossible, and what would be right."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pyrage
from pydantic import AfterValidator, BeforeValidator, Field

from deeprig.catalog import gpu_search
from deeprig.errors import DeeprigError
from deeprig.settings import requirements_file, url_login


def _matching(pattern: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"write it like {example}")
        return value

    return AfterValidator(check)


def _without_login(instead: str) -> AfterValidator:
    """For a URL that stands where all of the box's accounts read it."""

    def check(value: str) -> str:
        if "://" in value and "@" in value:
            raise ValueError(f"a login in it could be read by everybody on the box; {instead}")
        return value

    return AfterValidator(check)


def _login_for_apt(value: str) -> str:
    """What apt's own file for logins can hold: words, apart by blanks."""
    _, name, password = url_login.split(value)
    words = all(re.fullmatch(r"[!-~]+", word) for word in (name, password))
    if "@" in value and not (words and not re.search(r"[\s'\"#\\\\]", name + password)):
        raise ValueError(
            "apt takes a name and a password, both of ASCII and without blanks, quotes, # and \\"
        )
    return value


def _public_key(value: str) -> str:
    """A key as one line of text; a path is read on the machine that deploys."""
    text = value.strip()
    if not re.match(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+ ", text):
        path = Path(text).expanduser()
        if not path.is_file():
            raise ValueError("give the text of a public key, or the path of a .pub file")
        text = path.read_text().strip()
    if "PRIVATE KEY" in text:
        raise ValueError("that is a private key; give the .pub file beside it")
    if "\n" in text or not re.match(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+ \S{40,}", text):
        raise ValueError("give one public key, such as the line in ~/.ssh/id_ed25519.pub")
    return text


def _recipient(value: str) -> str:
    """A public key that age encrypts to."""
    text = _public_key(value)
    try:
        pyrage.ssh.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise ValueError(
            "age encrypts to ssh-ed25519 keys, and to ssh-rsa ones of 2048 bits or more; give the "
            ".pub file of such a key"
        ) from None
    return text


def _certificate_file(value: str) -> str:
    path = Path(value).expanduser()
    if not path.is_file() or "BEGIN CERTIFICATE" not in path.read_text(errors="replace"):
        raise ValueError("give the path of a PEM file on the machine that deploys")
    return str(path)


def _requirements_file(value: str) -> str:
    requirements_file.lines(value)
    return str(Path(value).expanduser())


def _password_hash(value: str) -> str:
    if not re.fullmatch(r"argon2:\$argon2id\$v=\d+\$[\w=,]+\$[\w+/]+\$[\w+/]+", value):
        raise ValueError(
            "give the argon2: line that `jupyter server password` writes, never the password"
        )
    return value


def _fingerprint(value: str) -> str:
    """A key's whole fingerprint, in the form that gpg compares: 40 digits without spaces."""
    text = "".join(value.split()).upper()
    if not re.fullmatch(r"[0-9A-F]{40}", text):
        raise ValueError("give all 40 hex digits, as `gpg --show-keys` prints them")
    return text


def _ip_address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("write it like 127.0.0.1, or 0.0.0.0 for every interface") from None


UserName = Annotated[str, _matching(r"[a-z_][a-z0-9_-]{0,31}", "ai: lowercase, digits, - and _")]
PublicKey = Annotated[str, AfterValidator(_public_key)]
Recipient = Annotated[str, AfterValidator(_recipient)]
CertificateFile = Annotated[str, AfterValidator(_certificate_file)]
PasswordHash = Annotated[str, AfterValidator(_password_hash)]
ProxyUrl = Annotated[
    str,
    _matching(r"https?://[^\s'\"]+", "http://proxy.lan:3128"),
    _without_login(
        "name a proxy that needs none, such as a squid or cntlm of your own that logs in to it"
    ),
]
AptProxyUrl = Annotated[
    str,
    _matching(r"https?://([^\s'\"@/]+@)?[^\s'\"@/]+/?", "http://proxy.lan:3128"),
    AfterValidator(_login_for_apt),
]
IndexUrl = Annotated[
    str,
    _matching(r"https://[^\s'\"]+", "https://pypi.lan/simple"),
    _without_login(
        "leave it out and put it into ~/.netrc of root and of the work user on the box, mode 600, "
        "which uv and pip read"
    ),
]
UserPort = Annotated[int, Field(strict=True, ge=1024, le=65535)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Rule = Annotated[
    str,
    _matching(
        r"\d{1,5}(:\d{1,5})?(/(tcp|udp))?( from [0-9a-fA-F.:]+(/\d{1,3})?)?",
        "8080/tcp, 60000:61000/udp or 9100/tcp from 192.168.1.0/24",
    ),
]
Interface = Annotated[str, _matching(r"[A-Za-z0-9_.:-]{1,15}", "tailscale0")]
PythonVersion = Annotated[str, _matching(r"3\.\d{1,2}|system", '"3.12", or "system"')]
Requirement = Annotated[
    str, _matching(r"[A-Za-z0-9][\w.\[\],-]*([=<>!~]=?[\w.*,<>=!~]+)?", "numpy or numpy>=2")
]
RequirementsFile = Annotated[str, AfterValidator(_requirements_file)]
AbsolutePath = Annotated[str, _matching(r"(/[A-Za-z0-9_][\w.-]*)+", "/data")]
Uuid = Annotated[str, _matching(r"[0-9A-Fa-f-]{4,36}", "the UUID that `lsblk -f` shows")]
Serial = Annotated[str, _matching(r"[\w.:+-]+", "the SERIAL that `lsblk -d -o NAME,SERIAL` shows")]
PciAddress = Annotated[
    str,
    _matching(
        r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]",
        "0000:41:00.0, lowercase, as `lspci -D` shows it",
    ),
]
Sha256 = Annotated[str, _matching(r"[0-9a-f]{64}", "the 64 hex digits that `sha256sum` prints")]
Image = Annotated[
    str,
    _matching(
        r"https?://[^\s'\"]+|(/[\w.+-]+)+",
        "https://cloud.debian.org/.../debian-13-generic-amd64.qcow2, or a path on the box",
    ),
    _without_login("fetch the image to the box and name its path"),
]
HostName = Annotated[str, _matching(r"[a-z][a-z0-9-]{0,30}", "guest: lowercase, digits and -")]
Branch = Annotated[str, _matching(r"[4-9]\d\d", "580: the number before the first dot")]
TorchVersion = Annotated[str, _matching(r"\d+\.\d+(\.\d+)?", "2.14")]
CudaVersion = Annotated[str, _matching(r"[1-9]\d\.\d", "13.0")]
MirrorUrl = Annotated[
    str,
    _matching(r"https?://[^\s'\"]+", "https://mirror.lan/compute/cuda/repos"),
    _without_login(
        "leave it out and put it into a file of /etc/apt/auth.conf.d on the box, mode 600, which "
        "apt reads"
    ),
]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
GpuUuid = Annotated[
    str,
    _matching(
        r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "GPU-8a56a4bc-0f6e-4c7d-9b1a-2c3d4e5f6a7b, as `nvidia-smi -L` shows it",
    ),
]
ModuleOption = Annotated[
    str, _matching(r"NVreg_\w+=[\w.:;,/-]+", "NVreg_RestrictProfilingToAdminUsers=0")
]
KernelParameter = Annotated[
    str, _matching(r"[\w.-]+(=[\w.,:;/@+-]*)?", "pcie_aspm=off, one parameter each")
]
IpAddress = Annotated[str, AfterValidator(_ip_address)]
Mac = Annotated[str, _matching(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "3c:7c:3f:00:11:22, lowercase")]
Notify = Annotated[
    str,
    _matching(
        r"https?://[^\s'\"/]+/[\w-]+|[\w.+-]+@[\w.-]+",
        "https://ntfy.sh/your-secret-topic, or a mail address",
    ),
]
Relay = Annotated[str, _matching(r"[\w.:-]+:\d{1,5}", "mail.lan:25")]


def _gpu_ids(value: Any) -> Any:
    """The ids of GPUs that are named, as "2 x RTX 3090", or given as ids."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        return value
    if any(
        "@" in each or "://" in each for each in value
    ):  # it may hold a password, which no message may show
        raise ValueError("write it like RTX 3090, 2 x T4 or 10de:2204")
    try:
        return gpu_search.ids(value)
    except DeeprigError as error:
        raise ValueError(str(error).rstrip(".")) from None


Gpus = Annotated[tuple[str, ...], BeforeValidator(_gpu_ids)]


def _in_order(value: Any) -> Any:
    """A set has no order of its own, and the record on the box would be another at each run."""
    return tuple(sorted(value)) if isinstance(value, (set, frozenset, list, tuple)) else value


Component = Literal[
    "containers", "cuda", "driver", "firewall", "notebook", "notify", "passthrough", "python",
    "storage", "wake_on_lan",
]  # fmt: skip
Components = Annotated[tuple[Component, ...], BeforeValidator(_in_order)]
