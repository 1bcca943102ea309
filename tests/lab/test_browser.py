"""A person with a browser: `deeprig tunnel`, the printed links, a notebook, a training curve.

What the browser showed is kept in build/screenshots.
"""

import shlex
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from lab import boxes, requirements
from lab.requirements import Package
from tests.lab.conftest import ROOT, deploy
from tests.lab.tunnels import tunnel

pytestmark = pytest.mark.lab

SCREENSHOTS = ROOT / "build/screenshots"
DRIVER = "/usr/bin/chromedriver"
PACKAGES = (
    Package("chromium", "is the browser of this lane (half a minute)", "chromium"),
    Package("chromium-driver", "lets the test use that browser", DRIVER),
)
PATIENCE_SECONDS = 40
NOTEBOOK_CARD = '.jp-LauncherCard[data-category="Notebook"][title="Python (base)"]'
# What a training script does, without a framework.
RUN = """
import pathlib
from tensorboard.summary import Writer
writer = Writer(str(pathlib.Path.home() / "runs/first-run"))
for step in range(5):
    writer.add_scalar("loss", 6 / 2**step, step)
writer.close()
"""
LAST_LOSS = "0.375"
T = TypeVar("T")


@pytest.fixture(scope="module")
def links(box: boxes.Box) -> Iterator[list[str]]:
    """The two links as `deeprig tunnel` prints them for a box that was really deployed."""
    done = deploy(box)
    assert done.returncode == 0, done.stdout + done.stderr
    with tunnel(box.inventory, lines=3) as opened:
        rows = [line.split() for line in opened.shown.splitlines()[1:]]
        assert [row[0] for row in rows] == ["JupyterLab", "TensorBoard"]
        yield [row[1] for row in rows]


@pytest.fixture(scope="module")
def browser(pytestconfig: pytest.Config) -> Iterator[Chrome]:
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        requirements.install(print, PACKAGES)
    options = ChromeOptions()
    options.add_argument("--headless=new")
    options.add_argument("--window-size=1280,900")
    options.add_argument("--no-proxy-server")
    # Chromium does not start in its sandbox for root, which the lab needs; it opens our box alone.
    options.add_argument("--no-sandbox")
    options.binary_location = "/usr/bin/chromium"
    browser = Chrome(options=options, service=Service(DRIVER))  # else selenium fetches a driver
    yield browser
    browser.quit()


@pytest.fixture(autouse=True)
def screenshot(browser: Chrome, request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep what the browser showed at the end of each test."""
    yield
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(SCREENSHOTS / f"{request.node.name.removeprefix('test_')}.png"))


def wait(browser: Chrome, what: Callable[[Chrome], T]) -> T:
    return WebDriverWait(browser, PATIENCE_SECONDS).until(what)


def find(browser: Chrome, selector: str) -> WebElement:
    """The first element of that kind, once it is there."""
    return wait(
        browser, lambda page: next(iter(page.find_elements(By.CSS_SELECTOR, selector)), None)
    )


def holds(browser: Chrome, selector: str, *texts: str) -> None:
    """Wait until an element of that kind shows all these texts."""

    def shown(page: Chrome) -> bool:
        said = [element.text for element in page.find_elements(By.CSS_SELECTOR, selector)]
        return any(all(text in one for text in texts) for one in said)

    wait(browser, shown)


def reloaded_with_a_card(page: Chrome) -> bool:
    """TensorBoard looks into its folder every few seconds, its page only when it is loaded."""
    page.refresh()
    time.sleep(3)
    return bool(page.find_elements(By.CSS_SELECTOR, "scalar-card"))


def test_a_wrong_token_is_refused(browser: Chrome, links: list[str]) -> None:
    browser.get(links[0].partition("=")[0] + "=" + "0" * 64)
    holds(browser, "body", "Token authentication is enabled")
    assert "/login" in browser.current_url
    assert not browser.find_elements(By.CSS_SELECTOR, ".jp-LauncherCard")


def test_the_printed_link_opens_jupyterlab(browser: Chrome, links: list[str]) -> None:
    browser.get(links[0])
    find(browser, NOTEBOOK_CARD)
    assert "token" not in browser.current_url


def test_a_new_notebook_computes(browser: Chrome, links: list[str]) -> None:
    browser.get(links[0])
    find(browser, NOTEBOOK_CARD).click()
    holds(browser, ".jp-KernelName", "Python (base)")
    holds(browser, "#jp-main-statusbar", "| Idle")  # a cell that is run before is forgotten
    cell = find(browser, ".jp-Notebook .jp-CodeCell .cm-content")
    cell.send_keys("import sys; print('answer', 6 * 7, sys.prefix)")
    cell.send_keys(Keys.SHIFT, Keys.ENTER)
    holds(browser, ".jp-OutputArea-output", "answer 42 /home/ai/envs/base")


def test_tensorboard_shows_what_a_run_on_the_box_wrote(
    browser: Chrome, links: list[str], login: Callable[..., str]
) -> None:
    browser.get(links[1])
    holds(browser, "body", "No dashboards are active")  # the control: nothing was written yet
    python = "sudo -u ai /opt/deeprig/notebook/bin/python"
    login(f"cd /; {python} -c {shlex.quote(RUN)}")
    wait(browser, reloaded_with_a_card)
    holds(browser, "scalar-card", "loss", "first-run", LAST_LOSS)
    time.sleep(3)  # the curve is drawn after its numbers, and the screenshot should have it
