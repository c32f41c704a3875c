"""Tools that are not Python can read what we write."""

import json

import jsonschema  # of nbformat
import pytest

from mlrepro_nb.model import DOCUMENTS, canonical
from mlrepro_nb.schemas import published, render
from tests.records import a_record


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_published_schema_is_that_of_the_model(kind: str) -> None:
    assert published(kind) == render(kind), "run: python -m mlrepro_nb.schemas"


def test_a_record_follows_its_schema() -> None:
    record = json.loads(canonical(a_record()))
    jsonschema.validate(record, json.loads(published("record")))
    del record["code"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(record, json.loads(published("record")))
