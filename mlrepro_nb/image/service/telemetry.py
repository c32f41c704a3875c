"""What a service tells of itself: a line of JSON a request, and Prometheus's metrics.

Neither ever holds what was sent or what was predicted.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

PATHS = ("/invocations", "/ping", "/health", "/version", "/ready", "/info", "/metrics")
_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def say(message: str, *, level: str = "info", **fields: Any) -> None:
    """Write one line of JSON to standard output."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": now, "level": level, "message": message, **fields}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Lines(logging.Handler):
    """Has libraries' log records written as the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; of an exception the class alone, as its text may hold values."""
        raised = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        more = {"exception": raised} if raised else {}
        say(record.getMessage(), level=record.levelname.lower(), logger=record.name, **more)


def configure_logging() -> None:
    """Have warnings of all libraries, and what the server itself does, be lines of JSON."""
    logging.basicConfig(handlers=[Lines()], level=logging.WARNING, force=True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.INFO)
    # It shows the input when it warns of it.
    logging.getLogger("mlflow.pyfunc.scoring_server").setLevel(logging.CRITICAL)


def request_id(given: str | None) -> str:
    """Return a request's id: the one it came with, where that can be trusted in a log."""
    return given if given and _ID.fullmatch(given) else uuid.uuid4().hex


class Metrics:
    """Counters of one service; nothing where ``prometheus-client`` is not installed."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError:
            self.available = False
            return
        self.available = True
        self._prometheus = prometheus
        self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        prometheus.PlatformCollector(registry=self.registry)
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self.registry
        self.requests = prometheus.Counter(
            "mlrepro_requests", "Requests that were answered.", ["method", "path", "code"],
            registry=registry,
        )  # fmt: skip
        self.seconds = prometheus.Histogram(
            "mlrepro_request_duration_seconds", "From a request's first byte to its answer.",
            ["path"], buckets=_BUCKETS, registry=registry,
        )  # fmt: skip
        self.running = prometheus.Gauge(
            "mlrepro_requests_in_flight", "Requests that are under way.", registry=registry
        )
        self.rows = prometheus.Counter(
            "mlrepro_prediction_rows", "Rows that were predicted.", registry=registry
        )
        self.ready = prometheus.Gauge(
            "mlrepro_ready", "1 while /ready answers 200.", registry=registry
        )
        info = prometheus.Gauge(
            "mlrepro_model_info", "Which model of which record is served.", list(labels),
            registry=registry,
        )  # fmt: skip
        info.labels(**labels).set(1)

    def started(self) -> None:
        """Count a request that begins."""
        if self.available:
            self.running.inc()

    def ended(self, method: str, path: str, code: int, seconds: float, rows: int | None) -> None:
        """Count a request that was answered; paths and methods of all the world are one."""
        if not self.available:
            return
        known = path if path in PATHS else "other"
        verb = method if method in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        self.running.dec()
        self.requests.labels(verb, known, str(code)).inc()
        self.seconds.labels(known).observe(seconds)
        if rows:
            self.rows.inc(rows)

    def set_ready(self, ready: bool) -> None:  # noqa: FBT001
        """Tell whether requests are taken."""
        if self.available:
            self.ready.set(ready)

    def exposition(self) -> tuple[bytes, str]:
        """Return all of them as Prometheus reads them, and the content type of that."""
        found = bytes(self._prometheus.generate_latest(self.registry))
        return found, str(self._prometheus.CONTENT_TYPE_LATEST)
