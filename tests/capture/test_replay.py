"""An unseeded run, run again with its own entropy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner

from mlrepro_nb.capture.randomness.replay import Replay, document
from mlrepro_nb.errors import UsageError
from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import Record, Verification
from mlrepro_nb.record import record
from mlrepro_nb.store import Store
from mlrepro_nb.verify import verify
from tests.conftest import framework


def notebook(path: Path, *cells: str) -> Path:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "p", "language": "python"}
    nbformat.write(nb, path)
    return path


def verdicts(found: Verification) -> list[str]:
    return [cell.verdict for cell in found.cells]


def test_an_unseeded_notebook_is_repeated_bit_for_bit(repository: Path) -> None:
    path = notebook(
        repository / "n.ipynb",
        "import copy, random, time\nimport numpy as np\nnp.random.rand()",
        "random.random(), random.gauss(0, 1)",
        "random.gauss(0, 1), np.random.randn()",
        "np.random.randn()",
        "g = np.random.default_rng(); h = np.random.RandomState(); k = np.random.RandomState(42)\n"
        "g.random(), h.rand(), k.rand(), np.random.default_rng().random()",
        "[np.random.default_rng().random() for _ in range(5)], np.random.SeedSequence().entropy",
        "r = random.Random(); s = random.Random(7)\n"
        "r.random(), random.Random().random(), copy.deepcopy(r).random(), s.random()",
        "np.random.seed(); np.random.rand()",
        "random.seed(); random.random()",
        "np.random.seed(int(time.time())); np.random.rand()",
        "random.seed(time.time_ns()); random.random()",
        "from sklearn.ensemble import RandomForestClassifier\nX = np.random.rand(60, 3)\n"
        "RandomForestClassifier(5).fit(X, X[:, 0] > .5).predict_proba(X)[:3]",
        "import pandas as pd\npd.DataFrame({'a': range(9)}).sample(3)",
        "h.rand(), g.random(), r.random()",
    )
    _, made = record(path)
    assert "unseeded" in made.randomness.cells.values()
    assert set(verdicts(verify(path, replay=True))) == {"bitwise"}
    plain = verdicts(verify(path))
    assert "different" in plain, "else this test shows nothing"
    rerun = verify(path, replay=True).rerun
    again = Store.find(repository).get(Record, rerun or "")
    assert "replay" in {seed.source for seed in again.randomness.seeds}
    assert "unseeded" not in again.randomness.cells.values(), "what was fed back is a seed"


def test_torch_and_jax_are_repeated_too(repository: Path) -> None:
    framework("torch")
    framework("jax")
    path = notebook(
        repository / "n.ipynb",
        "import torch, time\ntorch.rand(2)",
        "torch.nn.Linear(2, 2).weight",
        "torch.seed(), torch.rand(1)",
        "list(torch.utils.data.DataLoader(range(5), shuffle=True))",
        "import jax\njax.random.normal(jax.random.key(time.time_ns() % 2**32), (2,))",
    )
    record(path)
    assert set(verdicts(verify(path, replay=True))) == {"bitwise"}


def test_a_live_session_is_repeated_top_to_bottom(repository: Path, kernel: Any) -> None:
    """Cells that ran out of order and again: the last run of each is fed back."""
    cells = [
        "import numpy as np\nimport random",
        "np.random.rand()",
        "np.random.default_rng().random()",
        "np.random.default_rng().random()  # of the same form",
        "random.random()",
    ]
    path = notebook(repository / "n.ipynb", "%load_ext mlrepro_nb", *cells)
    ids = [cell.id for cell in nbformat.read(path, 4).cells]
    k = kernel(JPY_SESSION_NAME=str(path), MLREPRO_NOTEBOOK=str(path))
    k.run("%load_ext mlrepro_nb", cell=ids[0])
    outputs: dict[int, str] = {}
    for index in (1, 3, 2, 2, 5, 4, 2, 3, 5):
        outputs[index] = k.run(cells[index - 1], cell=ids[index])["text"]
    k.close()
    nb = nbformat.read(path, 4)
    for index, text in outputs.items():
        nb.cells[index].execution_count = index
        if text:
            nb.cells[index].outputs = [
                nbformat.v4.new_output(
                    "execute_result", data={"text/plain": text}, execution_count=index
                )
            ]
    nbformat.write(nb, path)
    found = verify(path, replay=True)
    # Random numbers that agree to the ninth digit are the same.
    assert set(verdicts(found)[1:]) <= {"bitwise", "within-tolerance"}, found.cells


def test_where_a_run_draws_otherwise_it_draws_anew(repository: Path) -> None:
    path = notebook(
        repository / "n.ipynb",
        "import numpy as np, os\nmore = os.environ.get('MORE')",
        "a = [np.random.default_rng().random() for _ in range(3 if more else 1)]\na[0], len(a)",
        "np.random.default_rng().random()",
    )
    record(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORE", "1")
        found = verify(path, replay=True)
    assert [c.detail for c in found.cells if c.index == 1] != [None]
    assert found.cells[2].verdict == "bitwise", "each cell begins at its own place"
    again = Store.find(repository).get(Record, found.rerun or "")
    assert any("drew more from the system" in gap for gap in again.lineage.gaps)


def test_keys_and_identifiers_are_not_repeated(repository: Path) -> None:
    path = notebook(repository / "n.ipynb", "import uuid, secrets", "uuid.uuid4().hex")
    _, made = record(path)
    assert made.randomness.replay is None
    with pytest.raises(UsageError, match="keeps nothing"):
        verify(path, replay=True)


def test_a_seeded_run_has_nothing_to_feed_back(repository: Path) -> None:
    path = notebook(repository / "n.ipynb", "import random\nrandom.seed(1)\nrandom.random()")
    done = CliRunner().invoke(main, ["verify", str(path), "--replay"])
    assert done.exit_code == 2
    assert "mlrepro record" in done.output
    record(path)
    done = CliRunner().invoke(main, ["verify", str(path), "--replay"])
    assert done.exit_code == 0
    assert "nothing to feed back" in done.output


def test_a_child_kernel_is_not_fed(repository: Path) -> None:
    path = notebook(
        repository / "n.ipynb",
        "import numpy as np, os\nnp.random.default_rng().random()",
        "'MLREPRO_REPLAY' in os.environ",
    )
    record(path)
    assert set(verdicts(verify(path, replay=True))) == {"bitwise"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 9, "sections": []}', "nonsense"])
def test_a_damaged_file_is_a_gap(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.json").write_text(content, "utf-8")
    monkeypatch.setenv("MLREPRO_REPLAY", str(tmp_path / "r.json"))
    gaps: list[str] = []
    replay = Replay.from_environment(gaps.append)
    assert not replay.on
    assert "cannot be fed back" in gaps[0]


def test_of_a_cell_that_ran_again_the_last_run_counts() -> None:
    def section(cell: int | None, digest: str, value: str) -> dict[str, Any]:
        feed = [{"numpy": 128, "value": value}]
        return {"cell": cell, "digest": digest, "feed": feed, "states": {}}

    told = document([section(1, "d", "a"), section(0, "d", "b"), section(1, "d", "c")])
    replay = Replay(json.loads(told or b"{}")["sections"], lambda gap: None)
    fed = []
    for _ in range(3):
        replay.begin("d")
        entry = replay.take("numpy")
        fed.append(entry and entry["value"])
    assert fed == ["b", "c", None]
    assert document([]) is None
