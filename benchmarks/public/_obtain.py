"""What the notebooks need: their repositories, each at its commit, and an environment."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


class Checkouts:
    """Working copies of the repositories, each made once."""

    def __init__(self, scratch: Path, mirrors: Path | None) -> None:
        self._scratch, self._mirrors = scratch, mirrors
        self._made: dict[tuple[str, str], Path | None] = {}
        self._lock = threading.Lock()

    def get(self, repository: str, commit: str, use: int, folder: str | None = None) -> Path | None:
        """Return a copy of a repository at a commit; None where it cannot be had.

        Notebooks that are measured at the same time get copies of their own (`use`). A copy of
        one `folder` takes less to clone, and a mirror may lack the large files of the others.
        """
        place = self._scratch / f"{use}" / f"{repository.replace('/', '+')}@{commit[:12]}"
        with self._lock:
            if (repository, commit) in self._made and self._made[repository, commit] is None:
                return None
        if not (place / ".complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            got = self._fill(place / "copy", repository, commit, folder)
            with self._lock:
                self._made[repository, commit] = place if got else None
            if not got:
                return None
            (place / ".complete").touch()
        # As it was: what papermill's run left behind must not help anybody.
        _git("reset", "-q", "--hard", commit, folder=place / "copy")
        _git("clean", "-qfdx", folder=place / "copy")
        return place / "copy"

    def _fill(self, place: Path, repository: str, commit: str, folder: str | None) -> bool:
        source = self._mirror(repository)
        if source is not None:
            made = _git("clone", "-q", "--shared", "--no-checkout", str(source), str(place))
        else:
            address = f"https://github.com/{repository}.git"
            made = _git("clone", "-q", "--no-checkout", "--filter=blob:none", address, str(place))
        if made and folder is not None:
            inner = [folder] if folder != "." else []  # the files at the top are always there
            made = _git("sparse-checkout", "set", "--cone", *inner, folder=place)
        return made and _git("checkout", "-q", "--detach", commit, folder=place)

    def _mirror(self, repository: str) -> Path | None:
        if self._mirrors is None:
            return None
        for name in (repository.replace("/", "+"), repository, f"{repository}.git"):
            for inside in ("", ".git", "repo", "repo/.git"):
                if (self._mirrors / name / inside / "HEAD").is_file():
                    return self._mirrors / name / inside
        return None


def _git(*arguments: str, folder: Path | None = None) -> bool:
    command = ["git", "-c", "safe.directory=*", "-c", "advice.detachedHead=false", *arguments]
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=quiet, capture_output=True, check=False, timeout=600
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def environment(scratch: Path, packages: list[str]) -> Path:
    """Return the interpreter of an environment that has the packages, and mlrepro-nb.

    The notebooks run in it, and so do the tools.
    """
    packages = [*packages, "uv"]  # what fixes require is installed with it
    key = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    place = scratch / f"environment-{key}"
    python = place / "bin" / "python"
    if (place / ".complete").exists():
        return python
    shutil.rmtree(place, ignore_errors=True)
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    install = [uv, "pip", "install", "-q", "--python", str(python)]
    for command in (
        [uv, "venv", "-q", "--python", sys.executable, str(place)],
        [*install, *packages, "-e", f"{ROOT}[pictures]"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"The environment could not be made: {done.stderr[-2000:]}")
    (place / ".complete").touch()
    return python
