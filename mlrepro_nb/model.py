"""The nouns: frozen values, their canonical JSON and digest. No I/O.

Everything that the verbs hand to each other is a value of this module. A
document (`Record`, `Verification`, `Image`, `Rollout`) has one canonical form
(RFC 8785) and one digest, ``sha256:`` over that form; the digest is its name in
the store, on the image's labels and in the Deployment's annotations.

Conventions: times are RFC 3339 in UTC with a ``Z``; durations are seconds; sizes
are bytes; file identities are ``blake3:<hex>``, everything else ``sha256:<hex>``;
``cell`` and ``index`` count all cells of the notebook file from 0, and are None
where a live kernel ran code that the file does not hold (any more).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

SCHEMA_VERSION = 1


# --- code -------------------------------------------------------------------


class ExecutedCell(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of one cell, in the order in which the kernel ran them.

    `source` is the text as executed with secrets masked; `digest` is over the
    unmasked text, so that an edit after the run shows.
    """

    order: int
    index: int | None = None
    id: str | None = None
    execution_count: int | None = None
    name: str | None = None
    source: str
    digest: str
    status: Literal["ok", "error", "interrupted"] = "ok"
    started: str
    duration: float


class LocalModule(msgspec.Struct, frozen=True, kw_only=True):
    """A module that was imported from the project, not from a distribution."""

    name: str
    path: str
    digest: str


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """Where the code was and what ran."""

    remote: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    diff: str | None = None
    """Digest of the blob that holds ``git diff HEAD`` plus untracked sources, secrets masked."""
    notebook: str
    """Path of the notebook in the repository, ``/`` between the parts."""
    cells: tuple[ExecutedCell, ...] = ()
    modules: tuple[LocalModule, ...] = ()


# --- data -------------------------------------------------------------------


class DvcPointer(msgspec.Struct, frozen=True, kw_only=True):
    """The ``.dvc`` file or ``dvc.lock`` stage that tracks a file."""

    file: str
    md5: str
    remote: str | None = None


class DataAccess(msgspec.Struct, frozen=True, kw_only=True):
    """A file, table or URL that the run read or wrote. One entry a path and kind of access."""

    path: str
    """As the code gave it."""
    repo_path: str | None = None
    """Path inside the repository, where it lies in one."""
    digest: str | None = None
    """``blake3:…``; None for what cannot be hashed: a URL, a file gone before it could be read."""
    md5: str | None = None
    size: int | None = None
    access: Literal["read", "write"]
    cell: int | None = None
    execution: int | None = None
    """`ExecutedCell.order` of the execution that opened it first."""
    tracked: bool = False
    """Under git."""
    dvc: DvcPointer | None = None
    layers: tuple[str, ...] = ()
    """Capture layers that saw it: ``audit``, ``wrapper:pyarrow``…"""


# --- parameters ---------------------------------------------------------------


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters by who was told them. Values are JSON; secrets are masked."""

    papermill: dict[str, Any] = {}
    mlflow: dict[str, str] = {}


# --- environment --------------------------------------------------------------


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """An installed distribution."""

    name: str
    """Normalised (PEP 503)."""
    version: str
    origin: Literal["index", "wheel", "git", "editable", "local", "conda"] = "index"
    source: str | None = None
    """Of what does not come from an index: the URL without credentials, or ``path``."""
    commit: str | None = None
    imported: bool = False
    modules: tuple[str, ...] = ()
    """Top-level modules of it that the run imported."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """The operating system."""

    name: str
    version: str
    kernel: str
    machine: str


class ThreadPool(msgspec.Struct, frozen=True, kw_only=True):
    """A BLAS or OpenMP build in the process (threadpoolctl)."""

    api: str
    implementation: str
    version: str | None = None
    threads: int


class SharedLibrary(msgspec.Struct, frozen=True, kw_only=True):
    """A shared library mapped into the process from outside the Python environment."""

    name: str
    package: str | None = None
    version: str | None = None
    digest: str | None = None


class Cuda(msgspec.Struct, frozen=True, kw_only=True):
    """CUDA as the process sees it."""

    driver: str | None = None
    runtime: str | None = None
    cudnn: str | None = None


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the code ran on, in software."""

    python: str
    implementation: str
    kernelspec: str
    distributions: tuple[Distribution, ...] = ()
    system: System
    threadpools: tuple[ThreadPool, ...] = ()
    libraries: tuple[SharedLibrary, ...] = ()
    cuda: Cuda | None = None
    variables: dict[str, str] = {}
    """By allow-list; never a secret."""
    lock: str | None = None
    """Digest of the blob that holds the hash-pinned requirements, once one was resolved."""


# --- randomness ---------------------------------------------------------------


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """A call that seeded a generator."""

    generator: str
    """``random``, ``numpy``, ``numpy.Generator:<name>``, ``torch``."""
    value: str
    cell: int | None = None
    execution: int | None = None


class GeneratorUse(msgspec.Struct, frozen=True, kw_only=True):
    """A generator whose state a cell changed."""

    generator: str
    cell: int | None = None
    execution: int
    before: str
    after: str
    seeded: bool
    """Whether it had been seeded since the kernel started when the cell drew from it."""


class Entropy(msgspec.Struct, frozen=True, kw_only=True):
    """A draw of operating-system entropy that seeded a generator."""

    source: str
    cell: int | None = None
    execution: int | None = None


class Randomness(msgspec.Struct, frozen=True, kw_only=True):
    """Seeds, generator states and entropy."""

    seeds: tuple[Seed, ...] = ()
    uses: tuple[GeneratorUse, ...] = ()
    entropy: tuple[Entropy, ...] = ()
    cells: dict[str, Literal["seeded", "unseeded", "none"]] = {}
    """By execution order, as a string."""


# --- hardware -------------------------------------------------------------------


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU."""

    product: str
    uuid: str
    memory: int
    compute_capability: str | None = None
    mig: bool = False
    used: bool = False


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The most that the run used."""

    memory: int = 0
    """Bytes, of the process tree."""
    cpu: float = 0.0
    """Cores, 95th percentile of the samples."""
    cpu_seconds: float = 0.0
    gpu_memory: int = 0
    samples: int = 0


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """What the code ran on, in silicon."""

    cpu: str
    cores: int
    flags: tuple[str, ...] = ()
    memory: int
    gpus: tuple[Gpu, ...] = ()
    peak: Peak = Peak()


# --- results --------------------------------------------------------------------


class CellOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One output of one execution, by digest.

    `data` maps a MIME type to the digest of its content; a stream is
    ``application/vnd.jupyter.stdout`` or ``…stderr``, an exception
    ``application/vnd.jupyter.error``.
    """

    execution: int
    cell: int | None = None
    output_type: str
    data: dict[str, str]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the run logged."""

    name: str
    uri: str
    model_id: str | None = None
    version: str | None = None
    flavor: str | None = None
    digest: str | None = None
    """``sha256:`` over the sorted paths and digests of the model's files."""
    path: str | None = None
    """Where its files are, relative to the repository, when they are on this machine."""
    cell: int | None = None
    execution: int | None = None


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What came out."""

    status: Literal["ok", "error", "interrupted"] = "ok"
    error: str | None = None
    outputs: tuple[CellOutput, ...] = ()
    metrics: dict[str, float] = {}
    models: tuple[Model, ...] = ()
    artifacts: tuple[str, ...] = ()
    notebook: str | None = None
    """Digest of the blob that holds the executed notebook (headless runs)."""
    duration: float = 0.0


# --- lineage --------------------------------------------------------------------


class MlflowRun(msgspec.Struct, frozen=True, kw_only=True):
    """The MLflow run that the notebook logged to."""

    run_id: str
    experiment: str | None = None
    tracking_uri: str | None = None
    """Without credentials; relative to the repository when it is a local file."""
    cell: int | None = None


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who made the record, when, with what, from what."""

    mode: Literal["interactive", "headless", "verify"]
    who: str
    started: str
    ended: str
    tool: str
    """``mlrepro-nb <version>``."""
    runs: tuple[MlflowRun, ...] = ()
    parent: str | None = None
    """Digest of the record that this run repeats."""
    capture: Literal["complete", "partial"] = "complete"
    gaps: tuple[str, ...] = ()
    """What could not be captured, one sentence each."""


# --- documents ------------------------------------------------------------------


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
    "record": ("edited-output", "output-loss", "unexecuted-stamp"),
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


class CellVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one cell."""

    index: int
    id: str | None = None
    verdict: Verdict
    cause: Cause | None = None
    detail: str | None = None
    """What differs, in a line: ``stdout: 0.93 → 0.91``."""


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
    executed: str | None = None
    """Path of the executed copy."""
    created: str
    duration: float = 0.0


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A container image that was built from a record."""

    kind: ClassVar[str] = "image"

    schema_version: int = SCHEMA_VERSION
    record: str
    notebook: str
    image_kind: Literal["job", "service"]
    id: str
    """Digest of the image's configuration, as the engine names it."""
    digest: str | None = None
    """Digest of the manifest, once it was pushed."""
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
    model: str | None = None
    """`Model.digest` of the model that a service image serves."""
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


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 canonical JSON of a value or of plain JSON data.

    Raises
    ------
    ValueError
        For NaN, infinities, integers beyond 2**53 and lone surrogates, which
        RFC 8785 does not know.
    """
    import rfc8785

    return rfc8785.dumps(msgspec.to_builtins(value))


def digest(value: Any) -> str:
    """Return ``sha256:<hex>`` over the canonical JSON of a value."""
    return digest_bytes(canonical(value))


def digest_bytes(data: bytes) -> str:
    """Return ``sha256:<hex>`` over bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_text(text: str) -> str:
    """Return ``sha256:<hex>`` over the UTF-8 form of a text; lone surrogates are kept apart."""
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def decode(kind: type[D], data: bytes) -> D:
    """Read a document from JSON.

    Raises
    ------
    msgspec.ValidationError
        Where the JSON is not a document of this kind.
    """
    return msgspec.json.decode(data, type=kind)


def short(digest: str, length: int = 12) -> str:
    """Return the first hex digits of a digest, to show to people."""
    return digest.rpartition(":")[2][:length]


# --- progress -------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of long work: what is going on, and how far it is."""

    message: str
    done: float | None = None
    total: float | None = None
    log: bool = False
    """A line of a tool's own output, to be shown as it comes."""


Report = Callable[[Step], None]
"""What long work tells its progress to. It must return at once and never raise."""


def silent(step: Step) -> None:
    """Report nothing."""
