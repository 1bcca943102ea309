"""The watch meets fake cards: one that is gone from the bus, and one that the driver has lost."""

from collections.abc import Callable, Iterator

import pytest

from lab import boxes, fake_gpu
from lab.fake_gpu_files import FOLDER
from tests.lab.receivers import Ntfy
from tests.lab.test_notify import LOOK, listening

pytestmark = pytest.mark.lab

Login = Callable[..., str]
FORGET = "sudo /usr/local/lib/deeprig/current/deeprig-box watch --forget-gpus"


@pytest.fixture
def ntfy(box: boxes.Box) -> Iterator[Ntfy]:
    with listening(box) as made:
        yield made


def test_the_watch_tells_lost_cards(box: boxes.Box, login: Login, ntfy: Ntfy) -> None:
    fake_gpu.put(box, "four-1080ti")
    login(LOOK)
    assert ntfy.titles() == []  # the control
    login(f"sudo rm {FOLDER}/root/sys/bus/pci/devices/0000:42:00.0")
    login(LOOK)
    assert ntfy.titles() == ["a GPU 10de:1b06 is gone [fake GPU]"]
    fake_gpu.take_out(box)
    login(FORGET)
    assert ntfy.titles() == ["over: a GPU 10de:1b06 is gone [fake GPU]"]

    fake_gpu.put(box, "gpu-lost")
    login(LOOK)
    [message] = ntfy.got
    assert message.text.startswith("nvidia-smi says: Unable to determine the device handle")
    assert ntfy.titles() == ["a GPU is lost [fake GPU]"]
    fake_gpu.take_out(box)
    login(FORGET)
    assert ntfy.titles() == ["over: a GPU is lost [fake GPU]"]
