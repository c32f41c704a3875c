"""Events to a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlrepro_nb.capture._cells import Cells
from mlrepro_nb.capture._data import accesses
from mlrepro_nb.capture._events import is_whole
from mlrepro_nb.capture.environment import describe_os_packages, tool
from mlrepro_nb.capture.outputs import output_digests
from mlrepro_nb.capture.paths import relative
from mlrepro_nb.capture.secrets import mask, mask_values
from mlrepro_nb.connect import git
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import (
    CellOutput,
    Code,
    Entropy,
    Environment,
    GeneratorUse,
    Hardware,
    LocalModule,
    MlflowRun,
    Model,
    Origin,
    Parameters,
    Peak,
    Randomness,
    Record,
    Results,
    Seed,
    System,
)

Event = tuple[str, Any]


class Told(msgspec.Struct):
    """Events sorted by what they tell; of what is told again, the last counts."""

    start: dict[str, Any] = {}
    begins: dict[int, dict[str, Any]] = {}
    ends: dict[int, dict[str, Any]] = {}
    outputs: dict[int, list[dict[str, Any]]] = {}
    opens: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    removed: set[str] = set()
    environment: dict[str, Any] = {}
    hardware: dict[str, Any] = {}
    modules: list[dict[str, Any]] = []
    imports: list[str] = []
    runs: dict[str, dict[str, Any]] = {}
    models: dict[str, dict[str, Any]] = {}
    gaps: dict[str, None] = {}
    seal: dict[str, Any] = {}


def assemble(
    events: Iterable[Event],
    *,
    notebook: str,
    root: Path | None,
    mode: Literal["interactive", "headless", "verify"],
    nb: Mapping[str, Any] | None = None,
    positions: Sequence[int | None] | None = None,
    parent: str | None = None,
    gaps: Sequence[str] = (),
    put_blob: Callable[[bytes], str],
) -> Record:
    """Turn what a recorder reported into a record.

    Works on events that were cut short by a kernel's death: a cell without an
    end was interrupted, what was to come only at the end is a gap.

    Parameters
    ----------
    events : iterable of (kind, data)
        What the sink of a `Recorder` received.
    notebook : str
        Name of the notebook in the record.
    root : Path or None
        The project's folder.
    mode : str
        How the notebook was run.
    nb : mapping, optional
        The notebook, to find the cells' indices; if it was executed in these
        very events, its outputs are the record's.
    positions : sequence, optional
        For each cell of `nb`, its index in the notebook file, where that is not the same.
    parent : str, optional
        Digest of the record that was run again.
    gaps : sequence of str
        What else is known to be missing.
    put_blob : callable
        Keeps bytes and returns their digest.
    """
    told = _sort(events)
    for gap in gaps:
        told.gaps.setdefault(gap)
    cells = Cells(told.begins, told.ends, nb, positions, running=told.seal.get("running"))
    executed = cells.executed(told.seal)
    if not told.seal:
        told.gaps.setdefault(
            "The kernel ended before its last report: modules and peak use may be missing."
            if told.start
            else "Nothing was reported by the kernel."
        )
    data = accesses(told, cells, root)
    status, error = _status(executed, told)
    outputs = _outputs(told, cells, nb if mode != "interactive" else None)
    runs, models, metrics, params = _mlflow(told, cells, root)
    return Record(
        code=_code(told, executed, notebook, root, put_blob),
        data=data,
        parameters=Parameters(papermill=_papermill(nb), mlflow=params),
        environment=_environment(told),
        randomness=_randomness(told, cells),
        hardware=_hardware(told),
        results=Results(
            status=status,
            error=error,
            outputs=outputs,
            metrics=metrics,
            models=models,
            duration=_duration(told, executed),
        ),
        lineage=Origin(
            mode=mode,
            who=str(told.start.get("who", "")),
            started=told.start.get("time") or _now(),
            ended=told.seal.get("ended")
            or _last_seen(executed)
            or told.start.get("time")
            or _now(),
            tool=told.start.get("tool") or tool(),
            runs=runs,
            parent=parent,
            capture="partial" if told.gaps else "complete",
            gaps=tuple(told.gaps),
        ),
    )


def _sort(events: Iterable[Event]) -> Told:
    told = Told()
    for kind, data in events:
        if is_whole(kind, data):
            _take(told, kind, data)
        else:
            told.gaps.setdefault(f"A damaged {str(kind)[:20]!r} event was left out.")
    return told


def _take(told: Told, kind: str, data: Any) -> None:
    if kind == "begin":
        told.begins[int(data["order"])] = data
        told.seal = {}  # what was sealed before was not the end
    elif kind == "end":
        told.ends[int(data["order"])] = data
        told.opens.extend(data.get("opens") or ())
    elif kind == "opens":
        told.opens.extend(data["opens"])
    elif kind == "output":
        told.outputs[int(data["order"])] = data["outputs"]
    elif kind == "file":
        told.files.append(data)
    elif kind == "removed":
        told.removed.add(data["absolute"])
    elif kind == "gap":
        told.gaps.setdefault(str(data["text"]))
    elif kind == "run":
        told.runs.setdefault(data["run_id"], {}).update(data)
    elif kind == "model":
        told.models.setdefault(data["uri"], {}).update(data)
    elif kind != "start" or not told.start:
        setattr(told, kind, data)


def _status(executed: Any, told: Told) -> tuple[Literal["ok", "error", "interrupted"], str | None]:
    for cell in reversed(executed):
        if cell.status != "ok":
            # In a live kernel an error that was put right later is history.
            later = [c for c in executed if c.order > cell.order and c.digest == cell.digest]
            if any(c.status == "ok" for c in later):
                continue
            if cell.order != executed[-1].order and told.start.get("mode") == "interactive":
                continue
            return cell.status, (told.ends.get(cell.order) or {}).get("error")
    return "ok", None


def _code(
    told: Told, executed: Any, notebook: str, root: Path | None, put_blob: Callable[[bytes], str]
) -> Code:
    state = git.GitState()
    if root is not None and git.root(root) is not None:
        try:
            state = git.state(root, notebook)
        except MlreproError as error:
            told.gaps.setdefault(f"The state of git is unknown: {error.message}")
    diff = put_blob(mask(state.diff).encode()) if state.diff else None
    modules = []
    for module in told.modules:
        path = relative(module["absolute"], root)
        if path is not None:
            modules.append(LocalModule(name=module["name"], path=path, digest=module["digest"]))
    return Code(
        remote=state.remote,
        commit=state.commit,
        branch=state.branch,
        dirty=state.dirty,
        diff=diff,
        notebook=notebook,
        cells=executed,
        modules=tuple(sorted(modules, key=lambda module: module.path)),
    )


def _outputs(told: Told, cells: Any, nb: Mapping[str, Any] | None) -> tuple[CellOutput, ...]:
    found = []
    for order in sorted(told.begins):
        listed = told.outputs.get(order, [])
        position = cells.position(order)
        if nb is not None and position is not None:
            # What the file holds is what a rerun is compared with.
            listed = [
                {"output_type": output["output_type"], "data": output_digests(output)}
                for output in nb["cells"][position].get("outputs") or ()
            ]
        found += [
            CellOutput(execution=order, cell=cells.index(order), **output) for output in listed
        ]
    return tuple(found)


def _randomness(told: Told, cells: Any) -> Randomness:
    seeds: list[Seed] = []
    uses: list[GeneratorUse] = []
    entropy: list[Entropy] = []
    verdicts: dict[str, Literal["seeded", "unseeded", "none"]] = {}
    for order in sorted(told.begins):
        did = (told.ends.get(order) or {}).get("randomness") or {}
        index = cells.index(order)
        seeds += [Seed(**seed, cell=index, execution=order) for seed in did.get("seeds", ())]
        uses += [GeneratorUse(**use, cell=index, execution=order) for use in did.get("uses", ())]
        entropy += [
            Entropy(source=source, cell=index, execution=order)
            for source in dict.fromkeys(did.get("entropy", ()))
        ]
        used = did.get("uses", ())
        if did.get("entropy") or any(not use["seeded"] for use in used):
            verdicts[str(order)] = "unseeded"
        else:
            verdicts[str(order)] = "seeded" if used else "none"
    return Randomness(seeds=tuple(seeds), uses=tuple(uses), entropy=tuple(entropy), cells=verdicts)


def _environment(told: Told) -> Environment:
    described = dict(told.environment)
    described.pop("imported", None)
    libraries = described.pop("libraries", [])
    if not described:
        return Environment(
            python=str(told.start.get("python", "")),
            implementation=str(told.start.get("implementation", "")),
            kernelspec=str(told.start.get("kernelspec", "")),
            system=System(name="", version="", kernel="", machine=""),
        )
    return msgspec.convert({**described, "libraries": describe_os_packages(libraries)}, Environment)


def _hardware(told: Told) -> Hardware:
    peaks = [end["peak"] for end in told.ends.values() if end.get("peak")]
    peaks += [told.hardware["peak"]] if told.hardware.get("peak") else []
    peak = {name: max(p.get(name, 0) for p in peaks) for p0 in peaks[:1] for name in p0}
    if not told.hardware:
        return Hardware(cpu="", cores=0, memory=0, peak=msgspec.convert(peak, Peak))
    if "gpu_memory" in told.hardware.get("peak", {}):
        peak["gpu_memory"] = told.hardware["peak"]["gpu_memory"]
    return msgspec.convert({**told.hardware, "peak": peak}, Hardware)


def _mlflow(
    told: Told, cells: Any, root: Path | None
) -> tuple[tuple[MlflowRun, ...], tuple[Model, ...], dict[str, float], dict[str, str]]:
    runs: list[MlflowRun] = []
    metrics: dict[str, float] = {}
    params: dict[str, str] = {}
    for run_id, run in told.runs.items():
        runs.append(
            MlflowRun(
                run_id=run_id,
                experiment=run.get("experiment"),
                tracking_uri=_local_uri(run.get("tracking_uri"), root),
                cell=cells.index(run.get("order")),
            )
        )
        # Several runs log the same names: the last run's are the notebook's result.
        metrics |= {k: v for k, v in (run.get("metrics") or {}).items() if _is_number(v)}
        params |= {k: str(v) for k, v in mask_values(run.get("params") or {}).items()}
    models = []
    for model in told.models.values():
        order = model.get("order")
        path = model.get("path")
        models.append(
            Model(
                name=str(model.get("name")),
                uri=str(model["uri"]),
                model_id=model.get("model_id"),
                version=model.get("version"),
                flavor=model.get("flavor"),
                digest=model.get("digest"),
                path=relative(path, root) if path else None,
                cell=cells.index(order),
                execution=order,
            )
        )
    return tuple(runs), tuple(models), metrics, params


def _is_number(value: Any) -> bool:
    # RFC 8785 has no NaN and no infinities; a metric that is one has no value.
    return isinstance(value, int | float) and value == value and abs(value) != float("inf")


def _local_uri(uri: str | None, root: Path | None) -> str | None:
    if uri is None:
        return None
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "", uri
    path = rest[1:] if scheme == "sqlite" and rest.startswith("//") else rest
    if scheme in ("sqlite", "file", "") and Path(path).is_absolute():
        inside = relative(path, root)
        return f"{scheme}:///{inside}" if inside and scheme == "sqlite" else inside or uri
    return mask(uri)


def _papermill(nb: Mapping[str, Any] | None) -> dict[str, Any]:
    told = ((nb or {}).get("metadata") or {}).get("papermill") or {}
    parameters = {**(told.get("default_parameters") or {}), **(told.get("parameters") or {})}
    masked = mask_values(parameters)
    return masked if isinstance(masked, dict) else {}


def _duration(told: Told, executed: Any) -> float:
    begun, ended = told.start.get("time"), told.seal.get("ended") or _last_seen(executed)
    if not begun or not ended:
        return 0.0
    return max(0.0, round((_parsed(ended) - _parsed(begun)).total_seconds(), 3))


def _last_seen(executed: Any) -> str | None:
    return executed[-1].started if executed else None


def _parsed(time: str) -> datetime:
    return datetime.fromisoformat(time.replace("Z", "+00:00"))


def _now() -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return now.replace("+00:00", "Z")
