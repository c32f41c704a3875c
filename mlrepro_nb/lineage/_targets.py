"""From what a user calls a thing to its place in the graph."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NoReturn

from mlrepro_nb import stamp
from mlrepro_nb.errors import NotFoundError, StoreError, ToolError, UsageError
from mlrepro_nb.lineage._documents import image_id
from mlrepro_nb.lineage._labels import Told, draw_told, from_annotations, from_labels
from mlrepro_nb.lineage._walk import Walk
from mlrepro_nb.lineage._workloads import Workload, workload, workloads
from mlrepro_nb.lineage.graph import Graph, Lineage
from mlrepro_nb.model import Image, Record, Rollout, Step, Verification, short
from mlrepro_nb.model import Report as Reporter
from mlrepro_nb.store import Store, project_root

_HEX = re.compile(r"(?:(sha256|blake3):)?([0-9a-f]{4,64})")
_SCHEMES = (
    "record", "image", "verification", "rollout", "run", "model", "file", "path", "notebook",
    "commit", "workload", "cell",
)  # fmt: skip
_MANIFEST_SIZE = 4 << 20


class Search:
    """One search for a target; remembers what it tried."""

    def __init__(
        self,
        target: str,
        store: Store,
        report: Reporter,
        namespace: str | None,
        context: str | None,
    ) -> None:
        self.target = target
        self.store = store
        self.report = report
        self.namespace = namespace
        self.context = context
        self.graph = Graph()
        self.walk = Walk(store, self.graph)
        self.tried: list[str] = []
        self.holds = True

    def lineage(self) -> Lineage:
        """Find the target, walk from it, return the graph."""
        focus = self._focus()
        return self.graph.finish(self.target, focus, holds=self.holds)

    def _focus(self) -> str:
        target = self.target
        if not target.strip() or "\0" in target:
            raise UsageError(
                "There is nothing to trace.", "Name a notebook, file, image or digest."
            )
        scheme, _, name = target.partition(":")
        if scheme in _SCHEMES and name:
            # A repository may be called "model" as well, but nobody is asked for it.
            tagged = self.store.find_by_key(f"image:{target}", Image)
            self.tried.append(f"a {scheme} by its name")
            if found := self._stored_image(tagged) if tagged else self._by_id(scheme, name):
                return found
            return self._give_up()
        from mlrepro_nb.connect.kubernetes import parse_kind

        # os.path: a target longer than any path is no error, as it is to pathlib.
        file = os.path.isfile(target)  # noqa: PTH113
        kind, _, name = target.partition("/")
        if name and "/" not in name and (known := parse_kind(kind)) and not file:
            return self._workload_in_cluster(known, name)
        if file:
            return self._file(Path(target))
        for look in (self._model, self._digest, self._image, self._path):
            if found := look():
                return found
        return self._give_up()

    # --- files

    def _file(self, path: Path) -> str:
        if path.suffix == ".ipynb":
            name = self.store.notebook_name(path)
            record = self.store.latest_record(name) or self._stamped(path)
            if record is None:
                raise NotFoundError(
                    f"{path} was never recorded.", f"Run `mlrepro record {path}` first."
                )
            self.walk.newest(self.store.find_by_key(f"notebook:{name}", Record))
            return self._notebook_of(self.walk.record(record))
        if path.suffix in (".json", ".yaml", ".yml") and path.stat().st_size <= _MANIFEST_SIZE:
            text = path.read_text(encoding="utf-8", errors="replace")
            if found := workloads(text):
                if len(found) > 1:
                    names = ", ".join(f"{w.kind} {w.name}" for w in found[:6])
                    found = [w for w in found if w.images] or found
                    self.graph.note(f"{path} holds {names}; the first is traced.")
                return self._workload(found[0])
        return self._data(path)

    def _stamped(self, path: Path) -> str | None:
        """Return the record that an executed copy names, where the store has it."""
        try:
            named = stamp.read(json.loads(path.read_bytes())["metadata"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        known = named is not None and self.store.find_digests(named.record[7:], "record")
        return named.record if named is not None and known else None

    def _data(self, path: Path) -> str:
        from blake3 import blake3

        self.report(Step(message=f"hashing {path}"))
        try:
            content = f"blake3:{blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()}"
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read: {error.strerror}.", "Check its permissions."
            ) from error
        size = path.stat().st_size
        name = self._repo_path(path)
        same = self.store.find_by_key(f"file:{content}", Record) if size else []
        if same:
            self.walk.alone |= {f"file:{content}"}
            for digest in self.walk.newest(same):
                self.walk.record(digest)
            self.graph.note(f"{path} is, byte for byte, what these records used or wrote.")
            self._compare_with_newest(path, name, content)
            return f"file:{content}"
        known = self._newest_at(name)
        if not known:
            raise NotFoundError(
                f"No record read or wrote {path}, neither this content ({short(content)}) "
                f"nor this path.",
                "Record a notebook that uses it; `mlrepro log` lists what the store has.",
            )
        self.holds = False
        focus = self.graph.add(
            f"file:{content}" if size else f"path:{name}",
            "entity",
            "data",
            name,
            f"{short(content)}, now on disk",
            path=name,
            digest=content,
            size=size,
            now_on_disk=True,
        )
        for digest, recorded in known:
            self.walk.alone |= {f"file:{recorded}", f"path:{name}"}
            self.walk.record(digest)
            drawn = f"file:{recorded}" if f"file:{recorded}" in self.graph else f"path:{name}"
            self.graph.join(focus, "alternateOf", drawn)
            self.graph.note(
                f"{path} has changed: record {short(digest)} used {short(recorded or '?')}, "
                f"the file now is {short(content)}."
            )
        return focus

    def _compare_with_newest(self, path: Path, name: str, content: str) -> None:
        for digest, recorded in self._newest_at(name)[:1]:
            if recorded and recorded != content:
                self.holds = False
                self.graph.note(
                    f"The newest record that used {path}, {short(digest)}, used other content: "
                    f"{short(recorded)}."
                )

    def _newest_at(self, name: str) -> list[tuple[str, str | None]]:
        """Return (record, content) of the newest record of each notebook that used a path."""
        found = []
        for digest in self.walk.newest(self.store.find_by_key(f"path:{name}", Record)):
            record = self.store.get(Record, digest)
            contents = [a.digest for a in record.data if name in (a.repo_path, a.path)]
            found.append((digest, contents[-1]))
        return found

    def _path(self) -> str | None:
        """Find a file that is not there any more, or a folder."""
        self.tried.append("a file's path")
        path = Path(self.target)
        for name in dict.fromkeys((self._repo_path(path), self.target)):
            keys = [f"path:{name}"]
            if os.path.isdir(path) or self.target.endswith("/"):  # noqa: PTH112
                keys = self.store.find_keys(f"path:{name.rstrip('/')}/")
            records = [r for key in keys for r in self.store.find_by_key(key, Record)]
            if not records:
                continue
            if len(keys) == 1:
                self.walk.alone |= {keys[0]}
            nodes = [self.walk.record(d) for d in self.walk.newest(dict.fromkeys(records))]
            if not os.path.exists(path):  # noqa: PTH110
                self.graph.note(f"{self.target} is not on disk any more.")
            record = self.store.get(Record, nodes[0].removeprefix("record:"))
            for access in record.data:
                if name in (access.repo_path, access.path):
                    node = f"file:{access.digest}"
                    return node if node in self.graph else nodes[0]
            return nodes[0]
        if path.suffix == ".ipynb":
            name = self._repo_path(path)
            if record_digest := self.store.latest_record(name):
                self.graph.note(f"{self.target} is not on disk any more.")
                return self._notebook_of(self.walk.record(record_digest))
        return None

    def _repo_path(self, path: Path) -> str:
        resolved = path.resolve()
        root = project_root(resolved.parent) or self.store.root.parent
        return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else str(path)

    def _notebook_of(self, record: str) -> str:
        execution = record.replace("record:", "execution:", 1)
        for source, target in self.graph.edges("used"):
            if source == execution and target.startswith("notebook:"):
                return target
        return record

    # --- names

    def _by_id(self, scheme: str, name: str) -> str | None:
        """Take a node's id, or a key of the store, as a target."""
        if scheme == "cell":
            digest, _, _ = name.rpartition("#")
            self.walk.record(self.store.resolve(digest, Record))
            return self.target if self.target in self.graph else None
        if scheme == "notebook":
            name = name.partition("@")[0]
            digest = self.store.latest_record(name) or ""
            return self._notebook_of(self.walk.record(digest)) if digest else None
        if scheme in ("record", "verification", "rollout"):
            return self._document(scheme, name)
        if scheme == "workload":
            found = self.store.find_by_key(self.target, Rollout)
            return self.walk.rollout(found[0]) if found else None
        if scheme == "image":
            found = self.store.find_by_key(self.target, Image)
            return self._stored_image(found) if found else None
        found = self.store.find_by_key(self.target, Record)
        if scheme == "commit" and not found:
            keys = self.store.find_keys(self.target)
            return self._records_of(keys[0]) if len(keys) == 1 else None
        return self._records_of(self.target) if found else None

    def _document(self, kind: str, name: str) -> str | None:
        if kind == "record":
            return self.walk.record(self.store.resolve(name, Record))
        if kind == "rollout":
            return self.walk.rollout(self.store.resolve(name, Rollout))
        digest = self.store.resolve(name, Verification)
        verification = self.store.get(Verification, digest)
        if reference := verification.record or verification.rerun:
            self.walk.record(reference)
        node = f"verification:{digest}"
        if node not in self.graph:
            from mlrepro_nb.lineage._documents import draw_verification

            draw_verification(self.graph, digest, verification)
        return node

    def _records_of(self, key: str) -> str:
        """Walk from the records that a key leads to; return the node that the key names."""
        self.walk.alone |= {key}
        newest = self.walk.newest(self.store.find_by_key(key, Record))
        nodes = [self.walk.record(digest) for digest in newest]
        if key in self.graph:
            return key
        if key.startswith("model:"):
            wanted = key.removeprefix("model:")
            for node in self.graph.of_type("model"):
                detail = node.detail
                names = {
                    detail.get("uri"), detail.get("name"), detail.get("model_id"),
                    detail.get("digest"), f"models:/{detail.get('model_id')}",
                    f"{detail.get('name')}/{detail.get('version')}",
                    f"models:/{detail.get('name')}/{detail.get('version')}",
                }  # fmt: skip
                if wanted in names:
                    return node.id
        return nodes[0]

    def _model(self) -> str | None:
        self.tried.append("an MLflow model or run")
        target = self.target
        names = [f"model:{target}", f"model:models:/{target}", f"run:{target}"]
        if match := re.fullmatch(r"runs:/([^/]+)(/.*)?", target):
            names.append(f"run:{match[1]}")
        for key in names:
            if self.store.find_by_key(key, Record):
                return self._records_of(key)
        if target.startswith(("models:/", "runs:/")):
            self._give_up()
        return None

    def _digest(self) -> str | None:
        """Find what has a digest, or one that starts so: documents, images, files, commits."""
        match = _HEX.fullmatch(self.target)
        if not match:
            return None
        algorithm, name = match.groups()
        found: dict[str, Callable[[], str | None]] = {}
        if algorithm != "blake3":
            self.tried.append("a record, image, verification or rollout by digest")
            for prefix in ("image:sha256:", "model:sha256:"):
                for key in self.store.find_keys(prefix + name):
                    if key.startswith("image:"):
                        node, found_by = self._image_of_key(key)
                        found[node] = found_by
                    else:
                        found[key] = partial(self._records_of, key)
            for kind in ("record", "verification", "rollout"):
                for digest in self.store.find_digests(name, kind):
                    found[f"{kind}:{digest}"] = partial(self._document, kind, digest)
            for digest in self.store.find_digests(name, "image"):
                image = self.store.get(Image, digest)
                found[image_id(image)] = partial(self.walk.image, digest)
        if algorithm != "sha256":
            self.tried.append("a file's content")
            for key in self.store.find_keys(f"file:blake3:{name}"):
                found[key] = partial(self._records_of, key)
        if algorithm is None:
            self.tried.append("a git commit or an MLflow run")
            for prefix in ("commit:", "run:"):
                for key in self.store.find_keys(prefix + name):
                    found[key] = partial(self._records_of, key)
        if len(found) > 1:
            raise NotFoundError(
                f"{self.target!r} is ambiguous: {', '.join(_shortened(found))}.",
                "Give more digits, or one of these as it stands here.",
            )
        return next(iter(found.values()))() if found else None

    def _image_of_key(self, key: str) -> tuple[str, Callable[[], str]]:
        """Return the image that a digest means, or the rollout's image that only it names."""
        images = self.store.find_by_key(key, Image)
        if images:
            return image_id(self.store.get(Image, images[0])), lambda: self._stored_image(images)
        rollouts = self.store.find_by_key(key, Rollout)
        return key, lambda: (self.walk.rollout(rollouts[0]), key)[1]

    def _stored_image(self, documents: list[str]) -> str:
        # A tag may have been moved, and a push after the build is a document of its own.
        images = [self.store.get(Image, digest) for digest in documents]
        if len({image.id for image in images}) > 1:
            self.graph.note(
                f"{len({image.id for image in images})} images carried the name {self.target}; "
                "the newest is traced. A digest names one for good."
            )
        same = [n for n, image in enumerate(images) if image.id == images[0].id]
        pushed = [n for n in same if images[n].digest]
        return self.walk.image(documents[(pushed or same)[0]])

    # --- images that the store does not have

    def _image(self) -> str | None:
        self.tried.append("an image reference")
        found = self.store.find_by_key(f"image:{self.target}", Image)
        if not found and "@" in self.target:
            found = self.store.find_by_key(f"image:{self.target.rpartition('@')[2]}", Image)
        if found:
            return self._stored_image(found)
        bare = self.target.startswith("sha256:")
        if not bare and ("/" not in self.target and ":" not in self.target):
            return None
        if Path(self.target).suffix and ":" not in self.target:
            return None  # data/penguins.csv is a file that is gone, not an image
        return self._told_by_image(self.target)

    def _told_by_image(self, reference: str) -> str | None:
        """Ask the engine and the registry for an image's labels."""
        from mlrepro_nb.connect import docker, registry

        self.report(Step(message=f"asking the engine for {reference}"))
        self.tried.append("the local engine's images")
        try:
            held = docker.inspect(reference)
        except ToolError:
            held = None  # no engine here: the registry may know
        if held is not None and from_labels(held.labels).record:
            if found := self.store.find_by_key(f"image:{held.id}", Image):
                return self._stored_image(found)
            return self._labelled(reference, held.id, held.labels)
        if reference.startswith("sha256:"):
            return None
        self.report(Step(message=f"asking the registry for {reference}"))
        self.tried.append("its registry")
        try:
            parsed = registry.parse(reference)
            info = registry.inspect(reference)
        except UsageError:
            return None
        images = self.store.find_by_key(f"image:{info.digest}", Image) or self.store.find_by_key(
            f"image:{info.id}", Image
        )
        if images:
            return self._stored_image(images)
        return self._labelled(f"{parsed.name}@{info.digest}", info.digest, info.labels)

    def _labelled(self, reference: str, digest: str, labels: dict[str, str]) -> str:
        node = self.graph.add(
            f"image:{digest}",
            "entity",
            "image",
            reference.partition("@")[0].rpartition("/")[2],
            f"{short(digest)}, from its labels",
            digest=digest,
            references=[reference],
            labels={k: v for k, v in labels.items() if k != "io.mlrepro.data"},
        )
        told = from_labels(labels)
        self.graph.note("The image is not in this store; its labels were read instead.")
        self._join_told(node, told, "The image")
        return node

    def _join_told(self, node: str, told: Told, whose: str) -> None:
        if told.record and self.store.exists and self.store.find_digests(told.record[7:], "record"):
            self.graph.join(node, "wasDerivedFrom", self.walk.record(told.record, down=False))
            return
        if nearest := draw_told(self.graph, told, whose):
            self.graph.join(node, "wasDerivedFrom", nearest)
        if not told.record:
            self.holds = False
            self.graph.note(
                f"{whose} names no record: mlrepro-nb did not build it, or its labels were removed."
            )

    # --- workloads

    def _workload_in_cluster(self, kind: str, name: str) -> str:
        from mlrepro_nb.connect import kubernetes

        self.report(Step(message=f"asking Kubernetes for {kind} {name}"))
        manifest = kubernetes.read(kind, name, namespace=self.namespace, context=self.context)
        return self._workload(workload({"kind": kind, **manifest}))

    def _workload(self, found: Workload) -> str:
        annotated = found.annotations.get("mlrepro.io/image", "")
        images = [annotated] if annotated else []
        images += [
            i for i in found.images if i and i.rpartition("@")[2] != annotated.rpartition("@")[2]
        ]
        digests = [i for i in images if "sha256:" in i]
        running = next((i for i in found.images if "sha256:" in i), "")
        node = self.graph.add(
            f"workload:{found.namespace}/{found.kind.lower()}/{found.name}",
            "entity",
            "workload",
            f"{found.kind} {found.name}",
            found.namespace,
            kind=found.kind,
            name=found.name,
            namespace=found.namespace,
            images=found.images,
            annotations=found.annotations,
        )
        if annotated and running and annotated.rpartition("@")[2] != running.rpartition("@")[2]:
            self.holds = False
            self.graph.note(
                f"{found.kind} {found.name} says it runs image {short(annotated)} but runs "
                f"{short(running)}."
            )
        image = running or annotated or next(iter(digests or images), "")
        drawn = self._workload_image(image)
        if drawn is None:
            drawn = self.walk.name_image(image) if "sha256:" in image else None
            told = from_annotations(found.annotations)
            if drawn:
                self.graph.note(f"Image {image} is not in this store.")
            self._join_told(drawn or node, told, f"{found.kind} {found.name}")
        if drawn is None:
            return node
        self.graph.join(node, "wasDerivedFrom", drawn)
        for rollout in self.graph.of_type("rollout"):
            detail = rollout.detail
            if detail.get("namespace") == found.namespace and detail.get("name") in (
                found.name,
                found.app,
            ):
                self.graph.join(node, "wasGeneratedBy", rollout.id)
        return node

    def _workload_image(self, image: str) -> str | None:
        if not image:
            return None
        documents = self.store.find_by_key(f"image:{image.rpartition('@')[2]}", Image)
        documents = documents or self.store.find_by_key(f"image:{image}", Image)
        if documents:
            return self._stored_image(documents)
        try:
            return self._told_by_image(image)
        except ToolError as error:
            self.graph.note(f"{error.message} The annotations are all that is known of it.")
            return None

    def _give_up(self) -> NoReturn:
        if not self.store.exists:
            raise StoreError(
                f"There is no store at {self.store.root}, and nothing else knows {self.target!r}.",
                "Run this inside the project, or set MLREPRO_STORE to where its records are.",
            )
        tried = ", ".join(dict.fromkeys(self.tried))
        raise NotFoundError(
            f"Nothing answers to {self.target!r}; tried {tried}.",
            "`mlrepro log` lists what the store has; an image needs its repository "
            "(REPOSITORY:TAG or REPOSITORY@sha256:…) when another machine built it.",
        )


def _shortened(ids: Iterable[str]) -> list[str]:
    return [re.sub(r"([0-9a-f]{16})[0-9a-f]{16,}", r"\1", name) for name in sorted(ids)]
