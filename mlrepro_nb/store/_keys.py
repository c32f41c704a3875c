"""Which keys lead to a document: pure."""

from __future__ import annotations

from mlrepro_nb.model import Document, Image, Record, Rollout, Verification


def keys(document: Document) -> frozenset[str]:
    """Return the keys under which the index finds a document.

    A key is ``<what>:<name>``: ``commit: notebook: file: path: run: model:
    record: image: workload:``. Lineage is walked over them: an image is found
    from a record by ``record:<digest>``, a record from a file by
    ``file:blake3:<hex>``.
    """
    if isinstance(document, Record):
        found = {f"notebook:{document.code.notebook}"}
        if document.code.commit:
            found.add(f"commit:{document.code.commit}")
        for access in document.data:
            found.add(f"path:{access.repo_path or access.path}")
            if access.digest:
                found.add(f"file:{access.digest}")
        for run in document.lineage.runs:
            found.add(f"run:{run.run_id}")
        for model in document.results.models:
            found |= {f"model:{model.uri}", f"model:{model.name}"}
            if model.model_id:
                found |= {f"model:{model.model_id}", f"model:models:/{model.model_id}"}
            if model.version:
                found |= {
                    f"model:{model.name}/{model.version}",
                    f"model:models:/{model.name}/{model.version}",
                }
            if model.digest:
                found.add(f"model:{model.digest}")
        if document.lineage.parent:
            found.add(f"record:{document.lineage.parent}")
        return frozenset(found)
    if isinstance(document, Verification):
        related = (document.record, document.rerun)
        return frozenset({f"notebook:{document.notebook}", *(f"record:{d}" for d in related if d)})
    if isinstance(document, Image):
        found = {f"record:{document.record}", f"image:{document.id}"}
        found |= {f"image:{document.repository}:{tag}" for tag in document.tags}
        if document.digest:
            found |= {
                f"image:{document.digest}",
                f"image:{document.repository}@{document.digest}",
            }
        return frozenset(found)
    assert isinstance(document, Rollout)
    found = {
        f"image:{document.image}",
        f"image:{document.image.rpartition('@')[2]}",
        f"workload:{document.namespace}/{document.workload.lower()}/{document.name}",
    }
    if document.record:
        found.add(f"record:{document.record}")
    return frozenset(found)
