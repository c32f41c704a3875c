"""The verb: plan, assemble, build, test, name, push, remember."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.connect import index, registry
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.image import _settings, supply
from mlrepro_nb.image._configuration import commit_tag, fetches, mounts
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image._planning import plan, where
from mlrepro_nb.image._predictions import with_predictions
from mlrepro_nb.image._render import containerfile, dockerignore, entrypoint, requirements, tags
from mlrepro_nb.image._test import data_for, tested
from mlrepro_nb.image.builders import Built, Wanted, choose
from mlrepro_nb.image.data import Here
from mlrepro_nb.model import Image, Report, Step, silent
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
        **({"packages.txt": planned.package_lock} if planned.packages else {}),
        "entrypoint": " ".join(entrypoint(planned)) + "\n",
        "tags": "".join(f"{planned.repository}:{tag}\n" for tag in tags(planned)),
    }
    try:
        found["sbom.json"] = supply.sbom(planned).decode() + "\n"
    except ToolError as error:
        planned = msgspec.structs.replace(planned, notes=(*planned.notes, str(error)))
    if planned.problems:
        found["problems"] = "".join(f"{p.message} {p.remedy}\n" for p in planned.problems)
    if planned.notes:
        found["notes"] = "".join(f"{note}\n" for note in planned.notes)
    return found


def build(
    target: str,
    *,
    kind: str | None = None,
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
    bytecode: bool | None = None,
    test: bool | None = None,
    gates: Sequence[str] = (),
    changes: Sequence[str] = (),
    load: bool = False,
    output: Path | None = None,
    attest: bool = True,
    sign: str | None = None,
    audit: str | None = None,
    ask: Callable[[], str] | None = None,
    store: Store | None = None,
    report: Report = silent,
) -> tuple[str, Image]:
    """Build the image of a recorded notebook and return its document with that's digest.

    Parameters
    ----------
    target, kind, repository, base, version, build_id, model, allow_dirty, bake_data, bytecode,
    gates, changes
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
        Run it, without a network, before it gets a name: a job that does not
        reproduce, or a service that does not predict what was recorded, is neither
        tagged nor pushed. By default a service that is pushed is run, if there is
        an engine for it.
    load
        Have the engine load what the builder without one made.
    output
        Folder to leave a copy of the build context in; for the builder without an
        engine, OCI layout to write: a file where it ends in ``.tar``, else a folder.
    attest
        Attach bill of materials and provenance to what is pushed or written as a layout.
    sign
        Who signs them: a private key's file, or ``keyless``; by default what
        ``[tool.mlrepro]`` says, else nobody.
    audit
        What known vulnerabilities of the lock do: ``off``, ``warn``, ``fail``; by
        default what ``[tool.mlrepro]`` says, else ``off``.
    ask
        Returns the private key's password where MLREPRO_KEY_PASSWORD does not have it.

    Raises
    ------
    UsageError
        An option cannot be right, the tree is dirty or not what was recorded.
    ToolError
        The engine, the registry or the package index failed, or the disk is full.
        Nothing was tagged.
    """
    root = where(target, store)[1]
    settings = _settings.read(root, changes)
    wanted = Wanted(
        output=output, push=push, load=load, test=bool(test), bundle=index.ca_bundle(ca_bundle),
        layout=(base or settings.base or "").startswith("oci:"),
    )  # fmt: skip
    if push and not (repository or settings.repository):
        raise UsageError(
            "There is no repository to push to.",
            "Give --repository REGISTRY/NAME, or set repository in [tool.mlrepro] of "
            "pyproject.toml.",
        )
    beside = supply.Supply(root, attest=attest, sign=sign, audit=audit, ask=ask, settings=settings)
    chosen = choose(builder, wanted, report)
    planned = plan(
        target, kind=kind, repository=repository, base=base, version=version, build_id=build_id,
        model=model, allow_dirty=allow_dirty, bake_data=bake_data, bytecode=bytecode, gates=gates,
        changes=changes, store=store, report=report,
    )  # fmt: skip
    found = ready(planned, target, store, report)
    if push:
        report(Step(message=f"asking to push to {planned.repository}"))
        registry.check_push(planned.repository)
    data = data_for(planned, root, found, report) if test else Here()
    beside.audit(planned, report)
    with ThreadPoolExecutor(max_workers=1) as pool:
        # A process of its own: the dependencies are made meanwhile.
        whole = pool.submit(with_predictions, planned, where(target, store)[1], found, report)
        if planned.kind == "service":
            chosen.prepare(planned, wanted, report)
        planned = whole.result()
    built = chosen.build(planned, wanted, found, report)
    passed: tuple[str, ...] = ()
    if test or (test is None and push and planned.kind == "service"):
        passed = tested(planned, built, asked=bool(test), data=data, report=report)
    named = _free_tags(planned, built, report) if push else tags(planned)
    names = [f"{planned.repository}:{tag}" for tag in named]
    documents = None
    if push or (output is not None and built.manifest):
        documents = beside.documents(planned, built, chosen.key, report)
    built.name(
        names, report, documents.about(built.manifest) if documents and built.manifest else ()
    )
    digest = built.push(names, report) if push else None
    if documents and digest:
        documents.attach(planned.repository, digest, report)
    image = Image(
        record=planned.record,
        notebook=planned.notebook,
        image_kind=planned.kind,
        id=built.id,
        digest=digest,
        manifest=digest or built.manifest,
        builder="oci" if chosen.key == "oci" else "docker",
        toolchain=built.toolchain,
        repository=planned.repository,
        tags=named,
        base=planned.base_reference,
        commit=planned.commit,
        dirty=planned.dirty,
        version=planned.version,
        build_id=planned.build_id,
        containerfile=found.blobs.put(containerfile(planned).encode()),
        lock=found.blobs.put(requirements(planned).encode()),
        packages=found.blobs.put(planned.package_lock.encode()) if planned.packages else None,
        model=planned.model if planned.kind == "service" else None,
        predictions=planned.predictions,
        gates=planned.gates,
        tests=passed,
        fetches=fetches(planned),
        mounts=mounts(planned),
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    image = documents.keep(image, found) if documents else image
    return found.put(image), image


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


def _free_tags(planned: Plan, built: Built, report: Report) -> tuple[str, ...]:
    """Return an image's tags, without that of its commit where another image of it has that.

    One commit is built again when it is released, or recorded anew; its tag stays where it is.

    Raises
    ------
    UsageError
        The version or the build is another image's already: a tag is never moved.
    """
    found = []
    for tag in tags(planned):
        name = f"{planned.repository}:{tag}"
        there = registry.find(name)
        if there is None or built.is_same(there):
            found.append(tag)
            continue
        if tag == commit_tag(planned):
            report(
                Step(
                    message=f"{name} is another image of that commit ({there.digest}) and stays "
                    "so: this one is found by its version and its build",
                    log=True,
                )
            )
            continue
        raise UsageError(
            f"{name} exists in the registry as another image ({there.digest}); a tag is never "
            "moved.",
            "Use the image that is there, or commit, or give another --version or --build-id; "
            "each kind of image wants a repository of its own. Nothing was pushed.",
        )
    return tuple(found)
