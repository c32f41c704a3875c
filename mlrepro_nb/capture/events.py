"""The shapes of events, to tell a damaged one."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mlrepro_nb.model import CellPeak, Hardware, Operator, Peak


class Begin(msgspec.Struct):
    """A cell starts."""

    order: int
    source: str
    digest: str
    started: str
    id: str | None = None
    name: str | None = None
    client: str | None = None
    front: str | None = None


class Bound(msgspec.Struct):
    """Names that a cell bound and unbound."""

    bound: list[str] = []
    unbound: list[str] = []


class Effects(msgspec.Struct):
    """What a cell changed in its process."""

    folder: str | None = None
    path: list[str] = []
    variables: list[str] = []


class Outside(msgspec.Struct):
    """Names that changed while no cell ran."""

    bound: list[str] = []
    unbound: list[str] = []
    after: int | None = None
    before: int | None = None
    by: list[Literal["widget", "debugger", "tool", "background"]] = []


class WidgetMove(msgspec.Struct):
    """A widget was set by hand."""

    model: str
    trait: str
    description: str | None = None
    names: list[str] = []
    before: str | None = None
    after: str | None = None
    times: int = 1
    made: int | None = None
    previous: int | None = None
    next: int | None = None


class Installed(msgspec.Struct):
    """Distributions came or went."""

    order: int
    distributions: list[str]


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
    by: str | None = None
    outside: bool = False
    worker: bool = False


class Drawn(msgspec.Struct):
    """Entropy was drawn."""

    source: str
    count: int = 1
    replayable: bool = False
    outside: bool = False
    worker: bool = False


class Seeded(msgspec.Struct):
    """A generator was seeded."""

    generator: str
    value: str
    source: Literal["value", "state", "clock", "entropy", "replay"] = "value"


class Draws(msgspec.Struct):
    """What the generators did in a cell; `feed` and `states` give the same again."""

    seeds: list[Seeded] = []
    uses: list[Use] = []
    entropy: list[Drawn | str] = []
    feed: list[dict[str, Any]] = []
    states: dict[str, dict[str, Any]] = {}


class Used(msgspec.Struct):
    """What was used of the machine: by the run so far, and by this cell."""

    run: Peak
    cell: CellPeak


class End(msgspec.Struct):
    """A cell ended."""

    order: int
    status: Literal["ok", "error", "interrupted"]
    duration: float
    count: int | None = None
    error: str | None = None


class Did(msgspec.Struct):
    """What a cell that ended did."""

    order: int
    randomness: Draws | None = None
    opens: list[Opened] = []
    use: Used | None = None
    peak: Peak | None = None
    """In journals of before there was `use`."""
    names: Bound | None = None
    effects: Effects | None = None


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
    kept: str | None = None
    stat: list[int] | None = None


class Listed(msgspec.Struct):
    """Folders were listed."""

    order: int
    folders: list[str]


class Removed(msgspec.Struct):
    """A file that the run had written is gone."""

    absolute: str


class Gap(msgspec.Struct):
    """Something could not be recorded."""

    text: str
    order: int | None = None
    closed_by: Literal["strace"] | None = None
    """The layer that would have seen it."""


class Deep(msgspec.Struct):
    """What of what strace saw is not the notebook's."""

    pid: int
    ignored: list[str] = []
    threads: list[int] = []
    machinery: list[str] = []


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


class ModuleVersion(msgspec.Struct):
    """What a module held from an execution on."""

    digest: str
    execution: int | None = None


class Module(msgspec.Struct):
    """A module that is no distribution's."""

    name: str
    absolute: str
    digest: str
    versions: list[ModuleVersion] = []


class Imports(msgspec.Struct):
    """Top-level modules in the process, and who imported them."""

    modules: list[str]
    direct: list[str] = []
    by: dict[str, list[str]] = {}
    tried: dict[str, list[str]] = {}
    owners: dict[str, list[str]] = {}
    unasked: list[tuple[str, str, list[tuple[str, int]]]] = []


class Distribution(msgspec.Struct):
    """An installed distribution."""

    name: str
    version: str
    location: str
    origin: str
    modules: list[str] = []
    requires: list[str] = []
    source: str | None = None
    commit: str | None = None
    folder: str | None = None
    tags: list[str] = []


class Distributions(msgspec.Struct):
    """What is installed, and what of it cannot be read."""

    distributions: list[Distribution]
    broken: list[str] = []


class Edit(msgspec.Struct):
    """Files of a distribution that are not what was installed."""

    edited: list[list[str]]
    count: int = 0


class Edits(msgspec.Struct):
    """What a check of distributions found."""

    of: list[str]
    found: dict[str, Edit]


class Checkout(msgspec.Struct):
    """The state of a folder under git."""

    commit: str | None = None
    diff: str = ""


class Run(msgspec.Struct):
    """An MLflow run."""

    run_id: str
    order: int | None = None
    tracking_uri: str | None = None
    experiment: str | None = None
    params: dict[str, str] = {}
    metrics: dict[str, float | None] = {}
    datasets: list[LoggedDataset] = []


class LoggedDataset(msgspec.Struct):
    """A dataset that was logged as an input of an MLflow run."""

    name: str
    digest: str
    source: str | None = None
    context: str | None = None


class LoggedArtifact(msgspec.Struct):
    """A file that is logged to MLflow; its digest comes later."""

    run_id: str
    path: str
    order: int | None = None
    digest: str | None = None
    size: int | None = None


class Version(msgspec.Struct):
    """What an outside store calls that which was read, or what it held."""

    path: str
    version: str | None = None
    digest: str | None = None
    size: int | None = None
    order: int | None = None


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
    answer: str | None = None


class Expect(msgspec.Struct):
    """Something is expected of a metric."""

    metric: str
    operator: Operator | None = None
    limit: float | None = None
    delta: float | None = None
    order: int | None = None


class Metric(msgspec.Struct):
    """What a scrap or a variable is, or why it is no number."""

    source: Literal["scrapbook", "variable"]
    name: str
    value: float | None = None
    problem: str | None = None


class Seal(msgspec.Struct):
    """All is reported as of now."""

    ended: str
    running: int | None = None
    duration: float | None = None


SHAPES: dict[str, Any] = {
    "start": Start, "begin": Begin, "end": End, "did": Did, "opens": Opens, "output": Outputs,
    "file": File, "files": list[File], "artifact": LoggedArtifact, "version": Version,
    "removed": Removed, "listed": Listed, "gap": Gap, "deep": Deep, "traced": bool,
    "programs": list[str], "modules": list[Module], "imports": Imports, "run": Run,
    "model": LoggedModel, "environment": dict[str, Any], "hardware": Hardware, "seal": Seal,
    "outside": Outside, "widget": WidgetMove, "installed": Installed,
    "distributions": Distributions, "edits": Edits, "checkouts": dict[str, Checkout],
    "expect": Expect, "metric": Metric,
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
