"""Walking the store from document to document, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlrepro_nb.errors import NotFoundError
from mlrepro_nb.lineage._documents import (
    data_id,
    draw_image,
    draw_record,
    draw_rollout,
    draw_verification,
    name_record,
)
from mlrepro_nb.lineage.graph import Graph
from mlrepro_nb.model import Image, Record, Rollout, Verification, short
from mlrepro_nb.store import Store

MOST = 6
"""Verifications of a record, images of a record, rollouts of an image: the newest are drawn."""
MOST_RECORDS = 24
_LOOKED_AT = 200


class Walk:
    """One walk: draws what it meets into a graph.

    Causes are followed upwards: the record whose run wrote a file that this one
    read. Effects downwards: images, rollouts, and records that read what this
    one wrote. Neither turns round on the way, so that two notebooks that merely
    read the same table do not end up in one picture.
    """

    def __init__(self, store: Store, graph: Graph, alone: Iterable[str] = ()) -> None:
        self.store = store
        self.graph = graph
        self.alone = frozenset(alone)
        self._drawn: set[str] = set()
        self._followed: set[tuple[str, str]] = set()
        self._records: dict[str, Record | None] = {}

    def record(self, digest: str, *, up: bool = True, down: bool = True) -> str:
        """Draw a record and what it leads to; return its node."""
        record = self._load(digest)
        if record is None:
            return name_record(self.graph, digest)
        if digest not in self._drawn and len(self._drawn) >= MOST_RECORDS:
            self.graph.note(
                f"More than {MOST_RECORDS} records are connected; the rest is left out."
            )
            return name_record(self.graph, digest)
        self._drawn.add(digest)
        # First what is connected through files, so that those files are drawn one by one.
        if up and (digest, "up") not in self._followed:
            self._followed.add((digest, "up"))
            self._writers(record)
        if down and (digest, "down") not in self._followed:
            self._followed.add((digest, "down"))
            self._readers(digest, record)
            self._images(digest)
        node = draw_record(self.graph, digest, record, self.alone)
        self._verifications(digest, record)
        if record.lineage.parent:
            self.record(record.lineage.parent, up=up, down=down)
        return node

    def image(self, digest: str) -> str:
        """Draw an image document, its record's causes, and its rollouts."""
        image = self.store.get(Image, digest)
        record = self._load(image.record)
        node = draw_image(self.graph, digest, image, record)
        if record is None:
            self.graph.note(
                f"The image was built from record {short(image.record)}, "
                "which is not in this store."
            )
        self.record(image.record, down=False)
        self._rollouts(image, node)
        return node

    def rollout(self, digest: str) -> str:
        """Draw a rollout document, and its image where the store has it."""
        rollout = self.store.get(Rollout, digest)
        node = draw_rollout(self.graph, digest, rollout)
        manifest = rollout.image.rpartition("@")[2]
        images = self.store.find_by_key(f"image:{manifest}", Image)
        if images:
            self.image(images[0])
        self.graph.join(node, "used", self.name_image(rollout.image))
        if not images and rollout.record:
            self.graph.join(
                self.name_image(rollout.image), "wasDerivedFrom", self.record(rollout.record)
            )
        return node

    def name_image(self, reference: str) -> str:
        """Return the node of an image, drawn as missing until it is drawn for real."""
        repository, _, manifest = reference.rpartition("@")
        return self.graph.add(
            f"image:{manifest}",
            "entity",
            "image",
            repository.rpartition("/")[2] or short(manifest),
            f"{short(manifest)}, not in this store",
            present=False,
            digest=manifest if manifest.startswith("sha256:") else None,
            references=[reference],
        )

    def newest(self, digests: Iterable[str]) -> list[str]:
        """Return the newest record of each notebook, reruns by `verify` only where alone."""
        found: dict[str, str] = {}
        reruns: dict[str, str] = {}
        older = 0
        for number, digest in enumerate(digests):
            if number >= _LOOKED_AT:
                break
            record = self._load(digest)
            if record is None:
                continue
            if record.lineage.mode == "verify":
                reruns.setdefault(record.code.notebook, digest)
            elif record.code.notebook in found:
                older += 1
            else:
                found[record.code.notebook] = digest
        if older:
            self.graph.note(
                f"{older} older {'record is' if older == 1 else 'records are'} left out; "
                "`mlrepro log` lists all, and `mlrepro trace` takes the digest of any."
            )
        return list((reruns | found).values())

    def _load(self, digest: str) -> Record | None:
        if digest not in self._records:
            try:
                self._records[digest] = self.store.get(Record, digest)
            except NotFoundError:
                self._records[digest] = None
        return self._records[digest]

    def _verifications(self, digest: str, record: Record) -> None:
        found = self.store.find_by_key(f"record:{digest}", Verification)
        self._left_out(found, f"verifications of record {short(digest)}")
        for name in found[:MOST]:
            verification = self.store.get(Verification, name)
            node = draw_verification(self.graph, name, verification)
            if verification.rerun == digest and record.lineage.mode == "verify":
                # Only drawn when somebody asks for the rerun's own record.
                self.graph.join(name_record(self.graph, digest), "wasGeneratedBy", node)

    def _images(self, digest: str) -> None:
        # Pushing an image that was built before gives a second document of the same image.
        documents: dict[str, tuple[str, Image]] = {}
        for name in self.store.find_by_key(f"record:{digest}", Image):
            image = self.store.get(Image, name)
            if image.id not in documents or (
                image.digest and documents[image.id][1].digest is None
            ):
                documents[image.id] = (name, image)
        found = list(documents.values())
        self._left_out(found, f"images of record {short(digest)}")
        for name, image in found[:MOST]:
            node = draw_image(self.graph, name, image, self._load(digest))
            self._rollouts(image, node)
        for name in self.store.find_by_key(f"record:{digest}", Rollout)[:MOST]:
            rollout = self.store.get(Rollout, name)
            manifest = rollout.image.rpartition("@")[2]
            if not self.store.find_by_key(f"image:{manifest}", Image):
                image_node = self.name_image(rollout.image)
                self.graph.join(image_node, "wasDerivedFrom", f"record:{digest}")
                self.graph.join(draw_rollout(self.graph, name, rollout), "used", image_node)

    def _rollouts(self, image: Image, node: str) -> None:
        if not image.digest:
            return
        found = self.store.find_by_key(f"image:{image.digest}", Rollout)
        # The same rollout applied again says nothing new: the newest of each name.
        newest: dict[tuple[str, str, str], tuple[str, Rollout]] = {}
        for name in found:
            rollout = self.store.get(Rollout, name)
            newest.setdefault((rollout.namespace, rollout.workload, rollout.name), (name, rollout))
        shown = list(newest.values())
        self._left_out(shown, f"rollouts of image {short(image.digest)}")
        for name, rollout in shown[:MOST]:
            self.graph.join(draw_rollout(self.graph, name, rollout), "used", node)

    def _writers(self, record: Record) -> None:
        """Follow each file that was read to the newest run before this one that wrote it."""
        for access in record.data:
            if access.access != "read" or not access.digest or access.size == 0:
                continue
            for digest in self.store.find_by_key(f"file:{access.digest}", Record)[:_LOOKED_AT]:
                writer = self._load(digest)
                if (
                    writer is not None
                    and writer.lineage.mode != "verify"
                    and writer.lineage.started < record.lineage.started
                    and _touches(writer, access.digest, "write")
                ):
                    self.alone |= {data_id(access)}
                    self.record(digest, down=False)
                    break

    def _readers(self, digest: str, record: Record) -> None:
        """Follow each file that was written to the newest run of each notebook that read it."""
        for access in record.data:
            if access.access != "write" or not access.digest or access.size == 0:
                continue
            readers: dict[str, str] = {}
            for name in self.store.find_by_key(f"file:{access.digest}", Record)[:_LOOKED_AT]:
                reader = self._load(name)
                if (
                    name != digest
                    and reader is not None
                    and reader.lineage.mode != "verify"
                    and reader.lineage.started > record.lineage.started
                    and _touches(reader, access.digest, "read")
                ):
                    readers.setdefault(reader.code.notebook, name)
            for name in readers.values():
                self.alone |= {data_id(access)}
                self.record(name, up=False)

    def _left_out(self, found: Sequence[object], what: str) -> None:
        if len(found) > MOST:
            self.graph.note(f"Only the newest {MOST} of {len(found)} {what} are shown.")


def _touches(record: Record, content: str, access: str) -> bool:
    return any(a.digest == content and a.access == access for a in record.data)
