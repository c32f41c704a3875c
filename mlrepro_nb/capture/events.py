"""The shapes of events, to tell a damaged one."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mlrepro_nb.model import Peak


class Begin(msgspec.Struct):
    """A cell starts."""

    order: int
    source: str
    digest: str
    started: str
    id: str | None = None
    name: str | None = None


class Opened(msgspec.Struct):
    """A file was opened; `absolute` is None for a URL."""

    path: str
    access: Literal["read", "write"]
    layer: str
    absolute: str | None = None
    order: int | None = None


class Use(msgspec.Struct):
    """A generator's state changed."""

    generator: str
    before: str
    after: str
    seeded: bool


class Draws(msgspec.Struct):
    """What the generators did in a cell."""

    seeds: list[dict[str, str]] = []
    uses: list[Use] = []
    entropy: list[str] = []


class End(msgspec.Struct):
    """A cell ended."""

    order: int
    status: Literal["ok", "error", "interrupted"]
    duration: float
    count: int | None = None
    error: str | None = None
    randomness: Draws | None = None
    opens: list[Opened] = []
    peak: Peak | None = None


class Opens(msgspec.Struct):
    """Files that a cell that is still running has opened."""

    opens: list[Opened]


class Output(msgspec.Struct):
    """One output, by digest."""

    output_type: str
    data: dict[str, str]


class Outputs(msgspec.Struct):
    """All outputs of an execution."""

    order: int
    outputs: list[Output]


class File(msgspec.Struct):
    """What a file held."""

    absolute: str
    access: Literal["read", "write"]
    digest: str
    size: int
    md5: str | None = None
    order: int | None = None


class Removed(msgspec.Struct):
    """A file that the run had written is gone."""

    absolute: str


class Gap(msgspec.Struct):
    """Something could not be recorded."""

    text: str
    order: int | None = None


class Start(msgspec.Struct):
    """The recording begins."""

    time: str
    mode: str = ""
    who: str = ""
    notebook: str | None = None
    python: str = ""
    implementation: str = ""
    kernelspec: str = ""
    tool: str = ""


class Module(msgspec.Struct):
    """A module that is no distribution's."""

    name: str
    absolute: str
    digest: str


class Run(msgspec.Struct):
    """An MLflow run."""

    run_id: str
    order: int | None = None
    tracking_uri: str | None = None
    experiment: str | None = None
    params: dict[str, str] = {}
    metrics: dict[str, float | None] = {}


class LoggedModel(msgspec.Struct):
    """A model that was logged to MLflow."""

    uri: str
    name: str = "model"
    order: int | None = None
    model_id: str | None = None
    version: str | None = None
    flavor: str | None = None
    run_id: str | None = None
    path: str | None = None
    digest: str | None = None


class Seal(msgspec.Struct):
    """All is reported as of now."""

    ended: str
    running: int | None = None
    duration: float | None = None


SHAPES: dict[str, Any] = {
    "start": Start, "begin": Begin, "end": End, "opens": Opens, "output": Outputs, "file": File,
    "removed": Removed, "gap": Gap, "modules": list[Module], "imports": list[str], "run": Run,
    "model": LoggedModel, "environment": dict[str, Any], "hardware": dict[str, Any], "seal": Seal,
}  # fmt: skip


def is_whole(kind: str, data: Any) -> bool:
    """Return whether an event has the shape of its kind."""
    if kind not in SHAPES:
        return False
    try:
        msgspec.convert(data, SHAPES[kind])
    except (msgspec.ValidationError, TypeError):
        return False
    return True
