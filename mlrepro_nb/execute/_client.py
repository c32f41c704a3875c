"""Papermill's client, made to end whatever the notebook does.

Imported only when a notebook is run: papermill and nbclient are heavy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient

from mlrepro_nb.capture.secrets import MASK, mask, secrets_in
from mlrepro_nb.execute._messages import unpack
from mlrepro_nb.execute.limits import NOTEBOOK_CAP, OUTPUT_CAP
from mlrepro_nb.model import Report, Step

if TYPE_CHECKING:
    from nbformat import NotebookNode

_OUTPUT = 500
"""What an output costs besides its characters."""

_ALIVE_EVERY = 0.2

_GOODBYE = 120.0
"""Seconds that a kernel with nothing left to run has for its last report; after half of it, it is
asked harder to go."""


class Client(PapermillNotebookClient):  # type: ignore[misc]
    """Run the cells of a notebook and keep how it ended.

    After `execute`, `ended` is None or (index, name of the exception, message,
    traceback) of the cell at which the run stopped.
    """

    def __init__(
        self, manager: Any, *, report: Report, cell_timeout: float | None, total: float | None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(manager, **options)
        self._report = report
        self._deadline: float | None = None
        self._total = total
        self._cell_timeout = cell_timeout
        self._kept = self._kept_before = 0
        self._full = False
        self._stream: tuple[Any, list[str]] | None = None
        self.capped: list[int] = []
        self.after: dict[int, str] = {}
        """What to run after the cell of an index that raised nothing."""
        self.kernels: list[Any] = []
        """What `mlrepro_nb.execute._nursery` started for this run."""
        self.nursed: Any = None
        """Makes the class of kernel manager that starts them."""
        self.ended: tuple[int, str, str, tuple[str, ...]] | None = None
        self.timeout_func = self._remaining

    def _remaining(self, _cell: Any = None) -> float | None:
        limits = [] if self._cell_timeout is None else [self._cell_timeout]
        if self._deadline is not None:
            limits.append(max(0.05, self._deadline - time.monotonic()))
        return min(limits) if limits else None

    def papermill_execute_cells(self) -> None:
        """Run the cells in turn, until one cannot be got over."""
        if self._total is not None:
            self._deadline = time.monotonic() + self._total
        total, hidden = len(self.nb.cells), secrets_in(self.nb)
        for index, cell in enumerate(self.nb.cells):
            if cell.cell_type == "code" and cell.source.strip():
                # How far, not which: all else that is said of a cell names its place in the file.
                message = f"{index + 1} of {total} cells: {_first_line(cell.source, hidden)}"
                self._report(Step(message=message.rstrip(), done=index, total=total))
            self._kept_before, self._kept, self._full = self._kept_before + self._kept, 0, False
            # Front ends send the cell's id with the request; nbclient does not.
            self.kc.session.metadata["cellId"] = cell.get("id")
            self.nb_man.cell_start(cell, index)
            try:
                self.execute_cell(cell, index)
                self._follow(cell, index)
            except CellExecutionError as error:
                self._failed(cell, index, error)
                self.ended = (index, error.ename, error.evalue, _traceback(cell))
            except CellTimeoutError:
                self._failed(cell, index, None)
                self.ended = (index, "TimeoutError", self._timed_out(), ())
            except DeadKernelError:
                self._failed(cell, index, None)
                self.ended = (index, "DeadKernelError", self._why(), ())
            except (RuntimeError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - a kernel that a cell broke says anything
                self._failed(cell, index, None)
                said = f"The kernel does not answer as kernels do: {type(error).__name__}."
                self.ended = (index, "DeadKernelError", said, ())
            finally:
                self._flush()
                self.nb_man.cell_complete(self.nb.cells[index], cell_index=index)
            if self.ended is not None:
                # A kernel that hangs or is dead would make a polite goodbye long.
                if self.ended[1] in ("TimeoutError", "DeadKernelError"):
                    self.shutdown_kernel = "immediate"
                return
        self._report(Step(message=f"{total} cells run", done=total, total=total))

    def execute(self, **start: Any) -> NotebookNode:
        """Run the notebook in a new kernel that is gone when this returns."""
        self.reset_execution_trackers()
        with self.setup_kernel(**start):
            info = self.kc.kernel_info
            self.kc.session.unpack = lambda data: unpack(data, full=self._full)
            self.papermill_execute_cells()
            if self.ended is None or self.shutdown_kernel != "immediate":
                self.km.shutdown_wait_time = _GOODBYE
                try:
                    reply = self.wait_for_reply(info())
                    self.nb.metadata["language_info"] = reply["content"]["language_info"]
                except (DeadKernelError, TypeError, KeyError):
                    pass  # it exited with the last cell; the cells' outputs are what counts
            self.set_widgets_metadata()
        return self.nb

    def _follow(self, cell: Any, index: int) -> None:
        """Run what follows a cell, no cell itself; its error is the cell's."""
        source = self.after.get(index)
        if not source or any(output.output_type == "error" for output in cell.outputs):
            return
        reply = self.wait_for_reply(self.kc.execute(source, silent=True), cell)
        said = reply["content"] if reply is not None else {}
        if said.get("status") == "error":
            cell.outputs.append(new_output("error", **{
                key: said.get(key, "") for key in ("ename", "evalue", "traceback")
            }))  # fmt: skip

    def _failed(self, cell: Any, index: int, error: Exception | None) -> None:
        self.nb_man.cell_exception(cell, cell_index=index, exception=error)

    def _why(self) -> str:
        return str(self.kernels[-1].why()) if self.kernels else "The kernel died in this cell."

    def _timed_out(self) -> str:
        if self._deadline is not None and time.monotonic() >= self._deadline - 0.1:
            return f"The notebook ran longer than {self._total:g} s."
        return f"The cell ran longer than {self._cell_timeout:g} s."

    async def _async_poll_kernel_alive(self) -> None:
        while True:
            await asyncio.sleep(_ALIVE_EVERY)
            try:
                await self._async_check_alive()
            except DeadKernelError:
                if self.task_poll_for_reply is not None:
                    self.task_poll_for_reply.cancel()
                return

    def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
        """Keep an output, up to the cap; a stream goes on in its last output."""
        stream = msg["msg_type"] == "stream"
        hooked = self.output_hook_stack[msg["parent_header"].get("msg_id")]
        last = outs[-1] if outs else None
        joined = (
            stream and last is not None and not hooked and not self.clear_before_next_output
            and last.output_type == "stream" and last.name == msg["content"]["name"]
        )  # fmt: skip
        size = _size(msg["content"]) + (0 if joined else _OUTPUT)
        room = min(OUTPUT_CAP - self._kept, NOTEBOOK_CAP - self._kept_before - self._kept)
        if size > room:
            if cell_index not in self.capped:
                self.capped.append(cell_index)
            self._full |= stream
            if room <= 0 or not stream:
                return None
            msg["content"]["text"], size = msg["content"]["text"][:room], room
        self._kept += size
        if joined:
            # Strings that grow piece by piece would be copied each time.
            if last is not None and (self._stream is None or self._stream[0] is not last):
                self._flush()
                self._stream = (last, [last["text"]])
            assert self._stream is not None
            self._stream[1].append(msg["content"]["text"])
            return last
        self._flush()
        return super().output(outs, msg, display_id, cell_index)

    def _flush(self) -> None:
        if self._stream is not None:
            output, parts = self._stream
            output["text"], self._stream = "".join(parts), None


def _size(content: Any) -> int:
    text = content.get("text")
    if isinstance(text, str):
        return len(text)
    return sum(len(value) for value in (content.get("data") or {}).values() if _sized(value))


def _sized(value: Any) -> bool:
    return isinstance(value, str | bytes | list)


def _traceback(cell: Any) -> tuple[str, ...]:
    for output in cell.outputs:
        if output.output_type == "error":
            return tuple(output.traceback)
    return ()


def _first_line(source: str, hidden: Iterable[str]) -> str:
    for line in source.splitlines():
        if line.strip():
            # What is a secret in one cell is one in the others.
            for secret in hidden:
                line = line.replace(secret, MASK)
            return mask(line.strip())[:50]
    return ""
