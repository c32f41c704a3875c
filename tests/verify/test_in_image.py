"""`mlrepro verify --env image`: the notebook again, in the image that was built of its record."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest

from mlrepro_nb import image
from mlrepro_nb.errors import NotFoundError
from mlrepro_nb.model import Verification
from mlrepro_nb.record import record
from mlrepro_nb.store import Store
from mlrepro_nb.verify import _image, verify_in_image

pytestmark = pytest.mark.engine


def test_a_record_is_verified_in_its_image(repository: Path, base_image: str) -> None:
    path = repository / "a.ipynb"
    nb = v4.new_notebook(
        cells=[v4.new_code_cell("import random\nrandom.seed(3)\nprint(random.random())")],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    nbformat.write(nb, path)
    with pytest.raises(NotFoundError, match="has no record"):
        verify_in_image(str(path), report=lambda step: None)
    digest = record(path)[0]
    with pytest.raises(NotFoundError, match="No job image was built"):
        verify_in_image(str(path), report=lambda step: None)
    image.build(str(path), base=base_image, builder="oci", load=True, allow_dirty=True)

    found = verify_in_image(str(path), report=lambda step: None)
    assert (found.verdict, found.record) == ("bitwise", digest)
    executed = Path(str(found.executed))
    assert executed.is_relative_to(repository / ".mlrepro")
    assert json.loads(executed.read_text("utf-8"))["cells"][0]["outputs"]
    assert len(Store.find(repository).entries(Verification)) == 1


def test_the_image_is_given_the_data_that_is_here(repository: Path, base_image: str) -> None:
    path = repository / "a.ipynb"
    (repository / "d").mkdir()
    (repository / "d" / "own.csv").write_text("1")
    nb = v4.new_notebook(
        cells=[v4.new_code_cell("print(open('d/own.csv').read())")],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    nbformat.write(nb, path)
    record(path)
    image.build(str(path), base=base_image, builder="oci", load=True, allow_dirty=True)
    assert verify_in_image(str(path), report=lambda step: None).verdict == "bitwise"
    (repository / "d" / "own.csv").write_text("2")
    found = verify_in_image(str(path), report=lambda step: None)
    assert [cause.kind for cause in found.causes] == ["changed-data"]


def test_an_image_gets_nothing_from_above_the_project(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (repository / "a.csv", repository.parent / "key.pem"):
        path.write_text("x")
    items = [{"path": "a.csv"}, {"path": "../key.pem"}, {"path": "d/../../key.pem"}]
    (repository / "d").mkdir()
    listed = {"/app/record/data.json": json.dumps(items).encode()}
    monkeypatch.setattr(_image.docker, "contents", lambda *_: listed)
    assert _image._data("image", repository) == {"/data/a.csv": repository / "a.csv"}
