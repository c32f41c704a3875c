"""The build context: a folder that holds what the Containerfile copies and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlrepro_nb.connect import git, uv
from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image._render import EPOCH, containerfile, dockerignore, requirements
from mlrepro_nb.model import Distribution, Report, Step, digest_bytes, silent

CONTAINERFILE = "Containerfile"


@contextlib.contextmanager
def context(plan: Plan, keep: Path | None = None, *, report: Report = silent) -> Iterator[Path]:
    """Yield a folder with the build context, deleted at the end unless it is to be kept.

    Raises
    ------
    UsageError
        `keep` is a folder that holds something.
    """
    if keep is not None:
        check_empty(keep)
    folder = Path(tempfile.mkdtemp(prefix="mlrepro-build-"))
    try:
        fill(plan, folder, report=report)
        yield folder
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_empty(folder: Path) -> None:
    """Refuse to write into a folder that holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder.", "Name one that does not exist yet.")


def write_texts(texts: dict[str, str], folder: Path) -> None:
    """Write a preview's texts into a new folder."""
    check_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def fill(plan: Plan, folder: Path, *, report: Report = silent) -> None:
    """Write the build context into an empty folder."""
    report(Step(message="assembling the build context"))
    texts = {CONTAINERFILE: containerfile(plan), ".dockerignore": dockerignore(plan)}
    if plan.pins:
        texts["requirements.txt"] = requirements(plan)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for file in plan.files:
        target = folder / file.layer / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.source is None:
            target.write_bytes(file.content or b"")
        else:
            shutil.copyfile(file.source, target)
    if plan.local:
        _wheels(plan, folder / "wheels", report)
    _settle(folder)


def _settle(folder: Path) -> None:
    """Give everything the same date and plain permissions, whatever this machine's umask is."""
    for parent, folders, files in os.walk(folder):
        for name in folders:
            (Path(parent) / name).chmod(0o755)
        for name in files:
            path = Path(parent) / name
            path.chmod(0o644)
            os.utime(path, (EPOCH, EPOCH))


def _wheels(plan: Plan, folder: Path, report: Report) -> None:
    folder.mkdir()
    lines = []
    for distribution in plan.local:
        report(Step(message=f"building the wheel of {distribution.name}"))
        with tempfile.TemporaryDirectory(prefix="mlrepro-wheel-") as scratch:
            wheel = _wheel(distribution, Path(scratch))
            kept = folder / wheel.name
            shutil.copyfile(wheel, kept)
        lines.append(f"./wheels/{kept.name} --hash={digest_bytes(kept.read_bytes())}\n")
    (folder / "requirements.txt").write_text("".join(lines), encoding="utf-8")


def _wheel(distribution: Distribution, scratch: Path) -> Path:
    if distribution.origin == "git":
        if not distribution.source or not distribution.commit:
            raise _gone(distribution)
        checkout = scratch / "source"
        git.checkout(distribution.source, distribution.commit, checkout)
        return uv.build_wheel(checkout, scratch / "wheel", epoch=EPOCH)
    source = _source(distribution)
    if source.suffix == ".whl":
        return source
    made = uv.build_wheel(source, scratch / "wheel", epoch=EPOCH)
    if f"-{distribution.version.replace('-', '_')}-" not in made.name:
        raise MlreproError(
            f"{source} builds {made.name}, but the run used {distribution.name} "
            f"{distribution.version}.",
            "Check out that version, or install this one and record again.",
        )
    return made


def _source(distribution: Distribution) -> Path:
    """Return the folder or archive that a distribution was installed from."""
    candidates = [distribution.source or "", _installed_from(distribution)]
    for candidate in candidates:
        named = urlsplit(candidate)
        path = Path(unquote(named.path) if named.scheme == "file" else candidate)
        if candidate and path.is_absolute() and path.exists():
            return path
    raise _gone(distribution)


def _installed_from(distribution: Distribution) -> str:
    import json

    with contextlib.suppress(metadata.PackageNotFoundError, ValueError, TypeError):
        found = metadata.distribution(distribution.name)
        if found.version == distribution.version:
            return str(json.loads(found.read_text("direct_url.json") or "{}").get("url", ""))
    return ""


def _gone(distribution: Distribution) -> ToolError:
    return ToolError(
        f"{distribution.name} {distribution.version} was installed from "
        f"{distribution.source or 'a folder'}, which is not on this machine.",
        "Build where it is, or install it from an index and record again.",
        tool="uv",
    )
