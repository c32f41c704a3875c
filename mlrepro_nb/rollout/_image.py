"""Which image the user means, by digest, and what is known of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from mlrepro_nb.connect import registry
from mlrepro_nb.errors import MlreproError, NotFoundError, UsageError
from mlrepro_nb.model import Image, Record, Report, Step, short, silent
from mlrepro_nb.store import Store

ImageKind = Literal["job", "service"]
_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_PREFIX = re.compile(r"(?:sha256:)?[0-9a-f]{4,64}")


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """An image, and the chain that it names."""

    reference: str
    """By digest: ``registry/name@sha256:…``."""
    kind: ImageKind | None = None
    record: str | None = None
    notebook: str | None = None
    commit: str | None = None
    dirty: bool = False
    run: str | None = None
    version: str | None = None
    fetches: int | None = None
    """Bytes of data that it does not hold; None where it holds all."""
    mounts: str | None = None
    """That part of it, in words, which no pod can fetch."""
    source: str = "given"
    """Where the digest comes from."""


def subject(target: str, store: Store, report: Report = silent) -> Subject:
    """Find the image that a user means.

    `target` is a reference by tag or digest, a bare digest of an image or
    record (or its first digits), or a notebook, whose newest pushed image is
    meant.

    Raises
    ------
    UsageError
        It has not been pushed, or nothing answers to it.
    ToolError
        The registry had to be asked, and cannot be, or has no such image.
    """
    if target.endswith(".ipynb") or _PREFIX.fullmatch(target):
        found = _by_record(target, store) or _by_digest(target, store)
        if found:
            return found
        if target.endswith(".ipynb") or _DIGEST.fullmatch(target):
            raise NotFoundError(
                f"The store at {store.root} has no image {target!r}.",
                "Give a reference with its repository, NAME@sha256:…, or build one with "
                "`mlrepro build`.",
            )
    parsed = registry.parse(target)
    if parsed.tag == "latest" or not (parsed.tag or parsed.digest):
        raise UsageError(
            f"{target} means `latest`, which names another image tomorrow.",
            "Give a version's tag or a digest.",
        )
    if parsed.digest:
        # A tag beside a digest says nothing that the digest does not.
        reference = f"{target.partition('@')[0].removesuffix(f':{parsed.tag}')}@{parsed.digest}"
        known = _in_store(f"image:{parsed.digest}", store)
        if known:
            return _of(known, reference, "given")
        return _told(reference, report, source="given", required=False)
    known = _in_store(f"image:{target}", store, pushed=True)
    if known:
        return _of(known, f"{known.repository}@{known.digest}", f"of {target}, by the store")
    try:
        return _told(target, report, source=f"of {target}, by its registry", required=True)
    except MlreproError as error:
        if _in_store(f"image:{target}", store):
            raise UsageError(
                f"{target} was built, but not pushed: no cluster could pull it.",
                "Push it with `mlrepro build --push`.",
            ) from error
        raise


def _by_record(target: str, store: Store) -> Subject | None:
    try:
        record, _ = store.find_record(target)
    except NotFoundError:
        if target.endswith(".ipynb"):
            raise
        return None
    images = [store.get(Image, d) for d in store.find_by_key(f"record:{record}", Image)]
    if not images and target.endswith(".ipynb"):
        # The newest record may be younger than the newest image: an older one will do.
        name = store.notebook_name(Path(target))
        entries = [e for e in store.entries(Image, limit=1000) if e.notebook == name]
        images = [store.get(Image, entry.digest) for entry in entries]
    if target.endswith(".ipynb"):
        # Who names the notebook means what it is run or served by.
        images = [image for image in images if image.image_kind != "notebook"]
    for image in images:
        if image.digest:
            return _of(image, f"{image.repository}@{image.digest}", f"newest image of {target}")
    if images:
        raise UsageError(
            f"The image of {target} was built, but not pushed: no cluster could pull it.",
            "Push it with `mlrepro build --push`.",
        )
    raise NotFoundError(
        f"Record {short(record)} has no image yet.",
        f"Build one: `mlrepro build {target} --push --repository REGISTRY/NAME`.",
    )


def _by_digest(target: str, store: Store) -> Subject | None:
    name = target if target.startswith("sha256:") else f"sha256:{target}"
    known = _in_store(f"image:{name}", store)
    if known is None:
        try:
            known = store.get(Image, store.resolve(target, Image))
        except NotFoundError:
            return None
    if known.digest is None:
        raise UsageError(
            f"Image {short(known.id)} was built, but not pushed: no cluster could pull it.",
            "Push it with `mlrepro build --push`.",
        )
    return _of(known, f"{known.repository}@{known.digest}", f"of {target}, by the store")


def _in_store(key: str, store: Store, *, pushed: bool = False) -> Image | None:
    images = (store.get(Image, digest) for digest in store.find_by_key(key, Image))
    return next((image for image in images if image.digest or not pushed), None)


def _kind(kind: str | None, reference: str) -> ImageKind | None:
    if kind == "notebook":
        raise UsageError(
            f"{reference} opens the notebook for a reviewer; it is no workload.",
            f"Run it: docker run --rm -p 8888:8888 {reference}",
        )
    return "job" if kind == "job" else "service" if kind == "service" else None


def _of(image: Image, reference: str, source: str) -> Subject:
    return Subject(
        reference=reference,
        kind=_kind(image.image_kind, reference),
        fetches=image.fetches,
        mounts=image.mounts,
        record=image.record,
        notebook=image.notebook,
        commit=image.commit,
        dirty=image.dirty,
        version=image.version,
        source=source,
    )


def _told(target: str, report: Report, *, source: str, required: bool) -> Subject:
    """Ask the registry for an image's digest and labels."""
    report(Step(message=f"Asking the registry for {target}"))
    try:
        info = registry.inspect(target)
    except MlreproError:
        if required:
            raise
        # The digest is all that is needed: the node that pulls it may see more than we do.
        return Subject(reference=target, source=source)
    labels = {**info.labels, **info.annotations}
    fetches = labels.get("io.mlrepro.fetches", "")
    return Subject(
        reference=f"{registry_name(target)}@{info.digest}",
        kind=_kind(labels.get("io.mlrepro.kind"), target),
        fetches=int(fetches) if fetches.isdecimal() else None,
        mounts=labels.get("io.mlrepro.mounts"),
        record=labels.get("io.mlrepro.record"),
        notebook=labels.get("io.mlrepro.notebook"),
        commit=labels.get("org.opencontainers.image.revision"),
        dirty=labels.get("io.mlrepro.dirty") == "true",
        run=labels.get("io.mlrepro.run"),
        version=labels.get("org.opencontainers.image.version"),
        source=source,
    )


def registry_name(reference: str) -> str:
    """Return a reference's repository as it was written, without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}"


def find_record(found: Subject, store: Store) -> Record | None:
    """Return the image's record, where the store has it."""
    if found.record is None:
        return None
    try:
        return store.get(Record, found.record)
    except NotFoundError:
        return None
