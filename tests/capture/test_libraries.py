"""The shared libraries in the process, and whose they are."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.capture.environment import libraries


def test_the_c_library_is_the_operating_systems(
    kernel: Callable[..., Any], repository: Path
) -> None:
    live = kernel()
    live.run("%load_ext mlrepro_nb")
    live.run("import numpy")
    live.close()
    found = {library.name: library for library in live.record().environment.libraries}
    libc = found["libc.so.6"]
    if shutil.which("dpkg-query"):
        assert libc.package == "libc6"
        assert libc.version
    assert not [name for name in found if "openblas" in name], "a wheel's own library"


def test_both_blas_builds_of_one_process_are_told(
    kernel: Callable[..., Any], repository: Path
) -> None:
    live = kernel()
    live.run("%load_ext mlrepro_nb")
    live.run("import numpy, scipy.linalg")
    live.close()
    pools = [p for p in live.record().environment.threadpools if p.api == "blas"]
    assert len(pools) == 2
    assert all(pool.threads for pool in pools)


def test_a_library_that_nobody_owns_is_known_by_its_content(tmp_path: Path) -> None:
    real = Path(next(p for p in libraries.mapped() if "libc.so" in p or "libc-" in p))
    own = tmp_path / "libown.so.1"
    own.write_bytes(b"not really a library")
    gone = tmp_path / "libgone.so"
    found = {entry.name: entry for entry in libraries.libraries([str(own), str(gone), str(real)])}
    assert found["libown.so.1"].package is None
    assert str(found["libown.so.1"].digest).startswith("blake3:")
    assert found["libgone.so"].digest is None
    assert found[real.name].digest is None or found[real.name].package is None


def test_libraries_of_one_name_from_two_places_are_both_told(tmp_path: Path) -> None:
    paths = []
    for number in "12":
        (tmp_path / number).mkdir()
        (tmp_path / number / "libx.so").write_text(number)
        paths.append(str(tmp_path / number / "libx.so"))
    assert len(libraries.libraries(paths)) == 2


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_library_that_was_replaced_after_it_was_loaded_is_still_named(tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text("int x(void) { return 1; }\n")
    library = tmp_path / "libmlreprotest.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    ctypes.CDLL(str(library))
    library.unlink()
    assert str(library) in libraries.mapped()
