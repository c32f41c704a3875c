"""What cells are marked with, and what a sanitize file says, as nbval reads both."""

import warnings

import nbformat
import nbformat.v4 as v4
import pytest

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import REPRODUCED
from mlrepro_nb.verify import verify
from mlrepro_nb.verify.compare import Context, compare_cell
from mlrepro_nb.verify.marks import Marks, read_after, read_marks
from mlrepro_nb.verify.sanitize import read_sanitize

CELLS = {
    "x": Marks(),
    "# NBVAL_IGNORE_OUTPUT\nx": Marks(check=False),
    "#NBVAL_IGNORE_OUTPUT": Marks(check=False),
    "  ## NBVAL_CHECK_OUTPUT  \nx": Marks(check=True),
    "x\n# NBVAL_SKIP": Marks(skip=True),
    "# NBVAL_RAISES_EXCEPTION": Marks(raises=True),
    "# NBVAL_IGNORE_OUTPUT\n# NBVAL_RAISES_EXCEPTION": Marks(check=False, raises=True),
    "# PYTEST_VALIDATE_IGNORE_OUTPUT": Marks(check=False),
    "# NBVAL_IGNORE_OUTPUT\n# NBVAL_CHECK_OUTPUT": Marks(check=True),
    "# see NBVAL_SKIP": Marks(),
    "print('NBVAL_SKIP')": Marks(),
    "x  # NBVAL_SKIP": Marks(),
    "# nbval_skip": Marks(),
}
TAGS = {
    ("nbval-ignore-output",): Marks(check=False),
    ("nbval-check-output",): Marks(check=True),
    ("nbval-raises-exception",): Marks(raises=True),
    ("raises-exception",): Marks(raises=True),
    ("nbval-skip", "other"): Marks(skip=True),
    ("NBVAL_SKIP",): Marks(),
    ("hide-input",): Marks(),
}
SANITIZE = """\
A comment of any kind.
[dates]
regex: \\d{1,2}/\\d{1,2}/\\d{2,4}
replace: DATE-STAMP

[times]
regex: \\d{2}:\\d{2}:\\d{2}
replace: TIME-STAMP
regex: (<\\w+ at )(0x[0-9a-f]+)(>)
replace: \\1ADDRESS\\3
"""


def cell(source, tags=()):
    return {"source": source, "metadata": {"tags": list(tags)} if tags else {}}


AFTER = {
    "": {},
    "x = 2\ny = 'it\\'s'": {"mock": {"x": 2, "y": "it's"}},
    "z = {'a': [None, True]}": {"mock": {"z": {"a": [None, True]}}},
    "x = 1\nassert x\nprint(x)": {"mock": {"x": 1}, "post_cell_execute": ["assert x", "print(x)"]},
}


@pytest.mark.parametrize("source", AFTER)
def test_what_nbmake_runs_after_a_cell(source):
    assert read_after({"source": "", "metadata": {"nbmake": AFTER[source]}}).replace(
        '"it\'s"', "'it\\'s'") == source  # fmt: skip


@pytest.mark.parametrize(
    "metadata", [None, {}, {"nbmake": None}, {"nbmake": []},
                 {"nbmake": {"mock": 1, "post_cell_execute": 2}}],
)  # fmt: skip
def test_metadata_that_is_not_nbmakes_asks_for_nothing(metadata):
    assert read_after({"source": "", "metadata": metadata}) == ""


@pytest.mark.parametrize("source", CELLS)
def test_comments(source):
    assert read_marks(cell(source)) == CELLS[source]
    assert read_marks(cell(source.splitlines(keepends=True))) == CELLS[source]


@pytest.mark.parametrize("tags", TAGS)
def test_tags(tags):
    assert read_marks(cell("x", tags)) == TAGS[tags]


def test_a_comment_decides_over_a_tag():
    marked = cell("# NBVAL_CHECK_OUTPUT", ["nbval-ignore-output", "raises-exception"])
    assert read_marks(marked) == Marks(check=True, raises=True)


def test_nbclient_and_nbmake_skip_with_a_tag_of_their_own():
    assert read_marks(cell("x", ["skip-execution"])) == Marks(skip=True)


def test_metadata_that_is_not_as_it_should_be():
    assert read_marks({"source": None, "metadata": {"tags": "nbval-skip"}}) == Marks()
    assert read_marks({"metadata": {"tags": [1, None]}}) == Marks()


def test_nbval_reads_the_same():
    plugin = pytest.importorskip("nbval.plugin")

    def theirs(one):
        with warnings.catch_warnings(record=True):
            options = dict(plugin.find_metadata_tags(one["metadata"]))
            options.update(plugin.find_comment_markers(one["source"]))
        return Marks(
            check=options.get("check"), raises=options.get("check_exception", False),
            skip=options.get("skip", False),
        )  # fmt: skip

    cells = [cell(source) for source in CELLS] + [cell("x", tags) for tags in TAGS]
    cells += [cell(source, tags) for source in CELLS for tags in TAGS]
    for one in cells:
        assert read_marks(one) == theirs(one), one


def test_nbval_reads_the_same_substitutions(tmp_path):
    plugin = pytest.importorskip("nbval.plugin")
    path = tmp_path / "sanitize.cfg"
    path.write_text(SANITIZE)
    ours = [(pattern.pattern, replacement) for pattern, replacement in read_sanitize(path)]
    assert ours == plugin.get_sanitize_patterns(SANITIZE)


def test_substitutions_are_carried_out_on_every_text(tmp_path):
    path = tmp_path / "sanitize.cfg"
    path.write_text(SANITIZE)
    context = Context(sanitize=read_sanitize(path))

    def printed(*texts):
        return [
            {"output_type": "stream", "name": "stdout", "text": texts[0]},
            {"output_type": "display_data", "data": {"text/plain": texts[-1]}, "metadata": {}},
        ]

    before, after = printed("The time is: 15:28:30"), printed("The time is: 09:00:01")
    assert compare_cell(before, after).level == "different"
    assert compare_cell(before, after, context).level == "within-tolerance"
    other = printed("The date is: 09:00:01")
    assert compare_cell(before, other, context).level == "different"
    raised = [{"output_type": "error", "ename": "E", "evalue": f"at 12:00:0{n}"} for n in (1, 2)]
    assert compare_cell(raised[:1], raised[1:]).level == "different"
    assert compare_cell(raised[:1], raised[1:], context).level == "within-tolerance"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("[only a heading]", "holds no substitutions"),
        ("regex: (\nreplace: x\n", "not a substitution"),
        ("regex: a\nreplace: \\1\n", "not a substitution"),
    ],
)
def test_a_sanitize_file_that_is_none(tmp_path, text, said):
    path = tmp_path / "sanitize.cfg"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_sanitize(path)


# nbval's documented examples: what a cell printed, what a rerun gives, whether it passes.
EXAMPLES = {
    "deterministic": ("7\n", "7\n", True),
    "random": ("[0.36133679016382714, 0.5043774697891126]\n", "[0.23, 0.27]\n", False),
    "another number of lines": ("1\n1\n1\n", "1\n1\n1\n1\n1\n", False),
    "the time, sanitized": ("The time is: 15:28:30\n", "The time is: 01:02:03\n", True),
    "the date, sanitized": ("Today's date is: 21/12/16\n", "Today's date is: 02/01/27\n", True),
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_documented_examples_pass_and_fail_alike(tmp_path, example):
    path = tmp_path / "sanitize.cfg"
    path.write_text(SANITIZE)
    before, after, passes = example
    outputs = [
        [{"output_type": "stream", "name": "stdout", "text": text}] for text in (before, after)
    ]
    context = Context(sanitize=read_sanitize(path))
    assert (compare_cell(*outputs, context).level != "different") is passes


def test_a_notebook_with_marks_is_verified_as_it_asks(folder):
    def executed(source, outputs, tags=()):
        made = v4.new_code_cell(source, outputs=outputs, execution_count=1)
        made.metadata["tags"] = list(tags)
        return made

    def printed(text):
        return v4.new_output("stream", text=text)

    def error(name, value):
        return v4.new_output("error", ename=name, evalue=value, traceback=[])

    raises = "# NBVAL_RAISES_EXCEPTION\nraise RuntimeError('Foo')"
    nb = v4.new_notebook(cells=[
        executed("print(5 + 2)", [printed("7\n")]),
        executed("# NBVAL_SKIP\nwhile True:\n    pass", [printed("for ever\n")]),
        executed("import os\nprint(os.urandom(4).hex())", [printed("ab12cd34\n")],
                 ["nbval-ignore-output"]),
        executed(raises, [error("RuntimeError", "Foo")]),
        executed("# NBVAL_IGNORE_OUTPUT\n" + raises, [error("KeyError", "'a'")]),
        executed("import time\nprint(time.strftime('%H:%M:%S'))", [printed("15:28:30\n")]),
    ])  # fmt: skip
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    path, sanitize = folder / "marked.ipynb", folder / "sanitize.cfg"
    path.write_text(nbformat.writes(nb))
    sanitize.write_text(SANITIZE)
    found = verify(path, sanitize=sanitize)
    assert found.verdict in REPRODUCED, found
    # What raises something else than it did is a difference.
    nb.cells[3].outputs = [error("SyntaxError", "Foo")]
    nb.cells = nb.cells[3:4]
    path.write_text(nbformat.writes(nb))
    assert verify(path).verdict == "different"


def test_what_is_ignored_is_no_difference():
    def out(text, page, printed):
        return [
            {"output_type": "stream", "name": "stderr", "text": printed},
            {"output_type": "display_data", "data": {"text/html": page, "text/plain": text}},
        ]

    context = Context(ignore=frozenset({"stderr", "text/html"}))
    old = out("1", "<b>1</b>", "here")
    assert compare_cell(old, out("1", "<b>2</b>", "there"), context).level != "different"
    assert compare_cell(old, out("2", "<b>1</b>", "here"), context).level == "different"
    assert compare_cell(old, old[1:], context).level != "different"


def test_of_a_formula_the_source_decides_not_the_picture_made_of_it():
    def out(formula, picture):
        return [{"output_type": "display_data", "data": {
            "text/latex": formula, "image/png": picture, "text/plain": "x"}}]  # fmt: skip

    old = out("$x$", "AAAA")
    assert compare_cell(old, out("$x$", "BBBB")).level == "within-tolerance"
    assert compare_cell(old, out("$y$", "AAAA")).level == "different"
