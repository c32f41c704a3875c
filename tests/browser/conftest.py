"""A real JupyterLab and a real Chromium."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from tests.conftest import ROOT, git

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 120_000
"""Milliseconds. A bound for what hangs, not a measure: CI machines are slow."""


class Lab(NamedTuple):
    """A running server."""

    url: str
    token: str
    folder: Path


@pytest.fixture
def artifacts() -> Path:
    """Where screenshots go."""
    folder = Path(os.environ.get("MLREPRO_ARTIFACTS", "artifacts")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on the tour's project, with settings and kernels of its own."""
    pytest.importorskip("jupyterlab")
    tmp_path = tmp_path_factory.mktemp("lab")
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(ROOT / "notebooks" / "00-tour.ipynb", project)
    shutil.copytree(ROOT / "notebooks" / "data", project / "data")
    (project / ".gitignore").write_text("mlruns/\nmlflow.db*\n.ipynb_checkpoints/\n", "utf-8")
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "The tour")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    folders = {
        name: str(tmp_path / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    settings = tmp_path / "jupyter_config_dir/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"checkForUpdates": false, "fetchNews": "false"}', encoding="utf-8"
    )
    settings = settings.parent / "notebook-extension"
    settings.mkdir()
    # Else cells out of sight are taken out of the page, and a test could not look at them.
    (settings / "tracker.jupyterlab-settings").write_text(
        '{"windowingMode": "none"}', encoding="utf-8"
    )
    environment = {**os.environ, **folders, "JUPYTER_TOKEN": token}
    environment.pop("MLREPRO_STORE", None)
    log = (tmp_path / "lab.log").open("w")
    server = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.root_dir={project}", "--LabApp.expose_app_in_browser=True",
        ],
        cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if server.poll() is not None:
                pytest.fail(f"jupyter lab ended: {(tmp_path / 'lab.log').read_text()[-2000:]}")
            try:
                if requests.get(f"{url}/api/status?token={token}", timeout=5).ok:
                    break
            except requests.RequestException:
                time.sleep(0.2)
        else:
            pytest.fail("jupyter lab did not answer")
        yield Lab(url, token, project)
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


@pytest.fixture
def page(chromium: str) -> Iterator[Any]:
    """A page that fails the test when it logs an error of ours."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        context = browser.new_context(
            viewport={"width": 1500, "height": 1000},
            permissions=["clipboard-read", "clipboard-write"],
        )
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE)
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        yield opened
        browser.close()
    assert [error for error in errors if "mlrepro" in error] == []


class Notebook:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page: Any, lab: Lab, path: str) -> None:
        self.page, self.lab, self.path = page, lab, path

    def open(self) -> None:
        """Open it alone and wait for its kernel."""
        self.page.goto(f"{self.lab.url}/lab/tree/{self.path}?reset&token={self.lab.token}")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
            " === 'idle'"
        )
        self.command("application:close-all-but-this", missing_is_fine=True)
        self.page.evaluate("window.jupyterapp.shell.collapseLeft()")

    def command(self, name: str, *, missing_is_fine: bool = False) -> None:
        """Run one of JupyterLab's commands."""
        if missing_is_fine and not self.page.evaluate(
            "name => window.jupyterapp.commands.hasCommand(name)", name
        ):
            return
        self.page.evaluate("async name => { await window.jupyterapp.commands.execute(name) }", name)

    def run_all(self) -> None:
        """Run all cells and wait until the last has run."""
        self.command("notebook:run-all-cells")
        self.page.wait_for_function(
            "() => { const cells = window.jupyterapp.shell.currentWidget.content.widgets"
            ".filter(c => c.model.type === 'code');"
            "return cells.every(c => c.model.executionCount && c.model.executionState !=="
            " 'running') }"
        )
        errors = self.page.locator(".jp-RenderedText[data-mime-type*='stderr']")
        assert "Traceback" not in "".join(errors.all_inner_texts())

    def save(self) -> dict[str, Any]:
        """Save, and return the notebook as it is in the file."""
        self.command("docmanager:save")
        content: dict[str, Any] = json.loads((self.lab.folder / self.path).read_text("utf-8"))
        return content

    def shot(self, locator: str, path: Path) -> None:
        """Take a picture of an element."""
        found = self.page.locator(locator).first
        found.scroll_into_view_if_needed()
        found.screenshot(path=str(path))


def with_cells(path: Path, *sources: str) -> None:
    """Add code cells to the end of a notebook file."""
    notebook = json.loads(path.read_text("utf-8"))
    for number, source in enumerate(sources):
        notebook["cells"].append(
            {
                "cell_type": "code", "id": f"added-{number}", "metadata": {}, "outputs": [],
                "execution_count": None, "source": source,
            }
        )  # fmt: skip
    path.write_text(json.dumps(notebook), encoding="utf-8")


def html_text(notebook: dict[str, Any]) -> str:
    """Return a notebook as nbconvert's HTML."""
    import nbformat
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter().from_notebook_node(nbformat.reads(json.dumps(notebook), as_version=4))
    return str(body)
