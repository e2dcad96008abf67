"""A server as a process, a real browser, and a small project with known particles."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from etpick.io.project_edit import new_project
from etpick.simulate import simulate_folder
from etpick.types import ParticleClass

CLASSES = [ParticleClass("ribosome", 280.0, "#e41a1c"), ParticleClass("proteasome", 150.0, "#377eb8")]


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Server:
    """`etpick serve` in a folder, and the links that it prints."""

    def __init__(self, folder: Path, *arguments: str, port: int | None = None) -> None:
        self.folder, self.port = folder, port or free_port()
        command = [sys.executable, "-m", "etpick.cli", "serve", *arguments, "--root", folder, "--port", str(self.port)]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.url = self.next_link()

    def next_link(self) -> str:
        said = []
        for line in self.process.stdout:
            said.append(line)
            if link := re.match(r"open (http\S+)", line):
                return link[1]
        raise AssertionError("the server ended: " + "".join(said))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, how: int = signal.SIGINT) -> int:
        self.process.send_signal(how)
        code = self.process.wait(90)  # a busy machine
        self.process.stdout.close()
        return code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def browser():
    """Closed at the end of a module: while it is open an event loop runs, and asyncio.run in other tests would fail."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'etpick[dev]'")
    pytest.importorskip("nicegui", reason="no NiceGUI: pip install 'etpick[serve]'")
    program = chromium()
    if program is None:
        pytest.skip("no Chromium here, so the browser interface is NOT tested: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A tab that never leaves this machine and in which no script fails."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    trouble = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on(
        "request",
        lambda r: trouble.append(r.url) if not r.url.startswith(("http://127.0.0.1", "data:", "blob:")) else None,
    )
    page.set_default_timeout(15_000)
    yield page
    context.close()
    assert not trouble


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """Three small tomograms with their true particles."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_folder(folder / "data", count=3, shape=(48, 128, 128), seed=2)
    return folder / "data"


@pytest.fixture
def lab(simulated, tmp_path):
    """A folder with tomograms and no picks, and a project of two of them."""
    (tmp_path / "data").mkdir()
    for source in simulated.glob("*.mrc"):
        os.link(source, tmp_path / "data" / source.name)
    return tmp_path


@pytest.fixture
def project(lab):
    tomograms = sorted((lab / "data").glob("*.mrc"))[:2]
    new_project(lab / "project.toml", tomograms, CLASSES, "complete")
    return lab / "project.toml"


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    running = []

    def start(folder: Path, *arguments: str, port: int | None = None) -> Server:
        running.append(Server(folder, *arguments, port=port))
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)
