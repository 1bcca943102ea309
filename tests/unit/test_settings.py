"""What cannot work is refused while the settings load: in one line, with a right example."""

from pathlib import Path
from typing import Any

import pytest

from deeprig.errors import DeeprigError
from deeprig.inventories import load
from deeprig.settings import (
    Containers,
    Cuda,
    Driver,
    Firewall,
    Guest,
    Notebook,
    Passthrough,
    PowerLimit,
    Python,
    Rig,
    SettingsError,
    Ssh,
    User,
    box,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBEtRYYbJlM1KVX8OTlvBnEb0KImc8tqI6b4cU4FxKGE me@laptop"
UUID = "GPU-8a56a4bc-0f6e-4c7d-9b1a-2c3d4e5f6a7b"
LIMIT = PowerLimit(gpu=UUID, watts=300)


@pytest.mark.parametrize("port", [80, 70000, "8888", 8888.5, None, True])
def test_a_port_the_server_cannot_open_is_refused(port: object) -> None:
    with pytest.raises(SettingsError, match=rf"Notebook\.port is {port!r}; "):
        Notebook(port=port)  # type: ignore[arg-type]


def make(kind: type, **values: Any) -> Any:
    return kind(**values)


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (Rig, {"notebok": 1}, r"Rig\.notebok is no setting; `docs/settings\.md` lists"),
        (Rig, {"ssh": 2222}, r"Rig\.ssh is 2222; "),
        (Rig, {"users": "ai"}, r"Rig\.users is 'ai'; "),
        (Rig, {"proxy": "proxy.lan:3128"}, r"Rig\.proxy is 'proxy\.lan:3128'; .*http://proxy\.lan"),
        (Rig, {"ca_certificates": ("/no.crt",)}, r"Rig\.ca_certificates\.0 is '/no\.crt'; .*PEM"),
        (Ssh, {"port": 0}, r"Ssh\.port is 0; "),
        (Ssh, {"strict": "perhaps"}, r"Ssh\.strict is 'perhaps'; "),
        (Firewall, {"allow": ("ssh",)}, r"Firewall\.allow\.0 is 'ssh'; .*8080/tcp"),
        (
            Firewall,
            {"trusted_interfaces": ("no such",)},
            r"Firewall\.trusted_interfaces\.0 is 'no such'; .*tailscale0",
        ),
        (Python, {"python": "3"}, r'Python\.python is \'3\'; .*"3\.12"'),
        (Python, {"packages": ("numpy; rm -rf /",)}, r"Python\.packages\.0 is .*numpy>=2"),
        (Notebook, {"user": "Ann"}, r"Notebook\.user is 'Ann'; write it like ai: "),
        (Notebook, {"password_hash": "hunter2"}, r"Notebook\.password_hash .*jupyter server passw"),
        (Notebook, {"password": "hunter2"}, r"Notebook\.password is no setting"),
        (
            Notebook,
            {"tensorboard_port": 8888},
            r"Notebook\.tensorboard_port is 8888, which Jupyter",
        ),
        (Python, {"torch": "two"}, r"Python\.torch is 'two'; .*2\.14"),
        (Driver, {"source": "ubuntu"}, r"Driver\.source is 'ubuntu'; "),
        (Driver, {"branch": "580.178"}, r"Driver\.branch is '580\.178'; .*580: the number before"),
        (Driver, {"flavour": "closed"}, r"Driver\.flavour is 'closed'; "),
        (Driver, {"gpus": ("RTX 3909",)}, r"Driver\.gpus is .*'RTX 3909' is no card .*10de:2204"),
        (Driver, {"mirror": "mirror.lan"}, r"Driver\.mirror is 'mirror\.lan'; .*https://mirror"),
        (Driver, {"repo_key": "3BF863CC"}, r"Driver\.repo_key is '3BF863CC'; .*all 40 hex digits"),
        (Driver, {"desktop": "yes"}, r"Driver\.desktop is 'yes'; "),
        (Driver, {"power_limits": (LIMIT, LIMIT)}, r"Driver\.power_limits names GPU-8a.* twice"),
        (
            Driver,
            {"module_options": ("x=1; rm",)},
            r"Driver\.module_options\.0 is .*NVreg_Re",
        ),
        (Passthrough, {"gpus": ()}, r"Passthrough\.gpus is \(\); "),
        (
            Passthrough,
            {"gpus": ("41:00.0",)},
            r"Passthrough\.gpus\.0 is '41:00\.0'; .*0000:41:00\.0",
        ),
        (
            Passthrough,
            {"gpus": ("0000:41:00.0",) * 2},
            r"Passthrough\.gpus names 0000:41:00\.0 twice",
        ),
        (Guest, {"image": "/srv/g.qcow2", "keys": ()}, r"Guest\.keys is empty, and nobody could"),
        (
            Guest,
            {"image": "https://a.lan/g.qcow2", "keys": (KEY,)},
            r"Guest\.image is an address and Guest\.sha256 is missing",
        ),
        (Guest, {"image": "g.qcow2", "keys": (KEY,)}, r"Guest\.image is 'g\.qcow2'; .*or a path"),
        (
            Guest,
            {"image": "/g", "keys": (KEY,), "pin": (1,)},
            r"Guest\.pin is \(1,\) and Guest\.processors is 4; name one",
        ),
        (PowerLimit, {"gpu": "0", "watts": 300}, r"PowerLimit\.gpu is '0'; .*nvidia-smi -L"),
        (PowerLimit, {"gpu": UUID, "watts": -1}, r"PowerLimit\.watts is -1; "),
        (Cuda, {"version": "13"}, r"Cuda\.version is '13'; .*13\.0"),
        (Cuda, {"parts": "some"}, r"Cuda\.parts is 'some'; "),
        (
            Containers,
            {"publish": "everywhere"},
            r"Containers\.publish is 'everywhere'; .*127\.0",
        ),
        (Rig, {"reboot": "now"}, r"Rig\.reboot is 'now'; "),
        (User, {"name": "ann", "keys": ()}, r"User 'ann' has no keys; passwords do not log in"),
        (User, {"name": "root", "keys": (KEY,)}, r"User 'root' is how deeprig gets in; leave it"),
        (User, {"name": "deeprig", "present": False}, r"User 'deeprig' is how deeprig gets in"),
        (User, {"name": "ann", "keys": ("no key",)}, r"User\.keys\.0 is 'no key'; give the text"),
    ],
)
def test_a_wrong_value_is_named_with_a_right_one(
    kind: type, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence) as error:
        make(kind, **values)
    assert "\n" not in str(error.value)


def test_a_private_key_is_never_taken_for_a_public_one(tmp_path: Path) -> None:
    file = tmp_path / "id_ed25519"
    file.write_text(
        "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n"
    )
    with pytest.raises(SettingsError, match=r"private key; give the \.pub file") as error:
        User(name="ann", keys=(str(file),))
    assert "secret" not in str(error.value)


def test_a_plain_password_is_not_repeated_in_the_error() -> None:
    with pytest.raises(SettingsError) as error:
        Notebook(password_hash="hunter2")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"users": (User(name="ann", keys=(KEY,)),) * 2}, r"Rig\.users names 'ann' twice"),
        ({"python": None}, r"Rig\.notebook needs Rig\.python; set notebook=None too"),
        ({"notebook": Notebook(user="root")}, r"Notebook\.user is 'root', who may do anything"),
        ({"notebook": Notebook(user="deeprig")}, r"Notebook\.user is 'deeprig', who may do anyth"),
        ({"users": (User(name="ai", present=False),)}, r"Notebook\.user is 'ai', whom Rig\.users"),
        ({"containers": Containers(user="ai")}, r"Containers\.user is 'ai', who runs the notebook"),
        ({"absent": {"cuda"}, "cuda": Cuda()}, r"Rig\.absent names 'cuda', and Rig\.cuda is set"),
        ({"absent": {"python"}}, r"takes out 'python', in which the notebook runs"),
        ({"absent": {"ssh"}}, r"Rig\.absent\.0 is 'ssh'; input should be 'containers', 'cuda'"),
        ({"absent": "cuda"}, r"Rig\.absent is 'cuda'; input should be a valid tuple"),
        ({"ssh": Ssh(port=8888)}, r"Ssh\.port is 8888, which the notebook has; pick another"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Rig(**values)


def test_what_is_taken_out_is_not_there_whatever_the_default() -> None:
    rig = Rig(absent={"wake_on_lan", "cuda", "storage"})  # type: ignore[arg-type]  # any collection
    assert rig.absent == ("cuda", "storage", "wake_on_lan")  # the same in each run
    assert (rig.cuda, rig.storage, rig.wake_on_lan) == (None, None, None)
    assert rig.driver and rig.notebook


def test_what_is_right_is_taken() -> None:
    rig = Rig(
        users=(User(name="ann", keys=(KEY,)), User(name="bob", present=False)),
        firewall=Firewall(allow=("8080/tcp", "60000:61000/udp", "9100/tcp from 192.168.1.0/24")),
        ssh=Ssh(port=2222),
        python=Python(packages=("numpy>=2", "torch"), torch="2.14"),
        driver=Driver(branch="580", repo_key="eb693b3035cd5710e231 e123a4b469963bf863cc"),
        cuda=Cuda(version="13.0"),
        containers=Containers(user="ann", publish="0.0.0.0"),
    )
    assert rig.driver and rig.driver.repo_key == "EB693B3035CD5710E231E123A4B469963BF863CC"
    assert rig.notebook is not None
    assert rig.to_json()["ssh"]["port"] == 2222


def test_a_public_key_may_be_the_path_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "id.pub"
    file.write_text(f"{KEY}\n")
    assert User(name="ann", keys=(str(file),)).keys == (KEY,)


def test_a_key_file_that_is_not_there_is_named_with_its_box() -> None:
    with pytest.raises(
        SettingsError, match=r"key of rig1 is '/no/key', which is no file; name the"
    ):
        box("rig1", rig=Rig(), key="/no/key")


def test_an_error_names_the_line_and_the_box(tmp_path: Path) -> None:
    file = tmp_path / "inventory.py"
    file.write_text(
        "from deeprig.settings import Notebook, Rig, box\n"
        "rigs = [\n"
        '    box("rig1", rig=Rig()),\n'
        '    box("rig2", rig=Rig(notebook=Notebook(port=80))),\n'
        "]\n"
    )
    with pytest.raises(DeeprigError, match=r"^inventory\.py line 4, rig2: Notebook\.port is 80; "):
        load(file)
