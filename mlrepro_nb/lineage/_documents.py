"""How a document of the store becomes nodes and edges: pure."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any

from mlrepro_nb.dataflow import Flow, read_cell
from mlrepro_nb.lineage.graph import Graph
from mlrepro_nb.model import (
    DataAccess,
    ExecutedCell,
    Image,
    Model,
    Record,
    Rollout,
    Verification,
    plain,
    revived,
    short,
)

GROUP_FROM = 9
"""Files of one folder that one cell opened in one way are drawn one by one up to here."""

_MOST_CELLS = 500
_LONGEST_SLICE = 12
"""Of a model's history, in cells, that a picture can still show."""


def data_id(access: DataAccess) -> str:
    """Return the node id of a file: its content, where that says something."""
    if access.digest and access.size != 0:
        return f"file:{access.digest}"
    # All empty files have one digest; that does not make them one file.
    return f"path:{access.repo_path or access.path}"


def draw_record(graph: Graph, digest: str, record: Record, alone: frozenset[str]) -> str:
    """Draw a record and all that it tells of; files in `alone` are never grouped."""
    origin, results = record.lineage, record.results
    node = graph.add(
        f"record:{digest}",
        "entity",
        "record",
        short(digest),
        f"{_day(origin.ended)}, {origin.mode if results.status == 'ok' else results.status}",
        digest=digest,
        notebook=record.code.notebook,
        status=results.status,
        error=results.error,
        mode=origin.mode,
        started=origin.started,
        ended=origin.ended,
        tool=origin.tool,
        capture=origin.capture,
        gaps=origin.gaps,
        commit=record.code.commit,
        uncommitted_changes=record.code.diff or record.code.dirty or None,
        python=record.environment.python,
        system=f"{record.environment.system.name} {record.environment.system.version}",
        packages=sum(d.imported for d in record.environment.distributions) or None,
        cpu=record.hardware.cpu,
        gpus=[gpu.product for gpu in record.hardware.gpus if gpu.used],
        seeds=[f"{seed.generator}={seed.value}" for seed in record.randomness.seeds],
        parameters={**_shown(record.parameters.papermill), **record.parameters.mlflow},
        metrics=results.metrics,
    )
    notebook = _draw_notebook(graph, digest, record)
    execution = graph.add(
        f"execution:{digest}",
        "activity",
        "execution",
        "Notebook run",
        f"{_seconds(results.duration)}, {len(record.code.cells)} cells",
        started=origin.started,
        ended=origin.ended,
        mode=origin.mode,
        kernel=record.environment.kernelspec,
    )
    graph.join(node, "wasGeneratedBy", execution)
    graph.join(execution, "used", notebook)
    graph.join(
        execution,
        "wasAssociatedWith",
        graph.add(f"agent:{origin.who}", "agent", "agent", origin.who, who=origin.who),
    )
    if origin.parent:
        graph.join(node, "wasDerivedFrom", name_record(graph, origin.parent))

    cells = _draw_cells(graph, digest, record, notebook, execution)
    _draw_data(graph, digest, record, cells, execution, alone)
    runs = []
    for run in origin.runs:
        runs.append(
            graph.add(
                f"run:{run.run_id}",
                "activity",
                "run",
                short(run.run_id),
                f"MLflow, {run.experiment}" if run.experiment else "MLflow",
                run_id=run.run_id,
                experiment=run.experiment,
                tracking_uri=run.tracking_uri,
                parameters=record.parameters.mlflow,
                metrics=results.metrics,
            )
        )
        if started := _cell_of(record, None, run.cell):
            graph.join(runs[-1], "wasInformedBy", cells[started.order])
        graph.join(execution, "wasInformedBy", runs[-1])
    for model in results.models:
        drawn = _draw_model(graph, model)
        for run_node in runs if len(runs) == 1 else ():
            graph.join(drawn, "wasGeneratedBy", run_node)
        if logged := _cell_of(record, model.execution, model.cell):
            graph.join(drawn, "wasGeneratedBy", cells[logged.order])
        elif len(runs) != 1:
            graph.join(drawn, "wasGeneratedBy", execution)
    return node


def draw_verification(graph: Graph, digest: str, verification: Verification) -> str:
    """Draw a rerun and its verdict."""
    node = graph.add(
        f"verification:{digest}",
        "activity",
        "verification",
        verification.verdict,
        f"verified {_day(verification.created)}",
        digest=digest,
        verdict=verification.verdict,
        created=verification.created,
        rerun=verification.rerun,
        causes=[
            f"{cause.kind} ({cause.subject})"
            + (f" in cell {cause.cell}" if cause.cell is not None else "")
            for cause in verification.causes
        ],
    )
    if verification.record:
        graph.join(node, "used", name_record(graph, verification.record))
    return node


def image_id(image: Image) -> str:
    """Return the node id of an image: by manifest, or by configuration before any push."""
    return f"image:{image.digest or image.id}"


def draw_image(graph: Graph, digest: str, image: Image, record: Record | None) -> str:
    """Draw an image, derived from its record and from the model that it serves."""
    node = graph.add(
        image_id(image),
        "entity",
        "image",
        f"{image.repository.rpartition('/')[2]}:{image.version}",
        f"{short(image.digest or image.id)}, {image.image_kind}",
        digest=image.digest,
        image_id=image.id,
        references=[f"{image.repository}:{tag}" for tag in image.tags],
        kind=image.image_kind,
        base=image.base,
        build_id=image.build_id,
        commit=image.commit,
        built_from_uncommitted_changes=image.dirty or None,
        containerfile=image.containerfile,
        lock=image.lock,
        created=image.created,
        document=digest,
    )
    graph.join(node, "wasDerivedFrom", name_record(graph, image.record))
    for model in record.results.models if record and image.model else ():
        if model.digest == image.model:
            graph.join(node, "wasDerivedFrom", _draw_model(graph, model))
    return node


def draw_rollout(graph: Graph, digest: str, rollout: Rollout) -> str:
    """Draw a rollout. Whoever draws the image joins them."""
    revision = f", revision {rollout.revision}" if rollout.revision is not None else ""
    return graph.add(
        f"rollout:{digest}",
        "activity",
        "rollout",
        f"{rollout.workload} {rollout.name}",
        f"{rollout.namespace}, {rollout.status}{revision}",
        digest=digest,
        name=rollout.name,
        namespace=rollout.namespace,
        workload=rollout.workload,
        context=rollout.context,
        revision=rollout.revision,
        status=rollout.status,
        image=rollout.image,
        manifests=rollout.manifests,
        created=rollout.created,
    )


def name_record(graph: Graph, digest: str) -> str:
    """Return the node of a record, drawn as missing until it is drawn for real."""
    return graph.add(
        f"record:{digest}",
        "entity",
        "record",
        short(digest),
        "not in this store",
        present=False,
        digest=digest,
    )


def draw_commit(
    graph: Graph, commit: str, remote: str | None, branch: str | None, *, present: bool = True
) -> str:
    """Draw a git commit."""
    return graph.add(
        f"commit:{commit}",
        "entity",
        "commit",
        commit[:12],
        branch or "",
        present=present,
        commit=commit,
        branch=branch,
        remote=remote,
    )


def _shown(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters to read: what JSON has no form for as Python writes it."""
    values = revived(parameters)
    return {name: v if plain(v) == v else str(v) for name, v in values.items()}


def _draw_notebook(graph: Graph, digest: str, record: Record) -> str:
    code = record.code
    # The same path at another commit, or with other edits, is another notebook.
    state = code.commit[:12] if code.commit else short(digest)
    if code.dirty:
        state += f"+{short(code.diff or digest, 8)}"
    standing = "as committed" if code.commit else "no commit"
    standing = "with uncommitted changes" if code.dirty else standing
    node = graph.add(
        f"notebook:{code.notebook}@{state}",
        "entity",
        "notebook",
        code.notebook,
        "with uncommitted changes"
        if code.dirty
        else "as committed"
        if code.commit
        else "no commit",
        path=code.notebook,
        uncommitted_changes=code.diff or code.dirty or None,
        modules=[f"{module.path} {module.digest}" for module in code.modules],
        executed=record.results.notebook,
    )
    if code.commit:
        commit = draw_commit(graph, code.commit, code.remote, code.branch)
        graph.join(node, "wasDerivedFrom", commit)
    return node


def _draw_cells(
    graph: Graph, digest: str, record: Record, notebook: str, execution: str
) -> dict[int, str]:
    """Draw the cells that matter to the chain: named, or touching data, runs or models."""
    wanted = {cell.order for cell in record.code.cells if cell.name}
    for access in record.data:
        wanted |= {cell.order for cell in _cells_of(record, access)}
    for model in record.results.models:
        if cell := _cell_of(record, model.execution, model.cell):
            wanted.add(cell.order)
    for run in record.lineage.runs:
        if cell := _cell_of(record, None, run.cell):
            wanted.add(cell.order)
    upstream = _upstream(record)
    for model in record.results.models:
        if cell := _cell_of(record, model.execution, model.cell):
            made_of = upstream.get(cell.order, frozenset())
            wanted |= made_of if len(made_of) <= _LONGEST_SLICE else set()
    drawn = {}
    for cell in record.code.cells:
        if cell.order not in wanted:
            continue
        drawn[cell.order] = node = graph.add(
            f"cell:{digest}#{cell.order}",
            "activity",
            "cell",
            _cell_label(cell),
            _first_line(cell.source),
            index=cell.index,
            name=cell.name,
            cell_id=cell.id,
            execution_count=cell.execution_count,
            status=cell.status,
            duration=cell.duration,
            digest=cell.digest,
            source=cell.source,
        )
        graph.join(node, "used", notebook)
        graph.join(execution, "wasInformedBy", node)
    for order, node in drawn.items():
        feeding = (upstream.get(order, frozenset()) - {order}) & drawn.keys()
        # What reaches the cell through another one is drawn there.
        through = {a for b in feeding for a in upstream[b] - {b}}
        for earlier in feeding - through:
            graph.join(node, "wasInformedBy", drawn[earlier])
    return drawn


def _upstream(record: Record) -> dict[int, frozenset[int]]:
    """Return for each execution itself and those whose results it builds on, imports left out."""
    cells = [read_cell(cell.order, cell.source) for cell in record.code.cells[:_MOST_CELLS]]
    flow = Flow(cells)
    computing = {c.index for c in cells if c.defines - set(c.imports) or c.mutates}
    return {c.index: flow.upstream(c.index) & (computing | {c.index}) for c in cells}


def _draw_data(
    graph: Graph,
    digest: str,
    record: Record,
    cells: dict[int, str],
    execution: str,
    alone: frozenset[str],
) -> None:
    groups: dict[tuple[str, str, str], list[DataAccess]] = defaultdict(list)
    indexes = {node: order for order, node in cells.items()}
    written = {a.repo_path or a.path: a for a in record.data if a.access == "write" and a.orders}
    for access in record.data:
        path = access.repo_path or access.path
        folder = str(PurePosixPath(path).parent)
        made = written.get(path)
        for cell in _cells_of(record, access) or (None,):
            # What the run has written by then is what it reads.
            own = access.access == "read" and made and cell and cell.order > made.orders[-1]
            doer = cells[cell.order] if cell else execution
            groups[doer, access.access, folder].append(made if own and made else access)
    for (doer, kind, folder), members in groups.items():
        apart = [a for a in members if {f"file:{a.digest}", data_id(a)} & alone]
        rest = [a for a in members if a not in apart]
        if len({data_id(a) for a in rest}) >= GROUP_FROM:
            node = graph.add(
                f"files:{digest}/{indexes.get(doer, 'run')}/{kind}/{folder}",
                "entity",
                "data",
                f"{folder}/",
                f"{len(rest)} files, {_size(sum(a.size or 0 for a in rest))}",
                folder=folder,
                files={a.repo_path or a.path: a.digest or "not hashed" for a in rest},
            )
            _join_data(graph, doer, kind, node)
        else:
            apart = members
        for access in apart:
            _join_data(graph, doer, kind, _draw_file(graph, access))


def _draw_file(graph: Graph, access: DataAccess) -> str:
    path = access.repo_path or access.path
    identity = short(access.digest) if access.digest else "not hashed"
    return graph.add(
        data_id(access),
        "entity",
        "data",
        path,
        f"{identity}, {_size(access.size)}" if access.size is not None else identity,
        path=path,
        given_as=access.path if access.path != path else None,
        digest=access.digest,
        md5=access.md5,
        size=access.size,
        in_git=access.tracked or None,
        dvc=f"{access.dvc.file} md5:{access.dvc.md5}" if access.dvc else None,
        seen_by=access.layers,
    )


def _join_data(graph: Graph, doer: str, kind: str, node: str) -> None:
    if kind == "read":
        graph.join(doer, "used", node)
    else:
        graph.join(node, "wasGeneratedBy", doer)


def _draw_model(graph: Graph, model: Model) -> str:
    version = f"version {model.version}" if model.version else model.model_id or ""
    return graph.add(
        f"model:{model.uri}",
        "entity",
        "model",
        model.name,
        ", ".join(part for part in (version, model.flavor) if part),
        uri=model.uri,
        name=model.name,
        model_id=model.model_id,
        version=model.version,
        flavor=model.flavor,
        digest=model.digest,
        path=model.path,
    )


def _cell_of(record: Record, execution: int | None, index: int | None) -> ExecutedCell | None:
    """Return the execution that something names; by index alone, the last of that cell."""
    for cell in reversed(record.code.cells):
        if cell.order == execution if execution is not None else cell.index == index is not None:
            return cell
    return None


def _cells_of(record: Record, access: DataAccess) -> list[ExecutedCell]:
    """Return the executions that read something, or the one that wrote what is there now."""
    orders = access.orders if access.access == "read" else access.orders[-1:]
    found = [_cell_of(record, order, access.cell) for order in orders or (None,)]
    return [cell for cell in found if cell is not None]


def _cell_label(cell: ExecutedCell) -> str:
    where = f"cell {cell.index}" if cell.index is not None else f"execution {cell.order}"
    return f"{cell.name} ({where})" if cell.name else where.capitalize()


def _first_line(source: str) -> str:
    """Return the line that tells most of a cell: the first that does something."""
    lines = [line.strip() for line in source.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", "%%"))]
    doing = (line for line in lines if not line.startswith(("import ", "from ")))
    return next(doing, lines[0] if lines else "")[:80]


def _day(time: str) -> str:
    return time[:16].replace("T", " ")


def _seconds(duration: float) -> str:
    if duration < 100:
        return f"{duration:.3g} s"
    minutes, seconds = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _size(size: int | None) -> str:
    value, units = float(size or 0), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.3g} {units[0]}" if value < 1000 else f"{value:.0f} {units[0]}"
