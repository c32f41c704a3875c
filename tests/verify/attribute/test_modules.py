"""Which of the project's own modules a cell loads."""

from mlrepro_nb.dataflow import Flow, read_cell
from mlrepro_nb.verify.attribute.modules import imported_by


def loaded(tmp_path, files, *cells):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    names = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): tmp_path / name
        for name in files
    }
    return imported_by(Flow([read_cell(i, source) for i, source in enumerate(cells)]), names)


def test_what_a_module_imports_is_loaded_with_it(tmp_path):
    files = {
        "tools/__init__.py": "from .stats import spread\n",
        "tools/stats.py": "def spread(x):\n    from ..tools import other\n    import paths\n",
        "tools/other.py": "",
        "paths.py": "",
        "alone.py": "import tools.gone\n",
    }
    cells = ("import tools", "import alone", "from tools.other import x", "import numpy", "a = ")
    every = ["paths", "tools", "tools.other", "tools.stats"]
    assert loaded(tmp_path, files, *cells) == {
        0: every, 1: ["alone", *every], 2: every, 3: [], 4: [],
    }  # fmt: skip


def test_modules_that_import_each_other_and_what_is_no_python(tmp_path):
    files = {"a.py": "import b", "b.py": "import a\nfrom ....far import x", "c.py": "not python ("}
    assert loaded(tmp_path, files, "import a", "import c") == {0: ["a", "b"], 1: ["c"]}
