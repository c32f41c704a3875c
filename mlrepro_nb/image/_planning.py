"""From a record to a build plan.

Making one looks at the store, the working tree and, unless told not to, the
registry and the package index; it writes nothing but caches into the store.
What stands in the way of a real build is noted in the plan, so that it can be
previewed all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from mlrepro_nb.capture.environment import lock as _lock
from mlrepro_nb.capture.environment.closure import marker_environment
from mlrepro_nb.connect import command, docker, git, oci, registry
from mlrepro_nb.errors import NotFoundError, ToolError, UsageError
from mlrepro_nb.image import (
    _closure,
    _cuda,
    _files,
    _gates,
    _lab,
    _local,
    _names,
    _origins,
    _overrides,
    _platforms,
    _settings,
)
from mlrepro_nb.image._plan import KINDS, UNNAMED, USER, Plan, Problem
from mlrepro_nb.image.data import listed, read_by
from mlrepro_nb.image.system import with_packages
from mlrepro_nb.model import Distribution, Environment, Gate, Model, Record, Report, Step, silent
from mlrepro_nb.store import Store, project_root

_LAYOUT = "oci:"
_VARIABLES = re.compile(
    r"PYTHONHASHSEED|PYTHONOPTIMIZE|OMP_\w+|KMP_\w+|MKL_\w+|OPENBLAS_\w+|NUMEXPR_\w+|VECLIB_\w+"
    r"|BLIS_NUM_THREADS|CUBLAS_WORKSPACE_CONFIG|NVIDIA_TF32_OVERRIDE|TF_DETERMINISTIC_OPS"
    r"|TF_CUDNN_DETERMINISTIC|TF_ENABLE_ONEDNN_OPTS|XLA_FLAGS|JAX_ENABLE_X64"
    r"|JAX_DEFAULT_PRNG_IMPL|SKLEARN_\w+|TZ"
)
"""Variables that results depend on and that mean the same on every machine."""


def plan(
    target: str,
    *,
    kind: str | None = None,
    repository: str | None = None,
    base: str | None = None,
    version: str | None = None,
    build_id: str | None = None,
    model: str | None = None,
    allow_dirty: bool = False,
    bake_data: bool = False,
    bytecode: bool | None = None,
    gates: Sequence[str] = (),
    changes: Sequence[str] = (),
    offline: bool = False,
    store: Store | None = None,
    report: Report = silent,
) -> Plan:
    """Return the plan of an image of a recorded notebook.

    Parameters
    ----------
    target
        A notebook's path (its newest record), a record's digest or file.
    kind
        ``job`` runs the notebook again and ends by the verdict; ``service``
        serves the model that the run logged; ``notebook`` opens the notebook in
        JupyterLab. By default what the project says, else a job.
    repository, version, build_id
        What the image is called; see the tags in `render.tags`.
    base
        Base image, or ``oci:PATH`` of an OCI layout; the official slim image of the
        kernel's Python by default.
    model
        Name of the model to serve, where the run logged several.
    bake_data
        Copy the data that the run read into the image though git does not track it, however
        large.
    bytecode
        Ship the distributions that are imported compiled, which is the default. Without, the
        image starts slower.
    gates
        Conditions on the run's metrics, ``accuracy >= 0.93``, besides those of
        pyproject.toml. One that does not hold stands in the way of a build.
    changes
        Settings instead of those of pyproject.toml, ``KEY=VALUE``.
    offline
        Ask no registry and no package index: what is not cached stays open.

    Raises
    ------
    NotFoundError
        There is no such record.
    UsageError
        The tree is not what was recorded, or an option cannot be right.
    """
    found_store, root = where(target, store)
    settings = _settings.read(root, changes)
    given = {
        "kind": kind, "base": base, "repository": repository, "version": version,
        "build_id": build_id, "model": model, "bake_data": bake_data or None, "bytecode": bytecode,
    }  # fmt: skip
    kind = kind or settings.kind or "job"
    if kind not in KINDS:
        raise UsageError(f"There is no image kind {kind!r}.", f"Kinds are {', '.join(KINDS)}.")
    model = model or settings.model
    digest, record = found_store.find_record(target)
    code, environment = record.code, _overrides.on_platform(record.environment, settings.platform)
    problems: list[Problem] = []
    notes = [*_files.elsewhere(record), *_unfinished(record, kind)]

    tagged = _version(root, notes)
    named_version = _named_version(version, settings, notes) or tagged or "0.0.0"
    report(Step(message="reading what the run used"))
    served = _served(record, model) if kind == "service" else None
    asked = _files.matching(root, settings.files, origin=settings.origins.get("files", ""))
    gathered = _files.gather(
        record, digest, root, found_store, kind=kind, model=served,
        bake_data=bake_data or settings.bake_data, urls=settings.data, asked=asked,
    )  # fmt: skip
    more = _files.more(asked, gathered.files)
    if kind != "service":
        have = [f.path for f in (*gathered.files, *more)] + [m.path for m in gathered.data.mounts]
        beside, unlisted = listed(
            record, root, have, bake_data=bake_data or settings.bake_data
        )  # fmt: skip
        more += beside
        notes += unlisted
    required = (
        _files.model_requirements(root, served, marker_environment(environment)) if served else {}
    )
    variables = _variables(environment) | gathered.variables | _overrides.plain(settings.variables)
    held = _gates.gates([*settings.gates, *gates], record.results.metrics)
    problems += [_not_held(gate) for gate in held if not _gates.holds(gate)]
    also = _closure.fetchers(gathered.data.items, environment, notes)
    if kind == "service":
        also += _counters(environment, notes)
    if kind == "job" and settings.results is not None:
        variables["MLREPRO_RESULTS"] = settings.results
        also += _closure.trackers(settings.results, environment)
    extra = _overrides.included(settings.include, environment)
    chosen = _needed(kind, environment, required, [*also, *extra], notes)
    chosen = _overrides.without(chosen, settings.exclude, notes)
    if (note := _cuda.unused(record.hardware, chosen)) is not None:
        notes.append(note)
    local = tuple(
        d for d in chosen if d.origin not in ("index", "conda", "system") and not _lock.url(d)
    )
    pins = tuple(
        f"{d.name} @ {_lock.url(d)}" if _lock.url(d) else f"{d.name}=={d.version}"
        for d in chosen
        if d not in local
    ) + tuple(p for p in settings.include if "==" in p)

    named, base_digest, layout = _base(base or settings.base, environment, root)
    if layout is None and base_digest is None and not offline:
        report(Step(message=f"asking for the digest of {named}"))
        base_digest = _base_digest(named, problems)
    elif base_digest is None:
        problems.append(_unpinned(named, "Nobody was asked."))

    lock = _lock.cached(found_store, pins, environment)
    if lock is None and not offline:
        report(Step(message=f"locking {len(pins)} distributions"))
        try:
            lock = _lock.resolve(found_store, pins, environment)
        except ToolError as error:
            problems.append(Problem(message=error.message, remedy=error.remedy))
            notes += [f"uv: {line}" for line in error.output.splitlines()[:6]]

    dirty = code.dirty or _dirty(root, code.notebook)
    if dirty and not allow_dirty:
        problems.append(
            Problem(
                message=_what_is_dirty(code.dirty),
                remedy="Commit and record again, or build with --allow-dirty: then tags and a "
                "label say so.",
                usage=True,
            )
        )
    runs = record.lineage.runs
    trained = served or (record.results.models[-1] if record.results.models else None)
    planned = Plan(
        kind=next(k for k in KINDS if k == kind),
        record=digest,
        notebook=code.notebook,
        python=environment.python,
        machine=environment.system.machine,
        base=str(named),
        base_digest=base_digest,
        base_layout=layout,
        bytecode=settings.bytecode if bytecode is None else bytecode,
        compile_only=_closure.compile_only(kind, chosen, [*also, *extra], environment),
        user=_overrides.user(settings.user) or USER,
        pins=pins,
        lock=lock,
        local=local,
        archived=_local.archived(local, found_store),
        files=(*gathered.files, *more),
        mounts=gathered.data.mounts,
        items=gathered.data.items,
        lab=_lab.lock(environment) if kind == "notebook" else None,
        kernel=environment.kernelspec or "python3",
        variables=variables,
        repository=_names.repository(
            repository or settings.repository, notebook=code.notebook, kind=kind
        ),
        version=named_version,
        build_id=_names.build_id(build_id or settings.build_id, digest),
        commit=code.commit,
        dirty=dirty,
        source=command.redact(code.remote) if code.remote else None,
        created=record.lineage.ended,
        run=runs[-1].run_id if runs else None,
        cell=trained.cell if trained and trained.cell is not None else _run_cell(record),
        data=read_by(record),
        model=trained.digest if trained else None,
        gates=held,
        notes=(*notes, *gathered.data.notes),
        problems=tuple(problems),
    )
    planned = with_packages(
        planned, environment, settings, found_store, offline=offline, report=report
    )
    return msgspec.structs.replace(
        planned, origins=_origins.origins(planned, given, settings, tagged=tagged)
    )


def where(target: str, store: Store | None) -> tuple[Store, Path]:
    """Return the store and the project's folder."""
    path = Path(target)
    if path.suffix == ".ipynb" and not path.is_file():
        raise NotFoundError(f"There is no notebook {target}.", "Check the path.")
    start = path.resolve().parent if path.is_file() else Path.cwd()
    found = store or Store.find(start)
    root = project_root(start) or (found.root.parent if found.root.name == ".mlrepro" else start)
    return found, root


def _served(record: Record, name: str | None) -> Model:
    models = {m.uri: m for m in record.results.models if name in (None, m.name, m.uri, m.model_id)}
    logged = ", ".join(sorted({m.name for m in record.results.models})) or "none"
    if not models:
        raise UsageError(
            f"The recorded run logged no model {name!r} (it logged: {logged})."
            if name
            else f"The recorded run of {record.code.notebook} logged no model, so there is nothing "
            "to serve.",
            "Log it in the notebook (mlflow.sklearn.log_model(...)) and record again, or build "
            "--kind job.",
        )
    if len({m.name for m in models.values()}) > 1:
        raise UsageError(
            f"The recorded run logged several models: {logged}.", "Choose one with --model NAME."
        )
    return list(models.values())[-1]


def _unfinished(record: Record, kind: str) -> list[str]:
    """Return a note where the recorded run did not get to its end as it should."""
    results = record.results
    if results.status == "ok":
        return []
    failed = next((c.index for c in reversed(record.code.cells) if c.status != "ok"), None)
    where = "" if failed is None else f" in cell {failed}"
    what = (results.error or "").partition("\n")[0].removeprefix(f"cell {failed}: ")
    how = "ended with an error" if results.status == "error" else "was interrupted"
    then = "a job that fails alike reproduces it, with exit code 0. " if kind == "job" else ""
    return [
        f"The recorded run {how}{where}{f' ({what})' if what else ''}: {then}Mend it and record "
        "again, unless it is to end like that."
    ]


def _not_held(gate: Gate) -> Problem:
    return Problem(
        message=f"The recorded run does not meet {_gates.told(gate)}; nothing was tagged or "
        "pushed.",
        remedy="Train a better model and record it, or change the gate.",
        gate=True,
    )


def _counters(environment: Environment, notes: list[str]) -> list[str]:
    """Return what a service's metrics need, where the recorded environment has it."""
    name = "prometheus-client"
    if any(d.name == name for d in environment.distributions):
        return [name]
    notes.append(
        f"The service will have no /metrics: the recorded environment lacks {name}. Install it "
        f"(pip install {name}) and record again."
    )
    return []


def _run_cell(record: Record) -> int | None:
    return next((r.cell for r in reversed(record.lineage.runs) if r.cell is not None), None)


def _needed(
    kind: str, environment: Environment, model: dict[str, str], also: list[str], notes: list[str]
) -> tuple[Distribution, ...]:
    own = next((d for d in environment.distributions if d.name == "mlrepro-nb"), None)
    if own is None:
        raise UsageError(
            "The recorded environment lacks mlrepro-nb, which runs in the image.",
            "Install it in the kernel's environment (pip install mlrepro-nb) and record again.",
        )
    found = _closure.closure(
        [*_closure.roots(kind, environment, model), *also], environment, _closure.recorded_edges
    )
    if found.absent:
        lacking = ", ".join(found.absent)
        raise UsageError(
            f"The recorded environment lacks {lacking}, which a {kind} image needs.",
            f"pip install {' '.join(found.absent)}, and record again.",
        )
    if not found.unknown:
        # Our own part of a service needs none of what the rest of mlrepro-nb needs.
        return _sorted({*found.distributions, own})
    notes.append(
        f"{', '.join(found.unknown[:5])}: not installed here in the recorded version, so what "
        "they need is not known; the image gets the whole recorded environment."
    )
    chosen = {d.name for d in found.distributions} | {own.name}
    return _sorted(d for d in environment.distributions if d.origin == "index" or d.name in chosen)


def _sorted(distributions: Iterable[Distribution]) -> tuple[Distribution, ...]:
    return tuple(sorted(distributions, key=lambda d: d.name))


def _base(
    named: str | None, environment: Environment, root: Path
) -> tuple[registry.Reference, str | None, str | None]:
    """Return the base image, its digest if it is said, and the OCI layout that it is in, if any."""
    if named and named.startswith(_LAYOUT):
        path = (root / Path(named[len(_LAYOUT) :]).expanduser()).resolve()
        found, name = oci.Layout(path).find(_platforms.platform(environment.system.machine))
        # Its path is of this machine alone: the image is called as the layout calls it.
        return registry.parse(name or UNNAMED), found.digest, str(path)
    reference = _names.base(
        named, python=environment.python, implementation=environment.implementation
    )
    return reference, reference.digest, None


def _unpinned(base: registry.Reference, why: str) -> Problem:
    return Problem(
        message=f"The digest of the base image {base} is not known. {why}",
        remedy="Give --base NAME@sha256:…, or `docker pull` it once where its registry answers.",
    )


def _base_digest(base: registry.Reference, problems: list[Problem]) -> str | None:
    try:
        return registry.resolve(str(base))
    except ToolError as error:
        why = error.message
    # An image that was pulled carries the digest that it was pulled by.
    try:
        local = docker.inspect(str(base))
    except ToolError:
        local = None
    for reference in local.repo_digests if local else ():
        if registry.parse(reference).name == base.name:
            return reference.rpartition("@")[2]
    problems.append(_unpinned(base, why))
    return None


def _variables(environment: Environment) -> dict[str, str]:
    found = {n: v for n, v in environment.variables.items() if _VARIABLES.fullmatch(n)}
    threads = [pool.threads for pool in environment.threadpools]
    if threads and not any(n.endswith("_NUM_THREADS") for n in found):
        # Sums are split among the threads: another number of them, another last digit.
        found["OMP_NUM_THREADS"] = str(max(threads))
    return dict(sorted(found.items()))


def _dirty(root: Path, notebook: str) -> bool:
    return git.root(root) is not None and git.state(root, notebook).dirty


def _what_is_dirty(recorded: bool) -> str:  # noqa: FBT001
    if recorded:
        return "The notebook was recorded with changes that are in no commit."
    return "The working tree has changes that are in no commit."


def _named_version(given: str | None, settings: _settings.Settings, notes: list[str]) -> str | None:
    """Return the version that the user or the project names, as a semantic one."""
    if given is not None:
        return _names.version(given, said="--version", convert=False)
    if settings.version is None:
        return None
    where = settings.origins.get("version", "")
    # A package's own is as the packages of Python have it; who names the image's can name it right.
    made = _names.version(
        settings.version, said=f"{where}: version", convert=where == _settings.PROJECT
    )
    if made != settings.version:
        notes.append(f"Version {settings.version} ({where}) is {made} as an image's.")
    return made


def _version(root: Path, notes: list[str]) -> str | None:
    described = git.latest_tag(root) if git.root(root) is not None else None
    if not described:
        return None
    try:
        return _names.version(described.removeprefix("v"), said="git tag", convert=True)
    except UsageError:
        notes.append(f"The git tag {described} is no semantic version, so it is not the image's.")
        return None
