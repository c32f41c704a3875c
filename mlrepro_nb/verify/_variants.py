"""The environment of a rerun: as it is here, with other versions over it, or built anew."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlrepro_nb.errors import MlreproError, ToolError
from mlrepro_nb.execute import NATIVE, interpreter, kernel_name, overlay
from mlrepro_nb.model import Environment, Report, Step
from mlrepro_nb.verify._reference import Reference
from mlrepro_nb.verify._surroundings import Surroundings, recorded_environment


class Variants:
    """Makes the environments of one notebook's reruns; they are gone when it is left.

    Parameters
    ----------
    reference : Reference
        What is run again.
    where : Surroundings
        Of the first run.
    kernel : str, optional
        The kernelspec that was asked for.
    index : bool
        Whether the package index may be asked; else what uv has in its cache is all there is.
    """

    def __init__(
        self, reference: Reference, where: Surroundings, *, kernel: str | None, report: Report,
        index: bool = True,
    ) -> None:  # fmt: skip
        self._reference, self._where, self._report = reference, where, report
        self._index = index
        self._kernel = kernel or where.kernel
        self._folder = tempfile.TemporaryDirectory(prefix="mlrepro-variants-")
        self._made: dict[tuple[tuple[str, str], ...], list[Path]] = {}
        self._base: list[Path] = []
        self.now: Environment | None = None
        """What the first run found."""

    def __enter__(self) -> Variants:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def recorded(self) -> Surroundings:
        """Return what leads into the recorded environment, built whole from its lock."""
        return recorded_environment(self._reference, self._where, self._report)

    def with_versions(self, versions: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a kernel that finds distributions of certain versions.

        Raises
        ------
        ToolError
            uv is missing, or the index does not have one.
        """
        key = tuple(sorted(versions.items()))
        if key not in self._made:
            self._made[key] = self._make(versions)
        return overlay.variables([*self._made[key], *self._base])

    def require(self, requirements: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        """Install requirements over the environment, for all runs.

        Returns the variables of a kernel that finds them, and the requirements as exact pins.

        Raises
        ------
        ToolError
            uv is missing, or the index does not have one.
        """
        self._report(Step(message=f"installing {', '.join(requirements)} for the run"))
        folder = self._new()
        python = self._python()
        overlay.put_over(
            requirements, python=python, folder=folder, others=overlay.pinned(python),
            offline=not self._index,
        )  # fmt: skip
        self._base = [folder]
        there = overlay.installed(folder)
        names = [overlay.normal(requirement) for requirement in requirements]
        pins = [f"{n}=={there[n]}" if n in there else r for n, r in zip(names, requirements)]  # noqa: B905
        return overlay.variables(self._base), pins

    def _make(self, versions: Mapping[str, str]) -> list[Path]:
        record, store = self._reference.record, self._reference.store
        old = {d.name: d.version for d in record.environment.distributions} if record else {}
        locked = [n for n, v in versions.items() if old.get(n) == v]
        folders: list[Path] = []
        others = [f"{n}=={v}" for n, v in versions.items() if n not in locked]
        if others:
            self._report(Step(message=f"installing {', '.join(others)} for one run"))
            folders.append(self._new())
            overlay.put_over(
                others, python=self._python(), folder=folders[-1], others=self._versions(versions),
                offline=not self._index,
            )  # fmt: skip
        if locked and record is not None and store is not None:
            self._report(Step(message=f"putting back {', '.join(sorted(locked))} for one run"))
            folders.append(self._new())
            overlay.put_back(
                record, store, locked, python=self._python(), folder=folders[-1],
                offline=not self._index,
            )  # fmt: skip
        return folders

    def _versions(self, versions: Mapping[str, str]) -> dict[str, str]:
        here = self.now.distributions if self.now is not None else ()
        return {**{d.name: d.version for d in here if d.origin == "index"}, **versions}

    def _new(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder.name))

    def _python(self) -> str:
        if self._where.interpreter is not None:
            return self._where.interpreter
        try:
            name = kernel_name(self._reference.nb, self._kernel)
        except MlreproError:
            name = NATIVE
        found = interpreter(name)
        if found is None:
            raise ToolError(
                f"The interpreter of kernel {name!r} cannot be found.",
                "Name another kernel: --kernel", tool="uv",
            )  # fmt: skip
        return found
