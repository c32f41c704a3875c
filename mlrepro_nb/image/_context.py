"""The build context: a folder that holds what the Containerfile copies and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlrepro_nb.connect.oci import EPOCH, Cache, check_folder, digest_of, placing
from mlrepro_nb.image import _local
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image._render import PACKAGES, containerfile, dockerignore, requirements
from mlrepro_nb.model import Report, Step, silent

CONTAINERFILE = "Containerfile"
WHEELS = Path("wheels") / "requirements.txt"
"""The lock of what comes from no index, in the context."""
_SECOND = 1_000_000_000


@contextlib.contextmanager
def context(plan: Plan, keep: Path | None = None, *, report: Report = silent) -> Iterator[Path]:
    """Yield a folder with the build context, deleted at the end unless it is to be kept.

    Raises
    ------
    UsageError
        `keep` is a folder that holds something.
    ToolError
        It cannot be written.
    """
    if keep is not None:
        check_folder(keep)
    folder = Path(tempfile.mkdtemp(prefix="mlrepro-build-"))
    try:
        fill(plan, folder, report=report)
        yield folder
        if keep is not None:
            with placing(keep):
                _copy(folder, keep)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder. Of shutil's own nobody learns what went wrong: it raises a list of texts."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        there = target / path.relative_to(source)
        if path.is_dir():
            there.mkdir(exist_ok=True)
        else:
            shutil.copy2(path, there)


def write_texts(texts: dict[str, str], folder: Path) -> None:
    """Write a preview's texts into a new folder."""
    check_folder(folder)
    with placing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")


def fill(plan: Plan, folder: Path, *, report: Report = silent) -> None:
    """Write the build context into an empty folder."""
    report(Step(message="assembling the build context"))
    texts = {CONTAINERFILE: containerfile(plan), ".dockerignore": dockerignore(plan)}
    if plan.pins:
        texts["requirements.txt"] = requirements(plan)
    if plan.lab:
        texts["lab-requirements.txt"] = plan.lab
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    if plan.packages:
        from mlrepro_nb.image.system import packages  # it imports the builders

        cache = Cache()
        made = packages(plan, cache, cache, report)
        shutil.copyfile(cache.blob(made.layer.digest), folder / PACKAGES)
    for file in plan.files:
        target = folder / file.layer / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.source is None:
            target.write_bytes(file.content or b"")
        else:
            shutil.copyfile(file.source, target)
    if plan.local:
        _wheels(plan, folder / WHEELS, report)
    _settle(folder)


def _settle(folder: Path) -> None:
    """Give everything the same date and plain permissions, whatever this machine's umask is.

    BuildKit fetches a file again only where its size or date is another one than
    last time. So what a file holds is told by its date's nanoseconds, which no
    layer keeps: without them, another lock of the same length would not be seen.
    """
    for parent, folders, files in os.walk(folder):
        for name in folders:
            (Path(parent) / name).chmod(0o755)
        for name in files:
            path = Path(parent) / name
            path.chmod(0o644)
            date = EPOCH * _SECOND + int(digest_of(path)[-15:], 16) % _SECOND
            os.utime(path, ns=(date, date))


def _wheels(plan: Plan, lock: Path, report: Report) -> None:
    lock.parent.mkdir()
    cache = Cache()
    lines = []
    for distribution in plan.local:
        found = _local.wheel(distribution, cache, report, plan.archived.get(distribution.name))
        _local.copy(found, cache, lock.parent)
        lines.append(f"./wheels/{found.filename} --hash={found.digest}\n")
    lock.write_text("".join(lines), encoding="utf-8")
