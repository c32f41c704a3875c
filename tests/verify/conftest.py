import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def reference_kernel():
    """A warm kernel in which the references of the corpus run."""
    from reference import ReferenceKernel

    kernel = ReferenceKernel()
    yield kernel
    kernel.close()


@pytest.fixture
def folder(tmp_path_factory, monkeypatch):
    """A project folder that is not below the system's temporary folder's masked prefix."""
    monkeypatch.delenv("MLREPRO_STORE", raising=False)
    return tmp_path_factory.mktemp("project")
