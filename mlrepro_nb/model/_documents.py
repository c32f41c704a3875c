"""The documents that the store keeps: a record, and what the verbs make of it."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeVar

import msgspec

from mlrepro_nb.model._code import Code
from mlrepro_nb.model._data import DataAccess
from mlrepro_nb.model._environment import Environment
from mlrepro_nb.model._hardware import Hardware
from mlrepro_nb.model._lineage import Origin
from mlrepro_nb.model._randomness import Randomness
from mlrepro_nb.model._results import Operator, Parameters, Results

SCHEMA_VERSION = 1


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What ran: the eight parts of a complete model version."""

    kind: ClassVar[str] = "record"

    schema_version: int = SCHEMA_VERSION
    code: Code
    data: tuple[DataAccess, ...] = ()
    parameters: Parameters = Parameters()
    environment: Environment
    randomness: Randomness = Randomness()
    hardware: Hardware
    results: Results = Results()
    lineage: Origin

    def cells_of(self, access: DataAccess) -> tuple[int, ...]:
        """Return the indices of the cells that opened something, the first one first."""
        indices = {cell.order: cell.index for cell in self.code.cells}
        found = [indices.get(order) for order in access.orders] or [access.cell]
        return tuple(dict.fromkeys(index for index in found if index is not None))


CAUSES: dict[str, tuple[str, ...]] = {
    "environment": (
        "undeclared-dependency", "version-drift", "local-edit", "environment-variable",
        "system-binary", "kernelspec", "startup-state", "hardware", "python2",
    ),
    "hidden state": (
        "deleted-definition", "out-of-order", "repeated-execution", "edited-after-run",
        "console-state", "skipped-cell", "in-place-mutation", "widget-state", "interrupted",
    ),
    "data": (
        "missing-file", "changed-data", "absolute-path", "remote-data", "self-overwrite",
        "untracked-file",
    ),
    "nondeterminism": (
        "unseeded-randomness", "shifted-stream", "clock", "hash-seed", "listing-order",
        "parallel-reduction", "entropy",
    ),
    "record": ("edited-output", "output-loss", "unexecuted-stamp", "unrecorded"),
    "code": ("api-change", "exception"),
    "person": ("interactive-input",),
}  # fmt: skip
"""The stable names of causes, by group (design.md)."""

Verdict = Literal[
    "bitwise",
    "within-tolerance",
    "statistically-equivalent",
    "consistent",
    "inconclusive",
    "different",
    "failed",
]

REPRODUCED: frozenset[str] = frozenset({"bitwise", "within-tolerance", "statistically-equivalent"})
"""Verdicts for which `mlrepro verify` exits with 0."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why a cell was not reproduced."""

    kind: str
    """One of `CAUSES`."""
    cell: int | None
    """The cell to blame, which need not be the cell whose output differs."""
    subject: str
    """The name, file or package to blame."""
    evidence: str
    fix: str
    confidence: Literal["confirmed", "likely"] = "likely"
    """``confirmed`` where reruns showed it: the output hangs on that condition."""
    requirement: str | None = None
    """What pip is to install, where that is the fix: ``pandas==2.2.3``."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One more run of a notebook, to tell the cause of a difference."""

    conditions: tuple[str, ...] = ()
    """What was held or put back in it: ``seeds``, ``clock``, ``hash-seed``…; none: the same."""
    why: str
    told: tuple[int, ...] = ()
    """The cells of which it told something."""
    problem: str | None = None
    """Why it could not be run."""


class CellVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one cell."""

    index: int
    id: str | None = None
    verdict: Verdict
    cause: Cause | None = None
    detail: str | None = None
    """What differs, in a line: ``stdout: 0.93 → 0.91``."""


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """One of several runs of a notebook, each with seeds of its own."""

    run: int
    """From 1 on; it is also what its seeds were varied by."""
    record: str | None = None
    problem: str | None = None
    """Why it gave nothing: where it failed."""
    duration: float = 0.0


class MetricVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What several runs say of one metric."""

    metric: str
    source: Literal["mlflow", "scrapbook", "variable"] | None = None
    verdict: Verdict
    detail: str
    """The verdict's reason, in a sentence."""
    delta: float | None = None
    """The smallest difference that matters, as it was declared before the runs."""
    operator: Operator | None = None
    limit: float | None = None
    met: int | None = None
    """How many of the runs are within the limit, where there is one."""
    reference: tuple[float, ...] = ()
    rerun: tuple[float, ...] = ()
    difference: float | None = None
    """Of the means: rerun less reference."""
    low: float | None = None
    """Lower end of the interval of the difference that decides; None where it has none."""
    high: float | None = None
    paired: bool = False
    """Whether runs of the same seeds were compared one by one."""
    needed: int | None = None
    """Runs on each side with which it would be decided in 80 % of cases, where it is not."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The result of running a notebook again."""

    kind: ClassVar[str] = "verification"

    schema_version: int = SCHEMA_VERSION
    verdict: Verdict
    notebook: str
    record: str | None
    """Digest of the reference record; None when the stored outputs were all that was known."""
    rerun: str | None = None
    """Digest of the record of the rerun itself."""
    cells: tuple[CellVerdict, ...] = ()
    causes: tuple[Cause, ...] = ()
    trials: tuple[Trial, ...] = ()
    """The runs after the first, each with its reason."""
    metrics: tuple[MetricVerdict, ...] = ()
    """What several runs say of the metrics (``--runs``)."""
    runs: tuple[Sampled, ...] = ()
    executed: str | None = None
    """Path of the executed copy."""
    notes: tuple[str, ...] = ()
    """What was not as it was meant to be, one sentence each: data that could not be restored."""
    created: str
    duration: float = 0.0


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on a metric, and the value that the run logged."""

    metric: str
    operator: Operator
    limit: float
    value: float


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A container image that was built from a record."""

    kind: ClassVar[str] = "image"

    schema_version: int = SCHEMA_VERSION
    record: str
    notebook: str
    image_kind: Literal["job", "service", "notebook"]
    id: str
    """Digest of the image's configuration, as the engine names it."""
    digest: str | None = None
    """Digest of the manifest, once it was pushed."""
    manifest: str | None = None
    """The same, where the builder knows it before a registry has it."""
    builder: Literal["docker", "oci"] = "docker"
    """The engine's, or the one that needs none."""
    toolchain: str | None = None
    """What else the digest depends on, ``buildkit v0.34.2``. It is in no label: two versions
    that build the same bytes give the same digest."""
    repository: str
    tags: tuple[str, ...]
    base: str
    """Reference of the base image, by digest."""
    commit: str | None
    dirty: bool
    version: str
    build_id: str
    containerfile: str
    """Digest of the blob that holds it."""
    lock: str
    """Digest of the blob that holds the hash-pinned requirements."""
    packages: str | None = None
    """Digest of the blob that holds the operating system's packages beside the base image's, by
    hash."""
    model: str | None = None
    """`Model.digest` of the model that a service image serves."""
    predictions: str | None = None
    """Digest of the blob that holds what the model predicted where it was recorded."""
    gates: tuple[Gate, ...] = ()
    """Conditions on metrics that it met."""
    tests: tuple[str, ...] = ()
    """What it was seen to do before it got its tags."""
    fetches: int | None = None
    """Bytes of data that a container fetches or finds mounted; None where all is in the image."""
    mounts: str | None = None
    """That part of it, in words, which nothing says where to fetch: it has to be mounted."""
    sbom: str | None = None
    """Digest of the blob that holds its bill of materials (CycloneDX)."""
    provenance: str | None = None
    """Digest of the blob that holds its provenance, an in-toto Statement."""
    referrers: tuple[str, ...] = ()
    """Digests of the manifests by which these are attached to it in the registry."""
    signed: str | None = None
    """Who signed them: ``key`` and what it is called by, or ``identity``."""
    created: str


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A set of manifests, rendered and perhaps applied."""

    kind: ClassVar[str] = "rollout"

    schema_version: int = SCHEMA_VERSION
    image: str
    """Reference by digest."""
    record: str | None
    name: str
    namespace: str
    workload: Literal["Deployment", "Job"]
    manifests: str
    """Digest of the blob that holds the YAML."""
    context: str | None = None
    """Kubernetes context; None when it was only rendered."""
    revision: int | None = None
    status: Literal["rendered", "applied", "complete", "failed"] = "rendered"
    reason: str | None = None
    """Why it failed, in a sentence."""
    previous: str | None = None
    """Reference by digest of the image that last worked under this name."""
    created: str


Document = Record | Verification | Image | Rollout
D = TypeVar("D", Record, Verification, Image, Rollout)

DOCUMENTS: dict[str, type[Document]] = {t.kind: t for t in (Record, Verification, Image, Rollout)}


def decode(kind: type[D], data: bytes) -> D:
    """Read a document from JSON.

    Raises
    ------
    msgspec.ValidationError
        Where the JSON is not a document of this kind.
    """
    return msgspec.json.decode(data, type=kind)
