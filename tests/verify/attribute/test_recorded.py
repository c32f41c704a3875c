"""What the record of the reference run explains: versions, commits, files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb.errors import NotFoundError
from mlrepro_nb.execute import overlay
from mlrepro_nb.model import DataAccess, Distribution, Record
from mlrepro_nb.store import Store
from mlrepro_nb.verify.attribute import recorded
from mlrepro_nb.verify.attribute.case import Case, Seen
from mlrepro_nb.verify.attribute.environment import recorded_versions
from mlrepro_nb.verify.attribute.paths import missing_file
from tests.records import a_record

ONE, OTHER = "1" * 40, "2" * 40


def a_case(folder: Path, record: Record, rerun: Record, source: str = "import edpkg") -> Case:
    cells = {
        0: Seen(index=0, id=None, source=source, reference=[], stored=[], count=1, executed=True,
                compared=True)
    }  # fmt: skip
    return Case(cells, record=record, rerun=rerun, root=folder, folder=folder,
                notebook=folder / "a.ipynb")  # fmt: skip


def having(**fields: Any) -> Record:
    """Return a record of an environment that has one package, installed in place or not."""
    record = a_record()
    own = Distribution(name="edpkg", version="0.3", imported=True, modules=("edpkg",), **fields)
    environment = msgspec.structs.replace(record.environment, distributions=(own,))
    return msgspec.structs.replace(record, environment=environment)


def test_a_package_of_the_same_version_has_not_drifted_where_its_commit_is_not_known(
    tmp_path: Path,
) -> None:
    # In an image, what was installed in place is a wheel.
    case = a_case(tmp_path, having(origin="editable", commit=ONE), having(origin="wheel"))
    assert recorded.version_drift(case, 0) is None
    assert recorded_versions(case) == {}


def test_a_package_of_the_same_version_and_another_commit_is_told_by_its_commits(
    tmp_path: Path,
) -> None:
    case = a_case(
        tmp_path, having(origin="editable", commit=ONE), having(origin="editable", commit=OTHER)
    )
    found = recorded.version_drift(case, 0)
    assert found is not None
    assert found.evidence == (
        "edpkg was at commit 111111111111 when the notebook was recorded and is at commit "
        "222222222222 now."
    )
    assert "pip install" not in found.fix
    assert f"commit {ONE[:12]}" in found.fix
    assert found.requirement is None


def test_a_lock_that_the_store_lacks_is_called_that(tmp_path: Path) -> None:
    record = a_record()
    environment = msgspec.structs.replace(record.environment, lock=f"sha256:{'c5' * 32}")
    record = msgspec.structs.replace(record, environment=environment)
    with pytest.raises(NotFoundError, match="The store lacks the lock of the recorded environment"):
        overlay.put_back(
            record, Store(tmp_path / "store"), ["numpy"], python="python", folder=tmp_path
        )


NAME = "sub ordner/daten/link.csv"


@pytest.mark.parametrize("there", [True, False])
def test_paths_are_quoted_in_what_is_to_be_typed(tmp_path: Path, *, there: bool) -> None:
    access = DataAccess(
        path=NAME, repo_path=NAME, digest=f"blake3:{'ab' * 32}", size=3, access="read", cell=0,
        execution=0, tracked=True, layers=("audit",),
    )  # fmt: skip
    record = msgspec.structs.replace(a_record(), data=(access,))
    case = a_case(tmp_path, record, record, f"open({NAME!r})")
    if there:
        (tmp_path / NAME).parent.mkdir(parents=True)
        (tmp_path / NAME).write_text("other")
        ((found, _),) = recorded.changed_files(case)
    else:
        found = missing_file(case, 0, NAME, "FileNotFoundError")
    command = found.fix.partition("git ")[2].partition(";")[0].rstrip(".")
    assert shlex.split(command) == ["checkout", "--", NAME]
