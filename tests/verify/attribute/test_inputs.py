"""What cells take in from the project, as the rerun saw it and as the source spells it."""

import msgspec
import pytest

from mlrepro_nb.model import DataAccess
from mlrepro_nb.verify.attribute import Case, Seen
from mlrepro_nb.verify.attribute.inputs import folder_of, inputs, listing, named, written
from tests.records import a_record


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    for name in ("nb/a.ipynb", "data/a.csv", "data/b.csv", "data/made.csv", "nb/c.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1")
    (tmp_path / "cache.csv").write_text("1")
    return root


def a_case(project, *sources, data=()):
    cells = {
        index: Seen(index=index, id=None, source=source, reference=(), stored=(), count=index + 1,
                    executed=True, compared=True)
        for index, source in enumerate(sources)
    }  # fmt: skip
    rerun = msgspec.structs.replace(a_record(), data=tuple(data))
    return Case(cells, record=None, rerun=rerun, root=project, folder=project / "nb",
                notebook=project / "nb" / "a.ipynb", prefix="/tmp/ws-1")  # fmt: skip


def opened(path, cell, access="read", repo_path=None):
    return DataAccess(path=path, repo_path=repo_path, access=access, cell=cell)


def test_what_the_rerun_opened_and_what_is_spelled(project):
    data = [
        opened("../data/a.csv", 0, repo_path="data/a.csv"),
        opened(f"/tmp/ws-1{project}/data/b.csv", 0),
        opened("../data/made.csv", 0, "write", repo_path="data/made.csv"),
        opened("../data/made.csv", 0, repo_path="data/made.csv"),
        opened(str(project.parent / "cache.csv"), 0),
        opened("https://example.org/a.csv", 0),
        opened("../data/gone.csv", 0, repo_path="data/gone.csv"),
    ]
    case = a_case(project, "f('c.txt')", "g('c.txt', '../data/a.csv')", data=data)
    found = {cell: [given.name for given in inputs(case, cell)] for cell in (0, 1)}
    assert found == {0: ["../data/a.csv", "../data/b.csv", "c.txt"], 1: ["c.txt", "../data/a.csv"]}


def test_files_that_a_cell_writes_or_names_by_place(project):
    case = a_case(project, "df.to_csv('../out.csv')", "open('c.txt')",
                  data=[opened("x.bin", 1, "write", repo_path="nb/x.bin")])  # fmt: skip
    assert written(case, 0) == {project / "out.csv"}
    assert written(case, 1) == {project / "nb" / "x.bin"}
    assert written(case) == written(case, 0) | written(case, 1)
    assert named(case, frozenset({0, 1})) == {project / "out.csv", project / "nb" / "c.txt"}


def test_cells_that_list_a_file_and_the_folder_of_a_pattern(project):
    case = a_case(project, "from pathlib import Path", "Path('../data').glob('*.csv')",
                  "Path('.').rglob('*.txt')")  # fmt: skip
    assert list(listing(case, "../data/new.csv")) == [1]
    assert list(listing(case, "deep/er/new.txt")) == [2]
    assert folder_of(case, "../data/*/x.csv") == project / "data"
    assert folder_of(case, "*.csv") == project / "nb"
