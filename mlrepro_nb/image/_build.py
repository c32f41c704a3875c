"""The verb: plan, assemble, build, test, name, push, remember."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlrepro_nb.connect import index, registry
from mlrepro_nb.errors import MlreproError, UsageError
from mlrepro_nb.image._plan import Plan, plan
from mlrepro_nb.image._render import containerfile, dockerignore, entrypoint, requirements, tags
from mlrepro_nb.image.builders import Built, Wanted, choose
from mlrepro_nb.model import Image, Report, Step, short, silent
from mlrepro_nb.store import Store


def preview(target: str, **options: Any) -> dict[str, str]:
    """Return the texts that a build would use, without building, asking or downloading anything.

    Takes the options of `plan`. What stands in the way of a real build is in
    ``problems``, what is worth knowing in ``notes``, a line each.
    """
    return texts(plan(target, **{"offline": True, **options}))


def texts(planned: Plan) -> dict[str, str]:
    """Return a plan's texts by name."""
    found = {
        "Containerfile": containerfile(planned),
        ".dockerignore": dockerignore(planned),
        "requirements.txt": requirements(planned),
        "entrypoint": " ".join(entrypoint(planned)) + "\n",
        "tags": "".join(f"{planned.repository}:{tag}\n" for tag in tags(planned)),
    }
    if planned.problems:
        found["problems"] = "".join(f"{p.message} {p.remedy}\n" for p in planned.problems)
    if planned.notes:
        found["notes"] = "".join(f"{note}\n" for note in planned.notes)
    return found


def build(
    target: str,
    *,
    kind: str = "job",
    repository: str | None = None,
    push: bool = False,
    builder: str = "auto",
    base: str | None = None,
    version: str | None = None,
    build_id: str | None = None,
    model: str | None = None,
    allow_dirty: bool = False,
    bake_data: bool = False,
    ca_bundle: str | Path | None = None,
    bytecode: bool = True,
    test: bool = False,
    load: bool = False,
    output: Path | None = None,
    store: Store | None = None,
    report: Report = silent,
) -> tuple[str, Image]:
    """Build the image of a recorded notebook and return its document with that's digest.

    Parameters
    ----------
    target, kind, repository, base, version, build_id, model, allow_dirty, bake_data, bytecode
        As for `plan`.
    push
        Push it to its repository's registry, under all its tags.
    builder
        ``docker``, ``oci`` (which needs no engine), or ``auto``: the engine if one
        answers.
    ca_bundle
        PEM file of certificate authorities for downloads during the build; by
        default what pip or SSL_CERT_FILE name on this machine, if anything.
    test
        Run the job, without a network, before it gets a name: one that does not
        reproduce is neither tagged nor pushed.
    load
        Have the engine load what the builder without one made.
    output
        Folder to leave a copy of the build context in; for the builder without an
        engine, OCI layout to write: a file where it ends in ``.tar``, else a folder.

    Raises
    ------
    UsageError
        An option cannot be right, the tree is dirty or not what was recorded.
    ToolError
        The engine, the registry or the package index failed, or the disk is full.
        Nothing was tagged.
    """
    wanted = Wanted(
        output=output, push=push, load=load, test=test, bundle=index.ca_bundle(ca_bundle),
        layout=(base or "").startswith("oci:"),
    )  # fmt: skip
    if push and not repository:
        _wants_registry(target)
    chosen = choose(builder, wanted, report)
    planned = plan(
        target, kind=kind, repository=repository, base=base, version=version, build_id=build_id,
        model=model, allow_dirty=allow_dirty, bake_data=bake_data, bytecode=bytecode, store=store,
        report=report,
    )  # fmt: skip
    found = ready(planned, target, store, report)
    if push:
        report(Step(message=f"asking to push to {planned.repository}"))
        registry.check_push(planned.repository)
    built = chosen.build(planned, wanted, found, report)
    if test:
        _test(planned, built, report)
    names = [f"{planned.repository}:{tag}" for tag in tags(planned)]
    if push:
        _check_tags(names, built)
    built.name(names, report)
    digest = built.push(names, report) if push else None
    image = Image(
        record=planned.record,
        notebook=planned.notebook,
        image_kind=planned.kind,
        id=built.id,
        digest=digest,
        manifest=digest or built.manifest,
        builder="oci" if chosen.key == "oci" else "docker",
        repository=planned.repository,
        tags=tags(planned),
        base=planned.base_reference,
        commit=planned.commit,
        dirty=planned.dirty,
        version=planned.version,
        build_id=planned.build_id,
        containerfile=found.blobs.put(containerfile(planned).encode()),
        lock=found.blobs.put(requirements(planned).encode()),
        model=planned.model if planned.kind == "service" else None,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return found.put(image), image


def _wants_registry(target: str) -> None:
    from mlrepro_nb.image import _settings
    from mlrepro_nb.image._plan import where

    if _settings.read(where(target, None)[1]).repository is None:
        raise UsageError(
            "There is no repository to push to.",
            "Give --repository REGISTRY/NAME, or set repository in [tool.mlrepro] of "
            "pyproject.toml.",
        )


def ready(planned: Plan, target: str, store: Store | None, report: Report) -> Store:
    """Return the store of a plan that can be built; say what is worth knowing of it.

    Raises
    ------
    MlreproError
        Something stands in the way.
    """
    for note in planned.notes:
        report(Step(message=note, log=True))
    if planned.problems:
        raise planned.problems[0].error()
    return store or Store.find(Path(target).resolve() if Path(target).is_file() else None)


def _test(planned: Plan, built: Built, report: Report) -> None:
    if planned.kind != "job":
        return
    report(Step(message="running the job without a network"))
    ended = built.run(report)
    if not ended.ok:
        raise MlreproError(
            f"The image's job does not reproduce the record (it ended with {ended.status}), so it "
            "was neither tagged nor pushed.",
            f"Run it: docker run --rm --network none {short(built.id)}",
        )


def _check_tags(names: list[str], built: Built) -> None:
    """Refuse to move a tag that is another image's already."""
    for name in names:
        there = registry.find(name)
        if there is not None and not built.is_same(there):
            raise UsageError(
                f"{name} exists in the registry as another image ({there.digest}); a tag is never "
                "moved.",
                "Use the image that is there, or commit, or give another --version or --build-id; "
                "each kind of image wants a repository of its own. Nothing was pushed.",
            )
