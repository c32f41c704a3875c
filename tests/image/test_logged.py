"""What stays the same of a model that is trained and logged once more."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.image._logged import digest_of_model

FACTS = "flavors:\n  sklearn: {}\nmodel_id: m-1\nmodel_size_bytes: 10\nmlflow_version: 3.0\n"


def archive(path: Path, first: int, second: int, *, weight: bytes = b"[1.0]") -> Path:
    """Write what skops does of an object with two arrays."""
    node = {"__class__": "ndarray", "__id__": first, "file": f"{first}.npy"}
    schema = {
        "content": {"a": node, "b": {**node, "__id__": second, "file": f"{second}.npy"}},
        "protocol": 2,
    }
    with zipfile.ZipFile(path, "w") as file:
        for name in sorted({f"{first}.npy", f"{second}.npy"}):
            file.writestr(name, weight if name == f"{second}.npy" else b"[0.0]")
        file.writestr("schema.json", json.dumps(schema))
    return path


def test_skops_names_objects_by_addresses_which_are_not_the_model(tmp_path: Path) -> None:
    # Neither are the dates; and which array comes first in the archive is told by its address.
    one, other = archive(tmp_path / "1.skops", 10, 20), archive(tmp_path / "2.skops", 40, 30)
    assert one.read_bytes() != other.read_bytes()
    assert digest_of_model(one) == digest_of_model(other) is not None
    weights = archive(tmp_path / "3.skops", 10, 20, weight=b"[2.0]")
    shared = archive(tmp_path / "4.skops", 10, 10)
    assert len({digest_of_model(path) for path in (one, weights, shared)}) == 3


@pytest.mark.parametrize(
    "content",
    [b"no archive", {"other.json": "{}"}, {"schema.json": "{", "1.npy": ""},
     {"schema.json": "{}", "1.npy": ""}],
)  # fmt: skip
def test_what_is_not_as_skops_writes_it_is_told_by_all_of_it(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "model.skops"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as file:
            for name, text in content.items():
                file.writestr(name, text)
    assert digest_of_model(path) is None


def test_a_damaged_archive_is_told_by_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", json.dumps({"content": "x" * 1000}))
    content = path.read_bytes()
    for at in range(30, 60):  # nothing is raised, whatever is wrong with it
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        digest_of_model(path)
    encrypted = content.rindex(b"PK\1\2") + 8
    path.write_bytes(content[:encrypted] + b"\1" + content[encrypted + 1 :])
    assert digest_of_model(path) is None


def test_a_dictionary_of_the_model_keeps_its_own_keys(tmp_path: Path) -> None:
    digests = set()
    for number, value in enumerate(("1", "2")):
        schema = {"content": {"file": {"__id__": 7, "content": value}}}
        path = tmp_path / f"{number}.skops"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("schema.json", json.dumps(schema))
        digests.add(digest_of_model(path))
    assert len(digests) == 2


def test_a_real_model_that_is_trained_twice_is_one(tmp_path: Path) -> None:
    io = pytest.importorskip("skops.io")
    linear = pytest.importorskip("sklearn.linear_model")
    rows, labels = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]], [0, 0, 1, 1]
    kept = []
    for number, strength in enumerate((1.0, 1.0, 2.0)):
        kept.append(linear.LogisticRegression(C=strength).fit(rows, labels))
        io.dump(kept[-1], tmp_path / f"{number}.skops")
    one, same, other = (digest_of_model(tmp_path / f"{n}.skops") for n in range(3))
    assert one == same is not None
    assert other not in (one, None)


def test_of_mlflow_it_is_not_the_run_nor_the_moment(tmp_path: Path) -> None:
    path = tmp_path / "MLmodel"
    digests = []
    for text in (FACTS, FACTS.replace("m-1", "m-2").replace("10", "11"), FACTS.replace("3.0", "4")):
        path.write_text(text)
        digests.append(digest_of_model(path))
    assert digests[0] == digests[1] != digests[2]
    (tmp_path / "model.pkl").write_bytes(b"x")
    assert digest_of_model(tmp_path / "model.pkl") is None
