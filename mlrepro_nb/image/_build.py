"""The verb: plan, assemble, build, test, name, push, remember."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlrepro_nb.connect import docker, index, registry
from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.image._context import CONTAINERFILE, check_empty, context
from mlrepro_nb.image._plan import Plan, plan
from mlrepro_nb.image._render import containerfile, dockerignore, entrypoint, requirements, tags
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
    base: str | None = None,
    version: str | None = None,
    build_id: str | None = None,
    model: str | None = None,
    allow_dirty: bool = False,
    bake_data: bool = False,
    ca_bundle: str | Path | None = None,
    test: bool = False,
    keep: Path | None = None,
    store: Store | None = None,
    report: Report = silent,
) -> tuple[str, Image]:
    """Build the image of a recorded notebook and return its document with that's digest.

    Parameters
    ----------
    target, kind, repository, base, version, build_id, model, allow_dirty, bake_data
        As for `plan`.
    push
        Push it to its repository's registry, under all its tags.
    ca_bundle
        PEM file of certificate authorities for downloads during the build; by
        default what pip or SSL_CERT_FILE name on this machine, if anything.
    test
        Run the job, without a network, before it gets a name: one that does not
        reproduce is neither tagged nor pushed.
    keep
        Folder to leave a copy of the build context in.

    Raises
    ------
    UsageError
        An option cannot be right, the tree is dirty or not what was recorded.
    ToolError
        The engine, the registry or the package index failed. Nothing was tagged.
    """
    bundle = index.ca_bundle(ca_bundle)
    if keep is not None:
        check_empty(keep)
    if push and not repository:
        _wants_registry(target)
    report(Step(message="looking for the Docker Engine"))
    docker.engine()
    planned = plan(
        target, kind=kind, repository=repository, base=base, version=version, build_id=build_id,
        model=model, allow_dirty=allow_dirty, bake_data=bake_data, store=store, report=report,
    )  # fmt: skip
    for note in planned.notes:
        report(Step(message=note, log=True))
    if planned.problems:
        raise planned.problems[0].error()
    if push:
        report(Step(message=f"asking to push to {planned.repository}"))
        registry.check_push(planned.repository)
    with context(planned, keep, report=report) as folder, _secrets(bundle) as secrets:
        identity = folder.with_name(f"{folder.name}.id")
        try:
            built = docker.build(
                folder, containerfile=folder / CONTAINERFILE, identity=identity, secrets=secrets,
                report=report,
            )  # fmt: skip
        finally:
            identity.unlink(missing_ok=True)
    if test:
        _test(planned, built, report)
    names = [f"{planned.repository}:{tag}" for tag in tags(planned)]
    if push:
        _check_tags(names, built)
    for name in names:
        docker.tag(built, name)
    digest = _push(names, built, report) if push else None
    found = store or Store.find(Path(target).resolve() if Path(target).is_file() else None)
    image = Image(
        record=planned.record,
        notebook=planned.notebook,
        image_kind=planned.kind,
        id=built,
        digest=digest,
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


@contextlib.contextmanager
def _secrets(bundle: Path | None) -> Iterator[dict[str, Path]]:
    """Yield the build's secrets; the files that are made for it are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mlrepro-secret-") as folder:
        found = {"ca": bundle} if bundle else {}
        text = index.pip_configuration(
            index.settings(), certificates="/run/secrets/ca" if bundle else None
        )
        if text:
            path = Path(folder) / "pip.conf"
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
            found["pipconf"] = path
        yield found


def _test(planned: Plan, built: str, report: Report) -> None:
    if planned.kind != "job":
        return
    report(Step(message="running the job without a network"))
    ended = docker.run(built, report=report)
    if not ended.ok:
        raise MlreproError(
            f"The image's job does not reproduce the record (it ended with {ended.status}), so it "
            "was neither tagged nor pushed.",
            f"Run it: docker run --rm --network none {short(built)}",
        )


def _check_tags(names: list[str], built: str) -> None:
    """Refuse to move a tag that is another image's already."""
    for name in names:
        there = registry.find(name)
        if there is not None and there.id != built:
            raise UsageError(
                f"{name} exists in the registry as another image ({there.digest}); a tag is never "
                "moved.",
                "Use the image that is there, or commit, or give another --version or --build-id; "
                "each kind of image wants a repository of its own. Nothing was pushed.",
            )


def _push(names: list[str], built: str, report: Report) -> str:
    for number, name in enumerate(names):
        report(Step(message=f"pushing {name}", done=number, total=len(names)))
        docker.push(name, report=report)
    there = registry.inspect(names[0])
    if there.id != built:
        raise ToolError(
            f"{names[0]} is another image in the registry than the one that was pushed.",
            "Somebody pushed at the same time; build again with another --version.",
            tool="registry",
        )
    return there.digest
