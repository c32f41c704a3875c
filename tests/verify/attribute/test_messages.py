"""What a shell, its programs and IPython say instead of raising."""

import pytest

from mlrepro_nb.verify.attribute import Case, Seen
from mlrepro_nb.verify.attribute.exceptions import cause_of_error, cause_of_message


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def an_error(ename, evalue):
    return {"output_type": "error", "ename": ename, "evalue": evalue, "traceback": []}


def a_case(folder, *sources):
    cells = {
        index: Seen(index=index, id=None, source=source, reference=[stream("before\n")], stored=(),
                    count=index + 1, executed=True, compared=True)
        for index, source in enumerate(sources)
    }  # fmt: skip
    return Case(cells, record=None, rerun=None, root=folder, folder=folder,
                notebook=folder / "a.ipynb")  # fmt: skip


@pytest.mark.parametrize(
    ("source", "said", "kind", "subject"),
    [
        ("!head -3 a.csv", "head: cannot open 'a.csv' for reading: No such file or directory\r\n",
         "missing-file", "a.csv"),
        ("!cat data/a.csv | wc -l", "cat: data/a.csv: No such file or directory\r\n0\r\n",
         "missing-file", "data/a.csv"),
        ("x = !cat a.csv\nprint(x)", "['cat: a.csv: No such file or directory']\n",
         "missing-file", "a.csv"),
        ("!ls -l data", "ls: cannot access 'data': No such file or directory\n",
         "missing-file", "data"),
        ("!python train.py", "python: can't open file 'train.py': [Errno 2] No such file or "
         "directory\n", "missing-file", "train.py"),
        ("%%bash\ncat a.csv", "cat: a.csv: No such file or directory\n", "missing-file", "a.csv"),
        ("!cat /home/al/a.csv", "cat: /home/al/a.csv: No such file or directory\n",
         "absolute-path", "/home/al/a.csv"),
        ("!tree .", "/bin/bash: line 1: tree: command not found\r\n", "system-binary", "tree"),
        ("!tree .", "sh: 1: tree: not found\n", "system-binary", "tree"),
        ("!wget https://x.org/a", "wget: unable to resolve host address 'x.org'\n", "remote-data",
         "cell 0"),
        ("!python train.py", 'Traceback (most recent call last):\n  File "train.py", line 1, in '
         "<module>\n    import urllib2\nModuleNotFoundError: No module named 'urllib2'\n",
         "python2", "urllib2"),
    ],
)  # fmt: skip
def test_what_a_shell_says_is_a_cause(tmp_path, source, said, kind, subject):
    case = a_case(tmp_path, source)
    case.cells[0].outputs = [stream(said)]
    found = cause_of_message(case, 0)
    assert (found.kind, found.subject) == (kind, subject)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("print(text)", "cat: a.csv: No such file or directory\n"),
        ("!make", "make: Nothing to be done for 'all'.\n"),
        ("!echo before; cat a", "before\n"),
    ],
)
def test_what_is_no_complaint_of_a_shell_is_none(tmp_path, source, said):
    case = a_case(tmp_path, source)
    case.cells[0].outputs = [stream(said)]
    assert cause_of_message(case, 0) is None


def test_what_it_said_in_the_reference_too_is_none(tmp_path):
    case = a_case(tmp_path, "!cat a.csv; date")
    case.cells[0].reference = [stream("cat: a.csv: No such file or directory\nMonday\n")]
    case.cells[0].outputs = [stream("cat: a.csv: No such file or directory\r\nSunday\r\n")]
    assert cause_of_message(case, 0) is None


def test_a_script_that_a_cell_magic_runs_tells_more_than_its_exit_status(tmp_path):
    case = a_case(tmp_path, "%%bash\ncat a.csv")
    error = an_error("CalledProcessError", "Command 'b'cat a.csv'' returned non-zero exit status 1")
    case.cells[0].outputs = [stream("cat: a.csv: No such file or directory\n", "stderr"), error]
    found = cause_of_error(case, 0, error)
    assert (found.kind, found.subject) == ("missing-file", "a.csv")


UNKNOWN = "UsageError: Line magic function `%watermark` not found.\n"


def test_an_unknown_magic_is_due_to_the_extension_that_did_not_load(tmp_path):
    case = a_case(tmp_path, "%load_ext watermark", "%watermark -v")
    case.cells[0].error = an_error("ModuleNotFoundError", "No module named 'watermark'")
    case.cells[1].outputs = [stream(UNKNOWN, "stderr")]
    found = cause_of_message(case, 1)
    assert found == cause_of_error(case, 0, case.cells[0].error)
    assert (found.kind, found.cell, found.subject) == ("undeclared-dependency", 0, "watermark")


def test_a_magic_that_no_cell_loads_is_a_deleted_definition(tmp_path):
    case = a_case(tmp_path, "%watermark -v")
    case.cells[0].outputs = [stream(UNKNOWN, "stderr")]
    found = cause_of_message(case, 0)
    assert (found.kind, found.subject) == ("deleted-definition", "%watermark")
    assert "%load_ext watermark" in found.fix
