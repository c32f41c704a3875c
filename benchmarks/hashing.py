"""What identities of files cost, beside raw BLAKE3, a bare stat walk and DVC.

Every pair is measured in turn, so that noise of the machine falls on both, and the
fastest of several turns counts: what is left is the work itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

BYTES = int(os.environ.get("MLREPRO_BENCH_BYTES", str(2 << 30)))
FILES = int(os.environ.get("MLREPRO_BENCH_FILES", "100000"))
_DVC = [sys.executable, "-m", "dvc"]


def measure() -> list[dict[str, object]]:
    """Return seconds of ours and of what it is held against, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "init", "-q", name], check=True)
        _dvc(folder, "init", "-q")
        return [*_big_file(folder), *_small_files(folder)]


def _big_file(folder: Path) -> list[dict[str, object]]:
    from mlrepro_nb.capture.data.hashing import hash_file

    path = folder / "big.bin"
    block = os.urandom(16 << 20)
    with path.open("wb") as file:
        for _ in range(BYTES // len(block)):
            file.write(block)
    what = f"hash {BYTES / 2**30:g} GiB"

    def raw() -> None:
        blake3().update_mmap(path)

    def ours() -> None:
        assert hash_file(str(path)) is not None

    def with_md5() -> None:
        assert hash_file(str(path), md5=True) is not None

    a, b = _turns(raw, ours, 5)
    row = _row(what, "raw blake3, memory-mapped", a, "mlrepro", b)
    md5 = _timed(with_md5)
    dvc = _timed(lambda: _dvc(folder, "add", "-q", "--no-commit", path.name))
    path.unlink()
    return [row, _row(f"{what}, with md5", "dvc add --no-commit", dvc, "mlrepro", md5)]


def _small_files(folder: Path) -> list[dict[str, object]]:
    from mlrepro_nb.capture.data.trees import hash_tree
    from mlrepro_nb.store import FileDigests

    data = folder / "data"
    for number in range(FILES):
        file = data / str(number // 1000) / f"{number}.bin"
        if number % 1000 == 0:
            file.parent.mkdir(parents=True)
        file.write_bytes(b"%d" % number)
    time.sleep(2.1)  # until then the files count as too young to be known by their status
    cache = FileDigests(folder / "digests.db")
    what = f"{FILES:,} small files"

    def walk() -> None:
        assert _walk(str(data)) == FILES

    def again() -> None:
        assert hash_tree(str(data), cache=cache) == first

    begun = time.perf_counter()
    first = hash_tree(str(data), cache=cache)
    ours = time.perf_counter() - begun
    stat, check = _turns(walk, again, 7)
    add = _timed(lambda: _dvc(folder, "add", "-q", "--no-commit", "data"))
    status = min(_timed(lambda: _dvc(folder, "status", "-q")) for _ in range(2))
    return [
        _row(f"{what}, the first time", "dvc add --no-commit", add, "mlrepro", ours),
        _row(f"{what}, unchanged", "bare stat walk", stat, "mlrepro", check),
        _row(f"{what}, unchanged", "dvc status", status, "mlrepro", check),
    ]


def _walk(folder: str) -> int:
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                count += _walk(entry.path)
            else:
                entry.stat()
                count += 1
    return count


def _dvc(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [*_DVC, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
    )  # fmt: skip
    # `dvc status -q` says by its exit status whether something changed.
    assert done.returncode == 0 or arguments[0] == "status", done.stderr


def _turns(one: Callable[[], None], other: Callable[[], None], rounds: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for index in (0, 1) if turn % 2 else (1, 0):
            times[index].append(_timed((one, other)[index]))
    return min(times[0]), min(times[1])


def _timed(job: Callable[[], None]) -> float:
    begun = time.perf_counter()
    job()
    return time.perf_counter() - begun


def _row(what: str, peer: str, theirs: float, name: str, ours: float) -> dict[str, object]:
    return {
        "what": what,
        "beside": peer,
        "its seconds": round(theirs, 3),
        f"{name}, seconds": round(ours, 3),
        "ratio": round(ours / theirs, 2),
    }
