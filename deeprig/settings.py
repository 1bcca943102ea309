"""Every setting a box has: its type, its default, and what makes a value impossible."""

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from deeprig import connection, source_lines
from deeprig.errors import DeeprigError

DEPLOY_USER = "deeprig"


class SettingsError(DeeprigError):
    """A setting that cannot work."""


T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(part: type[T]) -> type[T]:
    """Make a part of the settings: frozen, checked when it is made.

    A wrong value raises SettingsError naming the inventory line, the host where it can be told,
    the setting, the value and what would be right.
    """
    checked: Any = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))(part)
    check = checked.__init__

    def __init__(self: T, *args: Any, **values: Any) -> None:
        named = dict(zip((field.name for field in fields(checked)), args, strict=False))
        try:
            check(self, **named, **values)
        except ValidationError as error:
            raise SettingsError(source_lines.here() + _sentence(part.__name__, error)) from None

    checked.__init__ = __init__  # pydantic has no hook for an error of our own
    return checked  # type: ignore[no-any-return]  # still the class that came in


def _sentence(part: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join([part, *map(str, first["loc"])])
    if first["type"] == "unexpected_keyword_argument":
        return f"{name} is no setting; `docs/settings.md` lists what {part} takes."
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and not first["loc"]:
        return f"{message}."
    secret = "password" in name  # somebody may have put the password itself there
    value = "no such line" if secret else repr(first["input"])
    return f"{name} is {value}; {message[0].lower()}{message[1:]}."


def _matching(pattern: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"write it like {example}")
        return value

    return AfterValidator(check)


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


def _certificate_file(value: str) -> str:
    path = Path(value).expanduser()
    if not path.is_file() or "BEGIN CERTIFICATE" not in path.read_text(errors="replace"):
        raise ValueError("give the path of a PEM file on the machine that deploys")
    return str(path)


def _password_hash(value: str) -> str:
    if not re.fullmatch(r"argon2:\$argon2id\$v=\d+\$[\w=,]+\$[\w+/]+\$[\w+/]+", value):
        raise ValueError(
            "give the argon2: line that `jupyter server password` writes, never the password"
        )
    return value


UserName = Annotated[str, _matching(r"[a-z_][a-z0-9_-]{0,31}", "ai: lowercase, digits, - and _")]
PublicKey = Annotated[str, AfterValidator(_public_key)]
CertificateFile = Annotated[str, AfterValidator(_certificate_file)]
PasswordHash = Annotated[str, AfterValidator(_password_hash)]
Url = Annotated[str, _matching(r"https?://[^\s'\"]+", "http://proxy.lan:3128")]
HttpsUrl = Annotated[str, _matching(r"https://[^\s'\"]+", "https://pypi.lan/simple")]
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


@settings
class User:
    """Somebody who logs in with a key. `present=False` takes the account away, the home stays."""

    name: UserName
    keys: tuple[PublicKey, ...] = ()
    sudo: bool | None = None
    present: bool = True

    @model_validator(mode="after")
    def _can_be_had(self) -> "User":
        if self.name in (DEPLOY_USER, "root"):
            raise ValueError(f"User {self.name!r} is how deeprig gets in; leave it out")
        if self.present and not self.keys:
            raise ValueError(f"User {self.name!r} has no keys; passwords do not log in, give one")
        return self


@settings
class Ssh:
    """The way in: keys only, whatever port."""

    port: Port | None = None
    strict: bool = False


@settings
class Firewall:
    """What may come in beside SSH; everything else is refused."""

    allow: tuple[Rule, ...] = ()
    trusted_interfaces: tuple[Interface, ...] = ()


@settings
class Python:
    """The environment that notebooks run in; made once, then only checked unless `update`."""

    python: PythonVersion = "3.12"
    packages: tuple[Requirement, ...] = ("numpy",)
    update: bool = False


@settings
class Notebook:
    """JupyterLab and TensorBoard in one tmux session, reached through an SSH tunnel."""

    user: UserName = "ai"
    port: UserPort = 8888
    tensorboard_port: UserPort = 6006
    password_hash: PasswordHash | None = None
    restart_busy: bool = False

    @model_validator(mode="after")
    def _two_ports(self) -> "Notebook":
        if self.port == self.tensorboard_port:
            raise ValueError(
                f"Notebook.tensorboard_port is {self.port}, which JupyterLab has; pick another"
            )
        return self


@settings
class Rig:
    """One box. A part that is None is left alone on it."""

    users: tuple[User, ...] = ()
    ssh: Ssh = Field(default_factory=Ssh)
    firewall: Firewall | None = Field(default_factory=Firewall)
    python: Python | None = Field(default_factory=Python)
    notebook: Notebook | None = Field(default_factory=Notebook)
    ca_certificates: tuple[CertificateFile, ...] = ()
    proxy: Url | None = None
    apt_proxy: Url | None = None
    pypi_index: HttpsUrl | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Rig":
        names = [user.name for user in self.users]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"Rig.users names {name!r} twice; once is enough")
        if self.notebook is None:
            return self
        if self.python is None:
            raise ValueError("Rig.notebook needs Rig.python; set notebook=None too, or keep python")
        if self.notebook.user in (DEPLOY_USER, "root"):
            raise ValueError(
                f"Notebook.user is {self.notebook.user!r}, who may do anything; name the work user"
            )
        if any(u.name == self.notebook.user and not u.present for u in self.users):
            raise ValueError(f"Notebook.user is {self.notebook.user!r}, whom Rig.users takes away")
        if self.ssh.port in (self.notebook.port, self.notebook.tensorboard_port):
            raise ValueError(f"Ssh.port is {self.ssh.port}, which the notebook has; pick another")
        return self

    def to_json(self) -> dict[str, Any]:
        """Let `pyinfra inventory.py debug-inventory` and the manifest print the settings."""
        return asdict(self)


def box(
    name: str,
    *,
    rig: Rig,
    hostname: str | None = None,
    user: str = DEPLOY_USER,
    port: int = 22,
    key: str | Path | None = None,
    known_hosts: str | Path = "known_hosts",
) -> tuple[str, dict[str, Any]]:
    """pyinfra's `(name, data)` for one box: its settings, and a connection that trusts nobody new.

    `port` is where the box listened when it was bootstrapped; once `Rig.ssh.port` has been proved
    by a login it is dialled instead. Raises SettingsError where the key file does not exist.
    """
    if key is not None and not Path(key).expanduser().is_file():
        raise SettingsError(
            f"{source_lines.here()}key of {name} is {str(key)!r}, which is no file; "
            "name the private key that `deeprig bootstrap` used."
        )
    data = connection.data(
        hostname=hostname or name,
        user=user,
        port=port,
        new_port=rig.ssh.port,
        key=Path(key).expanduser() if key else None,
        known_hosts=Path(known_hosts).expanduser(),
    )
    return name, {"rig": rig, **data}
