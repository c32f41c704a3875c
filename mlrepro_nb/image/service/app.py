"""The paths of a service, and what is told of each request."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlrepro_nb import __version__
from mlrepro_nb.connect.mlflow_serving import ScoringError
from mlrepro_nb.image.service.readiness import Service
from mlrepro_nb.image.service.signature import RefusedError
from mlrepro_nb.image.service.telemetry import Metrics, request_id, say

_JSON = "application/json"


def app(service: Service) -> ASGIApp:
    """Return the application of a service."""
    facts = service.facts
    metrics = Metrics({"record": facts.record, "model": facts.digest or "", "name": facts.name})
    paths = _Paths(service, metrics)
    routes = [
        Route("/ping", paths.health),
        Route("/health", paths.health),
        Route("/version", paths.version),
        Route("/invocations", paths.invocations, methods=["POST"]),
        Route("/ready", paths.ready),
        Route("/info", paths.info),
        Route("/metrics", paths.metrics),
    ]
    inner = Starlette(routes=routes, exception_handlers={HTTPException: _unknown})
    return _Told(inner, service, metrics)


def refusal(
    message: str, *, status: int, code: str, headers: dict[str, str] | None = None, **where: Any
) -> JSONResponse:
    """Return an error as MLflow's clients read it, with the column and row where there are."""
    content = {"error_code": code, "message": message, **where}
    return JSONResponse(content, status_code=status, headers=headers)


class _Paths:
    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        # Alive is who has a model, also while the last requests are answered.
        alive = self._service.phase in ("ready", "draining")
        return Response("\n", 200 if alive else 503, media_type=_JSON)

    async def version(self, request: Request) -> Response:  # noqa: ARG002
        model = self._service.model
        if model is None:
            return self._not_ready()
        return Response(model.version, media_type=_JSON)

    async def ready(self, request: Request) -> Response:  # noqa: ARG002
        service = self._service
        return JSONResponse(service.told(), status_code=200 if service.ready else 503)

    async def info(self, request: Request) -> Response:  # noqa: ARG002
        service = self._service
        wanted = service.signature
        found = {
            **msgspec.to_builtins(service.facts),
            "mlrepro_nb": __version__,
            "mlflow": service.model.version if service.model else None,
            "status": service.phase,
            "signature": None if wanted is None else msgspec.to_builtins(wanted),
            "limits": {
                "body_bytes": service.settings.max_body, "seconds": service.settings.timeout
            },
        }  # fmt: skip
        return JSONResponse(found)

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        if not self._metrics.available:
            return refusal(
                "There are no metrics: prometheus-client is not installed. Install it in the "
                "kernel's environment (pip install prometheus-client), record and build again.",
                status=404, code="NOT_FOUND",
            )  # fmt: skip
        self._metrics.set_ready(self._service.ready)
        content, kind = self._metrics.exposition()
        return Response(content, headers={"content-type": kind})

    def _not_ready(self) -> Response:
        service = self._service
        return refusal(
            f"The service is not ready: {service.reason}.", status=503,
            code="TEMPORARILY_UNAVAILABLE", headers={"retry-after": "5"},
        )  # fmt: skip

    async def invocations(self, request: Request) -> Response:
        service = self._service
        if service.phase in ("starting", "failed"):
            return self._not_ready()
        try:
            body = await _body(request, service.settings.max_body)
            asked = asyncio.to_thread(service.score, body, request.headers.get("content-type"))
            answer = await asyncio.wait_for(asked, service.settings.timeout)
        except RefusedError as wrong:
            return refusal(wrong.message, status=wrong.status, code=wrong.code, **wrong.where)
        except ScoringError as error:
            request.state.error = error.kind
            return refusal(error.message, status=error.status, code=error.code)
        except (asyncio.TimeoutError, TimeoutError):
            return refusal(
                f"The prediction took longer than {service.settings.timeout:g} seconds.",
                status=504, code="DEADLINE_EXCEEDED",
            )  # fmt: skip
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it; nginx's number for that
        request.state.rows = answer.rows
        return Response(answer.content, answer.status, media_type=answer.media_type)


async def _body(request: Request, limit: int) -> bytes:
    told = request.headers.get("content-length", "")
    found = bytearray()
    if not told.isascii() or not told.isdigit() or int(told) <= limit:
        async for piece in request.stream():
            found += piece
            if len(found) > limit:
                break
        else:
            return bytes(found)
    raise RefusedError(
        f"The body has more than {limit} bytes. Send fewer rows at a time, or set "
        "MLREPRO_MAX_BODY.",
        status=413, code="REQUEST_TOO_LARGE",
    )  # fmt: skip


def _level(status: int) -> str:
    if status == 503:
        return "warning"  # starting or ending
    return "error" if status >= 500 or not status else "info"


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
    message = {
        404: f"There is no path {request.url.path[:80]}; predictions are at /invocations.",
        405: f"{request.method[:20]} is not for {request.url.path[:80]}.",
    }
    return refusal(
        message.get(error.status_code, str(error.detail)), status=error.status_code,
        code=known.get(error.status_code, "BAD_REQUEST"), headers=dict(error.headers or {}),
    )  # fmt: skip


class _Told:
    """Logs and counts each request, and answers for what broke, without a traceback."""

    def __init__(self, inner: ASGIApp, service: Service, metrics: Metrics) -> None:
        self._inner = inner
        self._service = service
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.monotonic()
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        identity = request_id(given)
        state = scope.setdefault("state", {})
        status = 0
        facts = self._service.facts
        ours = [
            (b"x-request-id", identity.encode()),
            (b"mlrepro-record", facts.record.encode()),
            (b"mlrepro-model", (facts.digest or "").encode()),
        ]

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                headers = [*message.get("headers", ()), *ours]
                if self._service.phase == "draining":
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            await send(message)

        self._metrics.started()
        try:
            await self._inner(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - nobody is to see its traceback
            state["error"] = type(error).__name__
            if not status:
                broken = refusal("The service broke.", status=500, code="INTERNAL_ERROR")
                await broken(scope, receive, answer)
        finally:
            seconds = time.monotonic() - started
            rows = state.get("rows")
            self._metrics.ended(scope["method"], scope["path"], status, seconds, rows)
            more = {"error": state["error"]} if "error" in state else {}
            say(
                "request", level=_level(status),
                method=scope["method"][:20], path=scope["path"][:200], status=status,
                duration=round(seconds, 6), rows=rows, request_id=identity, **more,
            )  # fmt: skip
