"""Inputs that git saw change after the notebook and its outputs were committed."""

import subprocess

import pytest

from mlrepro_nb.verify.attribute import Case, Seen
from mlrepro_nb.verify.attribute.versioned import committed_since


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True,
        capture_output=True,
    )  # fmt: skip


def commit(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")


@pytest.fixture
def project(tmp_path):
    git(tmp_path, "init", "-q")
    commit(tmp_path, nb__a_ipynb="{}", data__a_csv="1\n")
    return tmp_path


def found(project, *sources):
    cells = {
        index: Seen(index=index, id=None, source=source, reference=(), stored=(), count=index + 1,
                    executed=True, compared=True)
        for index, source in enumerate(sources)
    }  # fmt: skip
    case = Case(cells, record=None, rerun=None, root=project, folder=project / "nb",
                notebook=project / "nb" / "a.ipynb")  # fmt: skip
    made = committed_since(case, len(sources) - 1)
    return made and (made.kind, made.cell, made.subject)


READ = ("path = '../data/a.csv'", "text = open(path).read()", "print(text)")


def test_an_input_that_was_changed_after_the_notebook_is_changed_data(project):
    assert found(project, *READ) is None
    commit(project, data__a_csv="2\n")
    assert found(project, *READ) == ("changed-data", 0, "../data/a.csv")
    assert found(project, *READ, "print(1)") is None, "what does not read it is not its fault"


def test_what_nobody_has_committed_yet_counts_too(project):
    (project / "data" / "a.csv").write_text("3\n")
    assert found(project, *READ) == ("changed-data", 0, "../data/a.csv")


def test_a_notebook_that_was_changed_since_ran_with_what_is_there(project):
    commit(project, data__a_csv="2\n")
    commit(project, nb__a_ipynb="{ }")
    assert found(project, *READ) is None
    (project / "data" / "a.csv").write_text("3\n")
    (project / "nb" / "a.ipynb").write_text("{  }")
    assert found(project, *READ) is None


def test_a_file_that_git_knew_only_later_may_be_the_one_that_it_ran_with(project):
    commit(project, data__b_csv="1\n")
    assert found(project, "print(open('../data/b.csv').read())") is None
    listing = "import os\nprint(os.listdir('../data'))"
    assert found(project, listing) == ("changed-data", 0, "../data")


def test_what_the_notebook_writes_itself_is_no_input(project):
    commit(project, data__a_csv="2\n")
    assert found(project, "open('../data/a.csv', 'w').write('1')", READ[1], READ[2]) is None


def test_files_of_a_pattern_and_modules_that_git_saw_change(project):
    commit(project, data__b_csv="1\n", nb__tools_py="A = 1\n")
    commit(project, nb__a_ipynb="{ }")
    listing = "from pathlib import Path\nprint(sorted(Path('../data').glob('*.csv')))"
    assert found(project, listing) is None
    commit(project, data__notes_txt="x\n")
    assert found(project, listing) is None, "it does not list that"
    commit(project, data__c_csv="1\n")
    assert found(project, listing) == ("changed-data", 0, "../data/*.csv")
    assert found(project, "import tools", "print(tools.A)") is None
    commit(project, nb__tools_py="A = 2\n")
    assert found(project, "import tools", "print(tools.A)") == ("local-edit", 0, "tools.py")
    assert found(project, "import tools", "print(1)") is None


def test_without_git_nothing_is_known(tmp_path):
    (tmp_path / "nb").mkdir()
    assert found(tmp_path, *READ) is None
