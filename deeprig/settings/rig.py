"""Every setting a box has: its type, its default, and what makes a value impossible."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, PositiveInt, model_validator
from pydantic_core import ArgsKwargs

from deeprig.errors import DeeprigError
from deeprig.settings import source_lines, url_login
from deeprig.settings.passthrough import Guest, Passthrough
from deeprig.settings.types import (
    AbsolutePath,
    AptProxyUrl,
    Branch,
    CertificateFile,
    Component,
    Components,
    CudaVersion,
    Fingerprint,
    Gpus,
    GpuUuid,
    IndexUrl,
    Interface,
    IpAddress,
    KernelParameter,
    Mac,
    MirrorUrl,
    ModuleOption,
    Notify,
    PasswordHash,
    Port,
    ProxyUrl,
    PublicKey,
    PythonVersion,
    Recipient,
    Relay,
    Requirement,
    RequirementsFile,
    Rule,
    Serial,
    TorchVersion,
    UserName,
    UserPort,
    Uuid,
)
from deeprig.settings.validation import SettingsError, setting_group
from deeprig.ssh import connection, key_pair, ssh_config
from fast_ssh import frames

__all__ = [
    "Containers", "Cuda", "Disk", "Driver", "Firewall", "Guest", "Notebook", "Passthrough",
    "PowerLimit", "Python", "Rig", "SettingsError", "Ssh", "Storage", "User", "WakeOnLan", "box",
]  # fmt: skip

DEPLOY_USER = "deeprig"


@setting_group
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


@setting_group
class Ssh:
    """The way in: keys only, whatever port."""

    port: Port | None = None
    strict: bool = False
    keep_host_keys: Recipient | None = None


@setting_group
class Firewall:
    """What may come in beside SSH; everything else is refused."""

    allow: tuple[Rule, ...] = ()
    trusted_interfaces: tuple[Interface, ...] = ()


@setting_group
class Disk:
    """A data disk: a file system that is there, by UUID, or whole disks by their serial numbers.

    A disk named by serial number is formatted if it is empty, and never otherwise.
    """

    at: AbsolutePath = "/data"
    uuid: Uuid | None = None
    serials: tuple[Serial, ...] = ()
    raid: Literal[1, 5] | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Disk":
        if (self.uuid is None) is (not self.serials):
            raise ValueError("Disk needs either a uuid or serials; `lsblk -o +UUID,SERIAL` shows")
        needed = {None: 1, 1: 2, 5: 3}[self.raid]
        count = len(set(self.serials))
        if self.serials and (count < needed or (self.raid is None and count > 1)):
            raise ValueError(
                f"Disk.serials names {count} disks and Disk.raid is {self.raid}; one disk without "
                "raid, two or more for raid=1, three or more for raid=5"
            )
        return self


@setting_group
class Storage:
    """The folder for what must outlive a reinstall, the disks below it, and swap."""

    folder: AbsolutePath = "/data"
    disks: tuple[Disk, ...] = ()
    swap_gib: PositiveInt | None = None
    grow_root: bool = False

    @model_validator(mode="after")
    def _one_disk_each(self) -> "Storage":
        places = [disk.at for disk in self.disks]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"Storage.disks puts two disks at {place}; give each its own")
        return self


@setting_group
class PowerLimit:
    """At most this many watts for one card, at every boot."""

    gpu: GpuUuid
    watts: PositiveInt


@setting_group
class Driver:
    """NVIDIA's kernel modules and libraries, for computing; `source` is by the system if None."""

    source: Literal["distro", "nvidia"] | None = None
    branch: Branch | None = None
    flavour: Literal["open", "proprietary"] | None = None
    gpus: Gpus = ()
    mirror: MirrorUrl | None = None
    repo_key: Fingerprint | None = None
    desktop: Literal["keep", "off"] | None = None
    power_limits: tuple[PowerLimit, ...] = ()
    module_options: tuple[ModuleOption, ...] = ()

    @model_validator(mode="after")
    def _once_each(self) -> "Driver":
        uuids = [limit.gpu for limit in self.power_limits]
        for uuid in uuids:
            if uuids.count(uuid) > 1:
                raise ValueError(f"Driver.power_limits names {uuid} twice; once is enough")
        return self


@setting_group
class Cuda:
    """The CUDA toolkit, for those who compile; frameworks bring their own CUDA."""

    source: Literal["nvidia", "distro"] = "nvidia"
    version: CudaVersion | None = None
    parts: Literal["build", "full", "none"] = "build"
    mirror: MirrorUrl | None = None
    repo_key: Fingerprint | None = None


@setting_group
class Containers:
    """Docker with NVIDIA's toolkit. Who may use it is as good as root, and ports go past ufw."""

    user: UserName | None = None
    mirror: MirrorUrl | None = None
    repo_key: Fingerprint | None = None
    publish: IpAddress = "127.0.0.1"


@setting_group
class Python:
    """The environments that notebooks run in; made once, then only checked unless `update`."""

    python: PythonVersion = "3.12"
    packages: tuple[Requirement, ...] = ("numpy",)
    frameworks: tuple[Literal["torch", "jax", "tensorflow"], ...] = ()
    torch: TorchVersion | None = None
    torch_index: IndexUrl | None = None
    lock: RequirementsFile | None = None
    update: bool = False


@setting_group
class Notebook:
    """JupyterLab and TensorBoard in one tmux session, reached through an SSH tunnel."""

    user: UserName = "ai"
    port: UserPort = 8888
    tensorboard_port: UserPort = 6006
    password_hash: PasswordHash | None = Field(default=None, repr=False)
    restart_busy: bool = False

    @model_validator(mode="after")
    def _two_ports(self) -> "Notebook":
        if self.port == self.tensorboard_port:
            raise ValueError(
                f"Notebook.tensorboard_port is {self.port}, which JupyterLab has; pick another"
            )
        return self


@setting_group
class WakeOnLan:
    """The network card powers the box on; by default the card of the default route."""

    interface: Interface | None = None
    mac: Mac | None = None


@setting_group
class Rig:
    """One box. A part that is None is left alone on it; one named in `absent` is taken out."""

    users: tuple[User, ...] = ()
    ssh: Ssh = Field(default_factory=Ssh)
    firewall: Firewall | None = Field(default_factory=Firewall)
    storage: Storage | None = Field(default_factory=Storage)
    driver: Driver | None = Field(default_factory=Driver)
    cuda: Cuda | None = Field(default_factory=Cuda)
    containers: Containers | None = None
    python: Python | None = Field(default_factory=Python)
    notebook: Notebook | None = Field(default_factory=Notebook)
    wake_on_lan: WakeOnLan | None = Field(default_factory=WakeOnLan)
    passthrough: Passthrough | None = None
    absent: Components = ()
    kernel_parameters: tuple[KernelParameter, ...] = ()
    reboot: Literal["when-idle", "ask", "never"] = "when-idle"
    connection: Literal["ssh", "fast"] = "fast"
    notify: Notify | None = Field(default=None, repr=False)
    mail_relay: Relay | None = None
    ca_certificates: tuple[CertificateFile, ...] = ()
    proxy: ProxyUrl | None = None
    apt_proxy: AptProxyUrl | None = Field(default=None, repr=False)
    pypi_index: IndexUrl | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_here_or_absent(cls, given: ArgsKwargs) -> ArgsKwargs:
        """What is taken out is not there, whatever the default says."""
        values = dict(given.kwargs or {})
        for name in {*values.get("absent", ())} & {*get_args(Component)}:
            if values.get(name) is not None:
                raise ValueError(
                    f"Rig.absent names {name!r}, and Rig.{name} is set; leave one of the two out"
                )
            values[name] = None
        return ArgsKwargs(given.args, values)

    @model_validator(mode="after")
    def _fits_together(self) -> "Rig":
        names = [user.name for user in self.users]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"Rig.users names {name!r} twice; once is enough")
        if "python" in self.absent and "notebook" not in self.absent:
            raise ValueError(
                "Rig.absent takes out 'python', in which the notebook runs; take out 'notebook' too"
            )
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
        if self.containers and self.containers.user == self.notebook.user:
            raise ValueError(
                f"Containers.user is {self.notebook.user!r}, who runs the notebook: group docker "
                "is as good as root, and one bad package would own the box; name another user"
            )
        if self.ssh.port in (self.notebook.port, self.notebook.tensorboard_port):
            raise ValueError(f"Ssh.port is {self.ssh.port}, which the notebook has; pick another")
        return self

    def to_json(self) -> dict[str, Any]:
        """Let `pyinfra inventory.py debug-inventory` and the manifest print the settings.

        A secret is only said to be given.
        """
        values = asdict(self)
        if self.notify:
            values["notify"] = "given"
        if self.notebook and self.notebook.password_hash:
            values["notebook"]["password_hash"] = "given"
        return {name: _without_logins(value) for name, value in values.items()}


def _without_logins(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_logins(one) for name, one in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(map(_without_logins, value))
    return url_login.hidden(value) if isinstance(value, str) and "://" in value else value


def box(
    name: str,
    *,
    rig: Rig,
    hostname: str | None = None,
    user: str = DEPLOY_USER,
    port: int | None = None,
    key: str | Path | None = None,
    known_hosts: str | Path = "known_hosts",
) -> tuple[str, dict[str, Any]]:
    """pyinfra's `(name, data)` for one box: its settings, and a connection that trusts nobody new.

    `hostname` is a name, an address, or a `Host` of ~/.ssh/config, whose HostName, Port and jump
    hosts count then. `port` is where the box listened when it was bootstrapped, 22 unless a `Host`
    says another; once `Rig.ssh.port` has been proved by a login it is dialled instead. Raises
    SettingsError where the key file does not exist or cannot be used.
    """
    if key is not None and not Path(key).expanduser().is_file():
        raise SettingsError(
            f"{source_lines.caller_location()}key of {name} is {str(key)!r}, which is no file; "
            "name the private key that `deeprig bootstrap` used."
        )
    try:
        if key is not None:
            key_pair.check(Path(key).expanduser())
        own = ssh_config.of(hostname or name)
    except DeeprigError as error:
        raise SettingsError(f"{source_lines.caller_location()}{error}") from None
    data = connection.data(
        hostname=hostname or name,
        user=user,
        port=port or own.port or 22,
        new_port=rig.ssh.port,
        key=Path(key).expanduser() if key else None,
        known_hosts=Path(known_hosts).expanduser(),
    )
    # pyinfra's own connector asks by a shell for each command; the kept one has it from its start.
    english = {"_env": dict(frames.LOCALE)} if rig.connection == "ssh" else {}
    leads_to = f"{own.hostname} through {own.through}" if own.through else own.hostname
    host_data = {"rig": rig, **data, **english, "ssh_leads_to": leads_to.lower()}
    return connection.target(name, rig.connection), host_data
