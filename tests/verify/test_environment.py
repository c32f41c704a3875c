"""Causes that lie in what is installed and in what runs before the first cell."""

import pytest

from mlrepro_nb.verify import verify
from tests.capture.conftest import kernel
from tests.capture.installs import install
from tests.capture.test_distributions import wait
from tests.verify.test_interactive import Notebook

__all__ = ["kernel"]


@pytest.fixture
def start(kernel):
    def open_notebook(**environment):
        notebook = Notebook(kernel(JPY_SESSION_NAME="nb.ipynb", **environment))
        wait(notebook.kernel, "distributions")
        return notebook

    return open_notebook


@pytest.fixture
def profile(tmp_path):
    folder = tmp_path / "ipython" / "profile_default" / "startup"
    folder.mkdir(parents=True)
    return folder


def causes(path):
    found = verify(path)
    return [(cause.kind, cause.subject) for cause in found.causes], found


def test_a_name_that_a_startup_file_set_is_startup_state(start, profile):
    (profile / "00-mine.py").write_text("rate = 1.19\n")
    notebook = start(IPYTHONDIR=str(profile.parents[1]))
    notebook.run("a", "print(100 * rate)")
    named, found = causes(notebook.save())
    assert named == [("startup-state", "rate")]
    assert "00-mine.py" in found.causes[0].evidence


def test_an_option_that_a_startup_file_set_is_startup_state(start, profile):
    (profile / "00-mine.py").write_text("import numpy as _np\n_np.set_printoptions(precision=2)\n")
    notebook = start(IPYTHONDIR=str(profile.parents[1]))
    notebook.run("a", "import numpy\nprint(numpy.array([0.123456789]))")
    named, _ = causes(notebook.save())
    assert [kind for kind, _ in named] == ["startup-state"]


def test_a_variable_that_store_brought_back_is_startup_state(start, kernel, profile):
    yesterday = kernel(IPYTHONDIR=str(profile.parents[1]))
    yesterday.run("kept = 41")
    yesterday.run("%store kept")
    yesterday.close()
    notebook = start(IPYTHONDIR=str(profile.parents[1]))
    notebook.run("a", "%store -r kept")
    notebook.run("b", "print(kept + 1)")
    named, _ = causes(notebook.save())
    assert ("startup-state", "kept") in named


def test_a_startup_file_that_changes_nothing_is_no_cause(start, profile):
    (profile / "00-mine.py").write_text("unused = 1\n")
    notebook = start(IPYTHONDIR=str(profile.parents[1]))
    notebook.run("a", "print(1)")
    assert causes(notebook.save())[0] == []


def test_a_package_that_was_edited_by_hand_since_is_a_local_edit(start, tmp_path, monkeypatch):
    site = tmp_path / "more" / "site-packages"
    install(site, "ratio", files={"ratio.py": "value = 2\n"})
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    notebook = start()
    notebook.run("a", "import ratio")
    notebook.run("b", "print(ratio.value)")
    wait(notebook.kernel, "edits")
    path = notebook.save()
    (site / "ratio.py").write_text("value = 3\n")
    named, found = causes(path)
    assert named == [("local-edit", "ratio.py")]
    assert "edited by hand since" in found.causes[0].evidence
    assert "pip install --force-reinstall --no-deps ratio==1.0" in found.causes[0].fix
