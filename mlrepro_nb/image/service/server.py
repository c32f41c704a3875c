"""The server of a service: uvicorn, with an end in the order that `service` tells."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from types import FrameType

import uvicorn

from mlrepro_nb.image.service.app import app
from mlrepro_nb.image.service.readiness import Service
from mlrepro_nb.image.service.telemetry import say


class Server(uvicorn.Server):  # type: ignore[misc]
    """Serves until it is told to end, or the model has failed its checks."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.told_at: float | None = None
        settings = service.settings
        super().__init__(
            uvicorn.Config(
                app(service), host=settings.host, port=settings.port, log_config=None,
                access_log=False, lifespan="off", ws="none", server_header=False,
                timeout_graceful_shutdown=round(settings.grace),
            )
        )  # fmt: skip

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to end; at once where it is said a second time."""
        if self.told_at is None:
            self.told_at = time.monotonic()
            self.service.drain()
        else:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT

    async def on_tick(self, counter: int) -> bool:
        """Look whether it is time to refuse connections."""
        now, settings = time.monotonic(), self.service.settings
        failed = self.service.failed_at
        if self.told_at is not None and now >= self.told_at + settings.drain:
            self.should_exit = True
        if failed is not None and now >= failed + settings.fail_after:
            self.should_exit = True
        return bool(await super().on_tick(counter))


def serve(service: Service) -> int:
    """Serve, prove the model meanwhile, and return the exit code."""
    server = Server(service)
    thread = threading.Thread(target=service.prove, name="prove", daemon=True)
    thread.start()
    # Not asyncio.run, which would wait for the thread of a prediction that was cut off.
    asyncio.new_event_loop().run_until_complete(server.serve())
    cut = sum(not task.done() for task in server.server_state.tasks)
    failed = service.phase == "failed"
    say(
        "ended", level="error" if failed or cut else "info", requests_cut_off=cut,
        reason=service.reason,
    )  # fmt: skip
    return 1 if failed or cut or not server.started else 0
