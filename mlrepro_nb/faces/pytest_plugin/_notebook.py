"""A notebook as pytest sees it: it is run once, when the first of its cells is tested."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.execute import NATIVE, Limits, Nursery, read_notebook
from mlrepro_nb.model import REPRODUCED, CellVerdict, Verification
from mlrepro_nb.verify import NEVER_REACHED, Outcome, Task, perform, skipped
from mlrepro_nb.verify.marks import read_after, read_marks

_NURSERY = pytest.StashKey[Nursery]()
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_RAISED = re.compile(r"^-+> ?\d+ (.+)$", re.MULTILINE)
_MOST_LINES = 60
_IMPORTS = ("ModuleNotFoundError", "DeadKernelError", NEVER_REACHED)
# What the plugins have where nobody asks for anything; a limit of theirs is not one of ours.
_DEFAULT = {"nbval_cell_timeout": 2000, "nbmake_timeout": 300}


class NotReproducedError(Exception):
    """A cell is not as it was; its text is the report."""


def is_meant(path: Path) -> bool:
    """Whether a notebook in a folder is one that a person wrote."""
    return not skipped(path.name) and "_build" not in path.parts


def finds_imports(config: pytest.Config) -> bool:
    """Whether only missing modules are failures."""
    return bool(_asked(config, "mlrepro_find_import_errors", "nbmake_find_import_errors"))


def close(config: pytest.Config) -> None:
    """End the process that kernels come from."""
    nursery = config.stash.get(_NURSERY, None)
    if nursery is not None:
        del config.stash[_NURSERY]
        nursery.__exit__(None, None, None)


class Notebook(pytest.File):
    """A notebook; its tests are its code cells, numbered as nbval does.

    What a `conftest.py` adds to `skip_compare` when collection starts (``stderr``, a MIME
    type) is not compared, as nbval has it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._outcome: Outcome | None = None
        self._timeout: float | None = None
        self.skip_compare: tuple[str, ...] = ()

    def collect(self) -> Iterator[Cell]:
        """Yield a test for each code cell."""
        try:
            nb = read_notebook(self.path)
        except MlreproError as error:
            raise self.CollectError(str(error)) from None
        execution = nb.metadata.get("execution")
        if isinstance(execution, dict) and isinstance(execution.get("timeout"), int | float):
            self._timeout = float(execution["timeout"]) or None  # as nbmake has it
        code = [(i, cell) for i, cell in enumerate(nb.cells) if cell.cell_type == "code"]
        for number, (index, cell) in enumerate(code):
            item: Cell = Cell.from_parent(self, name=f"Cell {number}", index=index, source=cell)
            yield item

    @property
    def outcome(self) -> Outcome:
        """What came of running it."""
        if self._outcome is None:
            config = self.config
            if _NURSERY not in config.stash:
                config.stash[_NURSERY] = Nursery().__enter__()
            self._outcome = perform(self._task(), nursery=config.stash[_NURSERY])
        return self._outcome

    def _task(self) -> Task:
        config = self.config
        current = _asked(config, "mlrepro_current_env", "nbval_current_env")
        kernel = _asked(config, "mlrepro_kernel_name", "nbval_kernel_name", "nbmake_kernel")
        sanitize = _asked(config, "mlrepro_sanitize_with", "nbval_sanitize_with")
        timeout = _asked(config, "mlrepro_cell_timeout", "nbval_cell_timeout", "nbmake_timeout")
        total = config.getoption("mlrepro_total_timeout")
        imports = finds_imports(config)
        return Task(
            target=str(self.path),
            kernel=NATIVE if current else kernel,
            timeout=self._timeout or timeout,
            total_timeout=total,
            rtol=config.getoption("mlrepro_rtol"),
            atol=config.getoption("mlrepro_atol"),
            sanitize=None if sanitize is None else str(config.invocation_params.dir / sanitize),
            lax=config.getoption("mlrepro_lax") or imports,
            ignore=tuple(self.skip_compare),
            mocks=True,
            limits=Limits(offline=config.getoption("mlrepro_offline"), interrupt=imports),
            reruns=0 if imports else config.getoption("mlrepro_reruns"),
            evidence=True,
        )


class Cell(pytest.Item):
    """A code cell."""

    def __init__(self, *, index: int, source: Any, **named: Any) -> None:
        super().__init__(**named)
        self._index = index
        self._source = str(source.source)
        self._checks = read_after(source)
        self._marks = read_marks(source)
        # What pytest's own plugins ask of every test: that it is a function.
        self.obj = lambda: None

    def runtest(self) -> None:
        """Say what became of the cell."""
        if self._marks.skip:
            pytest.skip("it is marked to be skipped")
        assert isinstance(self.parent, Notebook)
        outcome = self.parent.outcome
        if outcome.verification is None:
            problem = outcome.problem
            said = "It could not be verified." if problem is None else problem.message
            raise NotReproducedError("\n".join([said, problem.remedy if problem else ""]).rstrip())
        if _never_began(outcome.verification):
            told = [f"{c.evidence}\nFix: {c.fix}" for c in outcome.verification.causes]
            raise NotReproducedError("\n".join(told or outcome.verification.notes))
        cell = next((c for c in outcome.verification.cells if c.index == self._index), None)
        if cell is None or cell.verdict in REPRODUCED or cell.verdict == "inconclusive":
            return
        if finds_imports(self.config) and not (
            (cell.detail or "").startswith(_IMPORTS) or self._check_failed(outcome)
        ):
            return
        if cell.detail == NEVER_REACHED:
            pytest.xfail(NEVER_REACHED)
        raise NotReproducedError("\n".join(self._told(cell, outcome)))

    def _check_failed(self, outcome: Outcome) -> bool:
        """Whether it was nbmake's code after the cell that raised: that always counts."""
        checks = {line.strip() for line in self._checks.splitlines()}
        said = "\n".join(
            line
            for one in outcome.evidence
            if one.index == self._index
            for line in _lines(one.after)
        )
        return any(line.strip() in checks for line in _RAISED.findall(said))

    def _told(self, cell: CellVerdict, outcome: Outcome) -> Iterator[str]:
        where = self.name if self.name == f"Cell {self._index}" else (
            f"{self.name}, which is cell {self._index} of the file with its texts"
        )  # fmt: skip
        yield f"{where}: {cell.verdict}"
        if cell.detail:
            yield f"  {_ANSI.sub('', cell.detail)}"
        if cell.cause is not None:
            at = "" if cell.cause.cell in (None, self._index) else f" (cell {cell.cause.cell})"
            yield f"Cause: {cell.cause.kind}: {cell.cause.subject}{at}"
            yield f"  {cell.cause.evidence}"
            yield f"Fix: {cell.cause.fix}"
        yield "Input:"
        yield from (f"  {line}" for line in self._source.splitlines())
        for one in outcome.evidence:
            if one.index == self._index:
                before, after = list(_lines(one.before)), list(_lines(one.after))
                yield from _shortened(difflib.unified_diff(
                    before, after, "stored output", "this run", lineterm="", n=2))  # fmt: skip

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Return the report, without our own frames."""
        if isinstance(excinfo.value, NotReproducedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where the cell is."""
        # Not the test's id: of that pytest shows the dots as `::`.
        return self.path, 0, f"{self.nodeid.partition('::')[0]} {self.name}"


def _never_began(found: Verification) -> bool:
    """Whether no cell was run at all: then each fails, as no other one says why."""
    return found.verdict == "failed" and all(cell.detail == NEVER_REACHED for cell in found.cells)


def _asked(config: pytest.Config, *names: str) -> Any:
    """Return the first of several options that was given."""
    for name in names:
        value = config.getoption(name, None)
        if value not in (None, False, _DEFAULT.get(name)):
            return value
    return None


def _lines(outputs: Iterable[Any]) -> Iterator[str]:
    for output in outputs:
        if output.kind.startswith("image/") and output.kind != "image/svg+xml":
            yield f"<{output.kind}>"
        else:
            yield from _ANSI.sub("", output.content).splitlines()
        if output.cut:
            yield "…"


def _shortened(lines: Iterable[str]) -> Iterator[str]:
    listed = list(lines)
    yield from listed[:_MOST_LINES]
    if len(listed) > _MOST_LINES:
        yield f"… and {len(listed) - _MOST_LINES} more lines"
