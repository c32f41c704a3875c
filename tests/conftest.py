"""Fixtures that several rooms' tests share.

What a machine may lack (an engine, a cluster, a browser) is skipped where it is
missing, unless MLREPRO_REQUIRE names it: CI names all that it started, so that
nothing is ever skipped there.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from mlrepro_nb.connect import releases
from mlrepro_nb.store import Store
from tests.package_index import Index, served

ROOT = Path(__file__).parent.parent


def _need(what: str, variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        reason = f"{what}: {variable} is not set (tests/cluster/up starts it)"
        if what in os.environ.get("MLREPRO_REQUIRE", "").split(","):
            pytest.fail(f"required but missing: {reason}")
        pytest.skip(reason)
    return value


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave cosign's tests out of a run of CI that has none: building it takes six minutes."""
    required = os.environ.get("MLREPRO_REQUIRE", "").split(",")
    if any(required) and "cosign" not in required and not shutil.which("cosign"):
        out = [item for item in items if item.get_closest_marker("cosign")]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run of CI in which anything was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("MLREPRO_REQUIRE") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def engine() -> str:
    """A Docker Engine that answers."""
    return _need("engine", "MLREPRO_TEST_ENGINE")


@pytest.fixture(scope="session")
def registry(engine: str) -> str:
    """``host:port`` of a registry without authentication."""
    return _need("registry", "MLREPRO_TEST_REGISTRY")


@pytest.fixture(scope="session")
def registry_auth(engine: str) -> tuple[str, str, str]:
    """``host:port``, user and password of a registry that wants them."""
    return (
        _need("registry", "MLREPRO_TEST_REGISTRY_AUTH"),
        _need("registry", "MLREPRO_TEST_REGISTRY_AUTH_USER"),
        _need("registry", "MLREPRO_TEST_REGISTRY_AUTH_PASSWORD"),
    )


@pytest.fixture(scope="session")
def base_image(engine: str) -> str:
    """A Python base image by digest, in the open registry."""
    return _need("engine", "MLREPRO_TEST_BASE")


@pytest.fixture(scope="session")
def buildkit(registry: str) -> str:
    """Address of a BuildKit that gives the same digest again, for BUILDKIT_HOST."""
    return _need("buildkit", "MLREPRO_TEST_BUILDKIT")


@pytest.fixture(scope="session")
def kubernetes() -> str:
    """KUBECONFIG of a cluster whose node is ready."""
    _need("kubernetes", "MLREPRO_TEST_KUBERNETES")
    return os.environ["KUBECONFIG"]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that Playwright drives."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if "browser" in os.environ.get("MLREPRO_REQUIRE", "").split(","):
            pytest.fail("required but missing: chromium")
        pytest.skip("browser: chromium is not installed")
    return found


def needed(what: str, found: object) -> None:
    """Go on where a tool is there."""
    if not found:
        if what in os.environ.get("MLREPRO_REQUIRE", "").split(","):
            pytest.fail(f"required but missing: {what}")
        pytest.skip(f"{what} is not installed")


def framework(name: str) -> None:
    """Go on where a heavy library of the ``frameworks`` group is installed."""
    if importlib.util.find_spec(name) is None:
        reason = f"frameworks: {name} is not installed (make frameworks)"
        if "frameworks" in os.environ.get("MLREPRO_REQUIRE", "").split(","):
            pytest.fail(f"required but missing: {reason}")
        pytest.skip(reason)


def git(folder: Path, *arguments: str) -> str:
    """Run git as a nobody and return what it printed."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    done = subprocess.run(
        ["git", *identity, "-c", "init.defaultBranch=main", *arguments],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture(scope="session", autouse=True)
def _executed_copies(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have what a user would be told of, and keep, end with the tests."""
    from mlrepro_nb.verify import _verify

    with mock.patch("tempfile.tempdir", str(tmp_path_factory.mktemp("executed"))):
        _verify.elsewhere()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty git repository that is the working folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLREPRO_STORE", raising=False)
    return folder


@pytest.fixture
def project(repository: Path) -> Path:
    """A git repository that holds the tour notebook and its data, committed."""
    shutil.copy(ROOT / "notebooks" / "00-tour.ipynb", repository)
    shutil.copytree(ROOT / "notebooks" / "data", repository / "data")
    (repository / ".gitignore").write_text("mlruns/\nmlflow.db*\n.mlrepro/\n", encoding="utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "The tour")
    return repository


@pytest.fixture
def store(repository: Path) -> Store:
    """The repository's store."""
    return Store.find(repository)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """A package index of this test's own, and nothing else."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    with served() as made:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", made.url)
        releases.forget()
        yield made
    releases.forget()
