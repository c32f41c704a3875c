"""The distribution behind a broken import, and how it is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.connect import releases
from mlrepro_nb.model import Distribution, Environment, System
from mlrepro_nb.verify.attribute import Case, Seen
from mlrepro_nb.verify.attribute._declared import declared
from mlrepro_nb.verify.attribute.history import binds, last_version
from mlrepro_nb.verify.attribute.providers import provider
from tests.records import a_record


def case(folder, source, *, asks=False, record=None):
    seen = Seen(index=0, id=None, source=source, reference=(), stored=(), count=1, executed=True,
                compared=True)  # fmt: skip
    return Case({0: seen}, record=record, rerun=None, root=folder, folder=folder,
                notebook=folder / "a.ipynb", asks=asks)  # fmt: skip


def test_the_record_knows_best(tmp_path):
    environment = Environment(
        python="3.11.7", implementation="CPython", kernelspec="python3",
        system=System(name="debian", version="12", kernel="6.1", machine="x86_64"),
        distributions=(
            Distribution(name="opencv-contrib-python", version="4.5.1.48", modules=("cv2",)),
        ),
    )  # fmt: skip
    record = a_record(environment=environment)
    found = provider(case(tmp_path, "import cv2", record=record), 0, "cv2")
    assert found.pin == "opencv-contrib-python==4.5.1.48"
    assert "the record's environment" in found.how


def test_what_the_project_declares_comes_before_the_tables(tmp_path):
    (tmp_path / "requirements.txt").write_text(
        "--index-url https://x\nPyIgraph-Fork\nscikit_image[data]>=0.19 ; python_version>'3'\n"
    )
    found = provider(case(tmp_path, "import skimage"), 0, "skimage.io")
    assert (found.name, found.declared) == ("scikit-image", "requirements.txt")
    assert found.pin == "scikit_image[data]>=0.19"


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("skimage", "import skimage", "scikit-image"),
        ("Bio", "import Bio", "biopython"),
        ("google", "from google.cloud import bigquery", "google-cloud-bigquery"),
        ("google.cloud", "from google.cloud import vision", "google-cloud-vision"),
        ("some_thing", "import some_thing", "some-thing"),
    ],
)
def test_names_that_differ_are_known_without_any_index(tmp_path, module, source, expected):
    assert provider(case(tmp_path, source), 0, module).name == expected


def test_the_wheel_in_the_index_confirms_a_name(tmp_path, index):
    index.add("some-thing", "2.0", {"some_thing/__init__.py": ""})
    found = provider(case(tmp_path, "import some_thing", asks=True), 0, "some_thing")
    assert found.exists
    assert "the wheel of some-thing 2.0" in found.how


def test_a_name_that_the_index_lacks_is_not_to_be_installed(tmp_path, index):
    found = provider(case(tmp_path, "import our_own", asks=True), 0, "our_own")
    assert not found.exists


def test_a_distribution_of_that_name_with_other_modules_is_not_taken(tmp_path, index):
    index.add("some-thing", "2.0", {"quite_another/__init__.py": ""})
    found = provider(case(tmp_path, "import some_thing", asks=True), 0, "some_thing")
    assert "nothing confirms" in found.how


def test_an_index_that_does_not_answer_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    releases.forget()
    assert provider(case(tmp_path, "import skimage", asks=True), 0, "skimage").exists
    releases.forget()


def test_a_servers_opencv_is_the_one_without_windows(tmp_path, monkeypatch):
    from mlrepro_nb.verify.attribute import providers

    monkeypatch.setattr(providers, "_installed", lambda _: None)
    assert provider(case(tmp_path, "import cv2\ncv2.imread('a')"), 0, "cv2").name == (
        "opencv-python-headless"
    )
    assert provider(case(tmp_path, "import cv2\ncv2.imshow('a', b)"), 0, "cv2").name == (
        "opencv-python"
    )


def test_every_kind_of_file_says_what_it_asks_for(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[project]\ndependencies=['one>=1']\n[project.optional-dependencies]\nx=['two']\n"
        "[tool.poetry.dependencies]\npython='^3'\nthree='^1.2'\nfour={version='1.5'}\n"
    )
    (tmp_path / "environment.yml").write_text(
        "dependencies:\n- python=3.9\n- conda-forge::five=1.2=h1\n- pip:\n  - six-x==1\n"
    )
    (tmp_path / "setup.cfg").write_text("[options]\ninstall_requires =\n  seven\n  eight<2\n")
    (tmp_path / "setup.py").write_text("setup(install_requires=['nine', \"ten>1\"])")
    (tmp_path / "Pipfile").write_text("[packages]\neleven = '*'\n")
    found = {name: asked.text for name, asked in declared(tmp_path).items()}
    assert found == {
        "one": "one>=1", "two": "two", "three": "three", "four": "four==1.5", "five": "five==1.2",
        "six-x": "six-x==1", "seven": "seven", "eight": "eight<2", "nine": "nine", "ten": "ten>1",
        "eleven": "eleven",
    }  # fmt: skip


@given(st.text(), st.sampled_from(["requirements.txt", "pyproject.toml", "environment.yml",
                                   "setup.cfg", "setup.py", "Pipfile"]))  # fmt: skip
def test_no_file_is_too_odd_to_be_read(tmp_path_factory, text, name):
    folder = tmp_path_factory.mktemp("odd")
    (folder / name).write_text(text, encoding="utf-8", errors="replace")
    assert all(asked.file == name for asked in declared(folder).values())


# --- names that are gone


def test_the_last_wheel_that_had_a_module_is_found(tmp_path, index):
    for number in range(12):
        files = {"demo/__init__.py": ""} | ({"demo/old/__init__.py": ""} if number < 5 else {})
        index.add("demo", f"1.{number}", files)
    found = last_version(case(tmp_path, "1", asks=True), "demo.old", "demo", "demo", "1.11")
    assert found.version == "1.4"
    assert "1.5 has not" in found.how


def test_the_last_wheel_that_had_a_name_is_found(tmp_path, index):
    for number in range(7):
        index.add("demo", f"1.{number}", {"demo/io.py": "def load(): pass\n" if number < 6 else ""})
    told = case(tmp_path, "1", asks=True)
    assert last_version(told, "demo.io.load", "demo", "demo", "1.6").version == "1.5"
    assert last_version(told, "demo.io.never", "demo", "demo", "1.6") is None


def test_what_only_running_it_would_tell_is_left_open(tmp_path, index):
    index.add("demo", "1.0", {"demo/__init__.py": "from demo.more import *\n"})
    index.add("demo", "1.1", {"demo/__init__.py": ""})
    assert last_version(case(tmp_path, "1", asks=True), "demo.x", "demo", "demo", "1.1") is None


def test_well_known_names_need_no_index(tmp_path):
    told = case(tmp_path, "1")
    found = last_version(told, "numpy.float", "numpy", "numpy", "2.0.0")
    assert (found.name, found.version) == ("numpy", "1.23.5")
    assert last_version(told, "numpy.float", "numpy", "numpy", "1.20.0") is None
    found = last_version(told, "DataFrame.append", "pandas", "pandas", "2.2.0")
    assert (found.name, found.version) == ("pandas", "1.5.3")
    found = last_version(told, "sklearn.externals.joblib", "sklearn", "scikit-learn", "1.5")
    assert found.version == "0.22.2.post1"


@pytest.mark.parametrize(
    ("source", "found"),
    [("def x(): pass", True), ("class x: pass", True), ("x = 1", True), ("import a as x", True),
     ("from a import x", True), ("y = 1", False), ("from a import *", None),
     ("def __getattr__(n): pass", None), ("__all__ = ['x']", None), ("print 1; x", True),
     ("print 1", None)],
)  # fmt: skip
def test_a_source_gives_itself_names(source, found):
    assert binds(source, "x") is found
