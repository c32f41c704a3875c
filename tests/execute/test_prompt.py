"""A kernel is used as soon as it is ready, no output is missed, and its end is seen at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from queue import Empty
from typing import Any

import pytest

from mlrepro_nb.execute._prompt import PromptClient, PromptManager


def test_what_the_first_cell_prints_at_once_is_never_missed() -> None:
    async def printed() -> str:
        manager = PromptManager(kernel_name="python3")
        await manager.start_kernel()
        client = manager.client()
        assert isinstance(client, PromptClient)
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=120)
            asked = client.execute("print('first')")
            text = ""
            while True:
                message = await client.get_iopub_msg(timeout=120)
                # Nothing of before is left over.
                assert message["parent_header"]["msg_id"] == asked
                text += message["content"].get("text", "")
                if message["content"].get("execution_state") == "idle":
                    return text
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)

    for _ in range(3):
        assert asyncio.run(printed()) == "first\n"


def test_a_kernel_that_dies_as_it_starts_is_said_to_have_died() -> None:
    async def start() -> None:
        manager = PromptManager(kernel_name="python3")
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        try:
            manager.provisioner.process.kill()
            await client.wait_for_ready(timeout=60)
        finally:
            client.stop_channels()
            await manager.cleanup_resources()

    with pytest.raises(RuntimeError, match="died before replying"):
        asyncio.run(start())


# --- kernels that do not keep to the protocol


class Channel:
    """Gives messages in turn, then silence."""

    def __init__(self, messages: Iterator[dict[str, Any]]) -> None:
        self.messages = messages

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        await asyncio.sleep(0)
        try:
            return next(self.messages)
        except StopIteration:
            raise Empty from None


def reply() -> dict[str, Any]:
    return {"msg_type": "kernel_info_reply", "content": {}, "parent_header": {}}


def status(state: str, parent: str = "") -> dict[str, Any]:
    return {"msg_type": "status", "content": {"execution_state": state},
            "parent_header": {"msg_id": parent}}  # fmt: skip


class Odd(PromptClient):
    """A client of a kernel that says what it is told to."""

    def __init__(self, shell: list[dict[str, Any]], iopub: list[dict[str, Any]]) -> None:
        super().__init__()
        self._shell_channel = Channel(iter(shell))
        self._iopub_channel = Channel(iter(iopub))
        self.asked = 0

    @property
    def shell_channel(self) -> Any:
        return self._shell_channel

    @property
    def iopub_channel(self) -> Any:
        return self._iopub_channel

    def kernel_info(self) -> str:  # type: ignore[override]
        self.asked += 1
        return f"ask {self.asked}"

    def _handle_kernel_info_reply(self, msg: Any) -> None:
        pass

    async def _async_is_alive(self) -> bool:
        return True


def ready(client: Odd, timeout: float = 60) -> Odd:
    asyncio.run(client.wait_for_ready(timeout=timeout))
    return client


def test_it_is_ready_when_it_has_said_that_it_is_idle_and_not_when_it_was_before() -> None:
    told = [status("starting"), status("idle", "somebody else"), status("busy", "ask 1"),
            status("idle", "ask 1"), status("busy", "later")]  # fmt: skip
    client = ready(Odd([reply()], told))
    assert list(client._iopub_channel.messages) == [status("busy", "later")]


def test_one_that_is_heard_only_later_is_asked_again() -> None:
    client = Odd([reply(), reply()], [])
    late = iter([status("idle", "ask 2")])

    class Late(Channel):
        async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
            if client.asked < 2:
                raise Empty
            return next(late)

    client._iopub_channel = Late(late)
    assert ready(client).asked == 2


def test_one_that_never_says_that_it_is_idle_is_ready_when_it_is_silent() -> None:
    assert ready(Odd([reply()], [status("starting")])).asked == 1


def test_one_that_does_not_answer_is_given_up_in_time() -> None:
    with pytest.raises(RuntimeError, match="didn't respond in 0"):
        ready(Odd([], []), timeout=0)
