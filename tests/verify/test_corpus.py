"""Each planted fault is found and named with its cell; what is harmless gives no cause."""

import hashlib

import pytest
from corpus import build
from reference import plant

from mlrepro_nb.model import CAUSES, REPRODUCED
from mlrepro_nb.verify import verify

FAULTS = [fault for fault in build() if not fault.slow]
KINDS = {kind for group in CAUSES.values() for kind in group}


def tree(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not {".mlrepro", ".git"} & set(path.parts)
    }


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_fault(fault, folder, reference_kernel):
    path = plant(fault, folder, reference_kernel)
    before = tree(folder)
    found = verify(path)
    assert tree(folder) == before, "a rerun changes nothing of the project"
    causes = [(cause.kind, cause.cell) for cause in found.causes]
    told = [(cell.index, cell.verdict, cell.detail) for cell in found.cells]
    if fault.expect is None:
        assert found.verdict in REPRODUCED, (told, found.causes)
        assert not causes
    else:
        assert found.verdict not in REPRODUCED, told
        assert causes == [fault.expect, *fault.also], (told, found.causes)
        assert all(cause.kind in KINDS and cause.evidence and cause.fix for cause in found.causes)


def test_the_corpus_has_variants_of_every_cause_that_is_promised():
    promised = {
        "out-of-order", "deleted-definition", "edited-after-run", "edited-output", "missing-file",
        "changed-data", "absolute-path", "undeclared-dependency", "unseeded-randomness", "clock",
        "output-loss",
    }  # fmt: skip
    for kind in promised:
        assert len([f for f in FAULTS if f.expect and f.expect[0] == kind]) >= 2, kind
    assert len([f for f in FAULTS if f.expect is None]) >= 15
