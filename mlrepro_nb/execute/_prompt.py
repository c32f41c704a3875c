"""Kernels whose start and end are noticed as they happen.

Jupyter's own client and manager look in steps: 0.2 s of silence before the first cell, until
which nobody can be sure to miss no output, 0.1 s between two looks at whether a kernel has
gone. That is most of what a small notebook takes.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from zmq.asyncio import Context

_LOOK = 0.01
"""Seconds between two looks at a process; its end is no message."""
_HANGS = 10.0
"""Seconds in which a kernel that still has something to do uses some CPU."""
_BUSY = 0.05
"""How many seconds of it at least: the threads of one that hangs look around now and then."""
_SILENCE = 0.2
"""Seconds after which nothing more comes from a kernel that does not say that it is idle."""


class PromptClient(AsyncKernelClient):  # type: ignore[misc]
    """Is ready once the kernel has said, on the channel of outputs, that it is idle.

    That message follows the first request (Jupyter's messaging protocol, "Kernel status"). Who
    has got it is connected, and everything that came before it has been seen.
    """

    def _context_default(self) -> Context:
        context: Context = super()._context_default()
        context.reconnect_ivl = int(_LOOK * 1000)  # a kernel may listen only in a while
        return context

    def start_channels(self, **which: bool) -> None:
        """Start the channels; the heartbeat, which takes a thread, only for who asks for it.

        Whether the kernel lives, its manager knows.
        """
        super().start_channels(**{"hb": False, **which})

    async def _async_wait_for_ready(self, timeout: float | None = None) -> None:
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            asked = self.kernel_info()
            reply = await self._kernel_info_reply()
            if reply is not None and await self._told_all(asked, deadline):
                self._handle_kernel_info_reply(reply)
                return
            if not await self._async_is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")

    wait_for_ready = _async_wait_for_ready

    async def _kernel_info_reply(self) -> Any:
        try:
            message = await self.shell_channel.get_msg(timeout=1)
        except Empty:
            return None
        return message if message["msg_type"] == "kernel_info_reply" else None

    async def _told_all(self, asked: str, deadline: float) -> bool:
        """Whether outputs reach us, and those of before the request have all come."""
        connected = False
        while time.monotonic() < deadline:
            try:
                message = await self.iopub_channel.get_msg(timeout=_SILENCE)
            except Empty:
                break
            connected = True
            if (
                message["msg_type"] == "status"
                and message["content"].get("execution_state") == "idle"
                and message["parent_header"].get("msg_id") == asked
            ):
                break
        return connected


class PromptManager(AsyncKernelManager):  # type: ignore[misc]
    """Sees within a hundredth of a second that its kernel has gone, and ends one that hangs."""

    def _client_factory_default(self) -> type:
        return PromptClient

    async def _async_finish_shutdown(self, waittime: float | None = None, **options: Any) -> None:
        hurry = asyncio.ensure_future(self._end_if_it_hangs())
        try:
            await super()._async_finish_shutdown(waittime, **{"pollinterval": _LOOK, **options})
        finally:
            hurry.cancel()

    finish_shutdown = _async_finish_shutdown

    async def _end_if_it_hangs(self) -> None:
        """Ask a kernel harder to go that was told to and does nothing any more.

        One whose cells used up all file handles cannot answer, nor close its sockets.
        """
        used, since = self._used(), time.monotonic()
        while used is not None and time.monotonic() - since < _HANGS:
            await asyncio.sleep(_HANGS / 20)
            now = self._used()
            if now is None or now - used > _BUSY:
                used, since = now, time.monotonic()
        if used is not None:
            await self._async_send_kernel_sigterm()

    def _used(self) -> float | None:
        """Return the seconds of CPU that the kernel has used; None where that is not known."""
        try:
            stat = Path(f"/proc/{self.provisioner.pid}/stat").read_text(encoding="ascii")
        except (AttributeError, OSError, ValueError):
            return None
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
