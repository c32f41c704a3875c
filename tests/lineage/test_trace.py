"""`trace` walks from anything to everything it came from and led to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import blake3
import msgspec
import pytest
import yaml

from mlrepro_nb import lineage
from mlrepro_nb.connect import docker, kubernetes, registry
from mlrepro_nb.errors import NotFoundError, StoreError, ToolError, UsageError
from mlrepro_nb.lineage import Lineage
from mlrepro_nb.model import Code, DataAccess
from mlrepro_nb.store import Store
from tests.lineage.chain import (
    CLEAN,
    COMMIT,
    IMAGE_ID,
    MANIFEST,
    MODEL,
    RAW,
    REPOSITORY,
    RUN,
    Chain,
    cleaning,
    image_of,
    origin,
    put_chain,
    rollout_of,
    training,
    verification_of,
)
from tests.records import a_cell


@pytest.fixture
def chain(store: Store) -> Chain:
    return put_chain(store)


@pytest.fixture
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine, no registry."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ToolError("The registry cannot be reached.", "Check the network.", tool="registry")

    monkeypatch.setattr(docker, "inspect", refuse)
    monkeypatch.setattr(registry, "inspect", refuse)


def edges(found: Lineage) -> set[tuple[str, str, str]]:
    return {(edge.source, edge.relation, edge.target) for edge in found.edges}


def labels(found: Lineage, kind: str) -> list[str]:
    return [node.label for node in found.of_type(kind)]


def whole(found: Lineage) -> bool:
    """Whether commit, data, cell, run, model, record, verdict, image and rollout are there."""
    types = {node.type for node in found.nodes}
    return types >= {
        "commit", "notebook", "data", "cell", "run", "model", "record", "verification", "image",
        "rollout",
    }  # fmt: skip


# --- every name of a thing leads to the same chain


@pytest.mark.parametrize(
    ("target", "focus"),
    [
        ("{train}", "record:{train}"),
        ("{train:.15}", "record:{train}"),
        ("record:{train}", "record:{train}"),
        (MANIFEST, f"image:{MANIFEST}"),
        (MANIFEST[7:20], f"image:{MANIFEST}"),
        (f"{REPOSITORY}@{MANIFEST}", f"image:{MANIFEST}"),
        (f"{REPOSITORY}:1.2.0", f"image:{MANIFEST}"),
        (IMAGE_ID, f"image:{MANIFEST}"),
        (RUN, f"run:{RUN}"),
        (RUN[:9], f"run:{RUN}"),
        (f"runs:/{RUN}/wine-forest", f"run:{RUN}"),
        ("m-77", "model:models:/m-77"),
        ("models:/m-77", "model:models:/m-77"),
        ("models:/wine-forest/3", "model:models:/m-77"),
        ("wine-forest", "model:models:/m-77"),
        (MODEL, "model:models:/m-77"),
        (CLEAN, f"file:{CLEAN}"),
        ("data/wine.parquet", f"file:{CLEAN}"),
        (COMMIT, f"commit:{COMMIT}"),
        (COMMIT[:7], f"commit:{COMMIT}"),
        ("{rollout}", "rollout:{rollout}"),
        ("workload:prod/deployment/wine", "rollout:{rollout}"),
        ("{verification}", "verification:{verification}"),
        ("cell:{train}#3", "cell:{train}#3"),
        ("notebook:notebooks/train.ipynb", f"notebook:notebooks/train.ipynb@{COMMIT[:12]}"),
    ],
)
def test_every_name_leads_to_the_whole_chain(
    chain: Chain, store: Store, nobody_answers: None, target: str, focus: str
) -> None:
    found = lineage.trace(target.format(**chain._asdict()), store=store)
    assert found.focus == focus.format(**chain._asdict())
    assert found.holds
    assert whole(found)


def test_every_node_is_a_target_and_the_graph_is_connected(
    chain: Chain, store: Store, nobody_answers: None
) -> None:
    found = lineage.trace(chain.train, store=store)
    beside: dict[str, set[str]] = {node.id: set() for node in found.nodes}
    for edge in found.edges:
        beside[edge.source].add(edge.target)
        beside[edge.target].add(edge.source)
    assert all(beside.values())
    for node in found.nodes:
        if node.type in ("record", "image", "rollout", "run", "model", "data", "commit", "cell"):
            assert lineage.trace(node.id, store=store).focus == node.id


def test_the_chain_says_who_did_what_in_provs_words(chain: Chain, store: Store) -> None:
    found = lineage.trace(MANIFEST, store=store)
    record, model = f"record:{chain.train}", "model:models:/m-77"
    cell, execution = f"cell:{chain.train}#1", f"execution:{chain.train}"
    notebook = f"notebook:notebooks/train.ipynb@{COMMIT[:12]}"
    assert edges(found) >= {
        (notebook, "wasDerivedFrom", f"commit:{COMMIT}"),
        (cell, "used", notebook),
        (cell, "used", f"file:{CLEAN}"),
        (f"file:{CLEAN}", "wasGeneratedBy", f"cell:{chain.clean}#2"),
        (f"cell:{chain.clean}#1", "used", f"file:{RAW}"),
        (f"run:{RUN}", "wasInformedBy", f"cell:{chain.train}#4"),
        (model, "wasGeneratedBy", f"run:{RUN}"),
        (record, "wasGeneratedBy", execution),
        (execution, "wasAssociatedWith", "agent:ada"),
        (f"verification:{chain.verification}", "used", record),
        (f"image:{MANIFEST}", "wasDerivedFrom", record),
        (f"image:{MANIFEST}", "wasDerivedFrom", model),
        (f"rollout:{chain.rollout}", "used", f"image:{MANIFEST}"),
    }
    assert "train (cell 3)" in labels(found, "cell")
    assert "Cell 2" not in [
        node.label for node in found.of_type("cell") if node.id.startswith(f"cell:{chain.train}")
    ], "a cell that touched nothing and has no name is not part of the chain"


def test_the_answer_is_the_same_every_time_and_survives_json(chain: Chain, store: Store) -> None:
    first = lineage.trace(chain.train, store=store)
    assert first == lineage.trace(chain.train, store=store)
    assert lineage.from_json(lineage.to_json(first)) == first
    with pytest.raises(AttributeError):
        first.focus = "other"  # type: ignore[misc]


# --- notebooks and files on disk


def test_a_notebooks_path_leads_to_its_newest_record(
    chain: Chain, store: Store, repository: Path
) -> None:
    newer = store.put(training(50))
    path = repository / "notebooks" / "train.ipynb"
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")
    found = lineage.trace(str(path))
    assert f"record:{newer}" in {node.id for node in found.nodes}
    assert f"record:{chain.train}" not in {node.id for node in found.nodes}
    assert any("1 older record is left out" in note for note in found.notes)


def test_an_executed_copy_elsewhere_names_its_record(
    chain: Chain, store: Store, repository: Path
) -> None:
    copy = repository / "copy.ipynb"
    copy.write_text(
        json.dumps({"metadata": {"mlrepro": {"record": chain.train}}}), encoding="utf-8"
    )
    assert f"record:{chain.train}" in {node.id for node in lineage.trace("copy.ipynb").nodes}


@pytest.mark.parametrize("content", ["", "[]", '{"metadata": {"mlrepro": {"record": 7}}}', "\0"])
def test_a_notebook_that_was_never_recorded_says_so(
    chain: Chain, repository: Path, content: str
) -> None:
    Path("other.ipynb").write_text(content, encoding="utf-8")
    with pytest.raises(NotFoundError, match="never recorded"):
        lineage.trace("other.ipynb")


def put_file(store: Store, repository: Path, content: bytes) -> tuple[Path, str, str]:
    """Put a file and the record of a notebook that read it."""
    path = repository / "data" / "wine.parquet"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    digest = f"blake3:{blake3.blake3(content).hexdigest()}"
    access = DataAccess(
        path="../data/wine.parquet", repo_path="data/wine.parquet", digest=digest,
        size=len(content), access="read", cell=1, execution=1,
    )  # fmt: skip
    return path, digest, store.put(training(data=(access,)))


def test_an_unchanged_file_is_what_the_record_used(store: Store, repository: Path) -> None:
    path, digest, record = put_file(store, repository, b"wine")
    found = lineage.trace(str(path))
    assert (found.focus, found.holds) == (f"file:{digest}", True)
    assert (f"cell:{record}#1", "used", found.focus) in edges(found)


def test_a_moved_copy_is_known_by_its_content(store: Store, repository: Path) -> None:
    path, digest, _ = put_file(store, repository, b"wine")
    moved = repository.parent / "elsewhere.bin"
    path.rename(moved)
    assert lineage.trace(str(moved), store=store).focus == f"file:{digest}"


def test_one_changed_byte_is_said_with_both_digests(store: Store, repository: Path) -> None:
    path, digest, record = put_file(store, repository, b"wine")
    path.write_bytes(b"vine")
    found = lineage.trace(str(path))
    now = f"file:blake3:{blake3.blake3(b'vine').hexdigest()}"
    assert not found.holds
    assert found.focus == now
    assert (now, "alternateOf", f"file:{digest}") in edges(found)
    assert any("has changed" in note and record[7:19] in note for note in found.notes)


def test_a_file_that_went_back_to_old_content_is_told_apart_from_the_newest(
    store: Store, repository: Path
) -> None:
    path, _, _ = put_file(store, repository, b"old")
    newer = msgspec.structs.replace(
        training(30).data[0], digest=f"blake3:{blake3.blake3(b'new').hexdigest()}"
    )
    store.put(training(30, data=(newer,)))
    found = lineage.trace(str(path))
    assert not found.holds
    assert any("newest record" in note for note in found.notes)


def test_an_empty_file_is_not_every_empty_file(store: Store, repository: Path) -> None:
    empty = f"blake3:{blake3.blake3(b'').hexdigest()}"
    for number, name in enumerate(("a.txt", "b.txt")):
        access = DataAccess(path=name, repo_path=name, digest=empty, size=0, access="read", cell=1)
        code = Code(notebook=f"{name}.ipynb", commit=COMMIT, cells=(a_cell(0, "x"), a_cell(1, "y")))
        store.put(training(number, data=(access,), code=code))
    Path("a.txt").touch()
    found = lineage.trace("a.txt")
    assert found.focus == "path:a.txt"
    assert labels(found, "notebook") == ["a.txt.ipynb"]


def test_a_file_that_is_gone_is_still_known(store: Store, repository: Path) -> None:
    path, digest, _ = put_file(store, repository, b"wine")
    path.unlink()
    found = lineage.trace("data/wine.parquet")
    assert found.focus == f"file:{digest}"
    assert any("not on disk" in note for note in found.notes)


def test_a_file_that_no_record_used_is_not_found(chain: Chain, repository: Path) -> None:
    Path("other.csv").write_text("1", encoding="utf-8")
    with pytest.raises(NotFoundError, match=r"No record read or wrote other\.csv"):
        lineage.trace("other.csv")


# --- how far it walks


def test_readers_of_the_same_input_are_not_kin(store: Store) -> None:
    store.put(training())
    sibling = Code(notebook="other.ipynb", commit="ab" * 20, cells=training().code.cells)
    mine = store.put(training(40, code=sibling))
    found = lineage.trace(mine, store=store)
    assert labels(found, "notebook") == ["other.ipynb"]


def test_only_a_run_before_can_have_written_what_was_read(store: Store) -> None:
    train = store.put(training(10))
    later = store.put(cleaning(20))
    assert f"record:{later}" not in {n.id for n in lineage.trace(train, store=store).nodes}


def test_reruns_by_verify_do_not_crowd_the_picture(chain: Chain, store: Store) -> None:
    store.put(training(45, lineage=origin(45, mode="verify", parent=chain.train)))
    found = lineage.trace(MANIFEST, store=store)
    assert len(found.of_type("record")) == 2


def test_a_reruns_own_record_leads_to_what_it_repeats(chain: Chain, store: Store) -> None:
    rerun = store.put(training(45, lineage=origin(45, mode="verify", parent=chain.train)))
    store.put(verification_of(chain.train, rerun=rerun))
    found = lineage.trace(rerun, store=store)
    assert (f"record:{rerun}", "wasDerivedFrom", f"record:{chain.train}") in edges(found)
    assert ("wasGeneratedBy", "verification") in {
        (edge.relation, found.node(edge.target).type)
        for edge in found.edges
        if edge.source == f"record:{rerun}"
    }


def test_two_notebooks_that_feed_each_other_end(store: Store) -> None:
    one, two = f"blake3:{'01' * 32}", f"blake3:{'02' * 32}"

    def access(digest: str, kind: Any) -> DataAccess:
        return DataAccess(
            path=digest[7:12], digest=digest, size=3, access=kind, cell=1, execution=1
        )

    a = store.put(cleaning(0, data=(access(two, "read"), access(one, "write"))))
    store.put(training(10, data=(access(one, "read"), access(two, "write"))))
    store.put(cleaning(20, data=(access(two, "read"), access(one, "write"))))
    found = lineage.trace(a, store=store)
    assert len(found.of_type("record")) >= 2
    lineage.to_html(found)


def test_thousands_of_files_are_one_node_that_names_them_all(store: Store) -> None:
    files = tuple(
        DataAccess(path=f"images/{n}.png", digest=f"blake3:{n:064x}", size=10, access="read",
                   cell=1, execution=1)
        for n in range(1, 3001)
    )  # fmt: skip
    record = store.put(training(data=files))
    found = lineage.trace(record, store=store)
    (group,) = found.of_type("data")
    assert (group.label, len(group.detail["files"])) == ("images/", 3000)
    alone = lineage.trace(f"blake3:{7:064x}", store=store)
    assert alone.focus == f"file:blake3:{7:064x}"
    assert len(alone.of_type("data")) == 2


def test_pushing_an_image_that_was_built_before_is_one_image(store: Store) -> None:
    train = store.put(training())
    store.put(image_of(train, digest=None, created="2026-11-23T10:29:00Z"))
    store.put(image_of(train))
    for target in (train, IMAGE_ID):
        (image,) = lineage.trace(target, store=store).of_type("image")
        assert image.id == f"image:{MANIFEST}"


def test_a_moved_tag_means_its_newest_image_and_says_so(chain: Chain, store: Store) -> None:
    moved = {"digest": f"sha256:{'e2' * 32}", "id": f"sha256:{'f3' * 32}"}
    store.put(image_of(chain.train, created="2026-11-23T11:00:00Z", **moved))
    found = lineage.trace(f"{REPOSITORY}:1.2.0", store=store)
    assert found.focus == f"image:{moved['digest']}"
    assert any("2 images carried the name" in note for note in found.notes)


# --- what is missing is said


def test_an_image_whose_record_is_elsewhere_names_it(store: Store) -> None:
    away = f"sha256:{'77' * 32}"
    store.put(image_of(away))
    found = lineage.trace(MANIFEST, store=store)
    (record,) = found.of_type("record")
    assert (record.present, record.detail["digest"]) == (False, away)
    assert any("not in this store" in note for note in found.notes)


LABELS = {
    "io.mlrepro.record": f"sha256:{'77' * 32}",
    "io.mlrepro.notebook": "notebooks/train.ipynb",
    "io.mlrepro.run": RUN,
    "io.mlrepro.cell": "14",
    "io.mlrepro.data": json.dumps({"data/wine.csv": RAW}),
    "org.opencontainers.image.revision": COMMIT,
    "org.opencontainers.image.source": "https://git.example/wine.git",
}


def in_registry(monkeypatch: pytest.MonkeyPatch, labels: dict[str, str]) -> None:
    monkeypatch.setattr(docker, "inspect", lambda image: None)
    monkeypatch.setattr(
        registry,
        "inspect",
        lambda reference: registry.ImageInfo(
            reference=reference, digest=MANIFEST, id=IMAGE_ID, labels=labels
        ),
    )


def test_an_image_alone_tells_the_chain_on_a_machine_that_never_saw_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLREPRO_STORE", raising=False)
    in_registry(monkeypatch, LABELS)
    found = lineage.trace(f"{REPOSITORY}@{MANIFEST}")
    assert found.holds
    assert {node.type: node.present for node in found.nodes} == {
        "commit": False, "notebook": False, "data": False, "cell": False, "run": False,
        "record": False, "image": True,
    }  # fmt: skip
    (data,) = found.of_type("data")
    assert (data.label, data.detail["digest"]) == ("data/wine.csv", RAW)
    assert found.of_type("cell")[0].detail["index"] == 14
    assert found.of_type("run")[0].detail["run_id"] == RUN
    assert any("is not in this store" in note for note in found.notes)
    assert list(tmp_path.iterdir()) == [], "looking writes nothing"


def test_an_images_label_leads_to_the_record_where_it_is_here(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = store.put(training())
    in_registry(monkeypatch, {"io.mlrepro.record": train})
    found = lineage.trace(f"{REPOSITORY}:9", store=store)
    assert (f"image:{MANIFEST}", "wasDerivedFrom", f"record:{train}") in edges(found)
    assert found.of_type("model")


@pytest.mark.parametrize("labels", [{}, {"io.mlrepro.record": "junk", "io.mlrepro.data": "{"}])
def test_an_image_of_somebody_else_reaches_no_record(
    store: Store, monkeypatch: pytest.MonkeyPatch, labels: dict[str, str]
) -> None:
    in_registry(monkeypatch, labels)
    found = lineage.trace("python:3.12", store=store)
    assert not found.holds
    assert any("names no record" in note for note in found.notes)


def test_an_unreachable_registry_is_an_outside_failure(store: Store, nobody_answers: None) -> None:
    with pytest.raises(ToolError):
        lineage.trace("registry.example/a:1", store=store)


@pytest.mark.parametrize(
    "target",
    ["nonsense", "ffff0000", "sha256:" + "0" * 64, "models:/none/1", "runs:/none", "no/such.csv",
     "record:ffffffff", "cell:ffffffff#1", "path:x", "../..", "a b", "é", "x" * 5000],
)  # fmt: skip
def test_what_nobody_knows_is_not_found_with_what_was_tried(
    chain: Chain, store: Store, nobody_answers: None, target: str
) -> None:
    with pytest.raises(NotFoundError) as raised:
        lineage.trace(target, store=store)
    assert raised.value.message
    assert raised.value.remedy


@pytest.mark.parametrize("target", ["", "  "])
def test_nothing_cannot_be_traced(store: Store, target: str) -> None:
    with pytest.raises(UsageError):
        lineage.trace(target, store=store)


def test_an_ambiguous_start_lists_the_candidates(store: Store) -> None:
    one = Code(notebook="a.ipynb", commit="abcd1" + "0" * 35)
    two = Code(notebook="b.ipynb", commit="abcd2" + "0" * 35)
    store.put(training(code=one, results=cleaning().results))
    store.put(training(code=two, results=cleaning().results))
    with pytest.raises(NotFoundError, match=r"ambiguous.*commit:abcd1.*commit:abcd2"):
        lineage.trace("abcd", store=store)
    assert lineage.trace("abcd1", store=store).focus.startswith("commit:abcd1")


def test_without_a_store_a_digest_is_a_store_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nobody_answers: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLREPRO_STORE", raising=False)
    with pytest.raises(StoreError, match="no store"):
        lineage.trace("abcdef12")


# --- Kubernetes


def pod(image_id: str = f"{REPOSITORY}@{MANIFEST}", **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "wine-5f7-x2x", "namespace": "prod",
            "labels": {"app.kubernetes.io/name": "wine"},
            "annotations": {"mlrepro.io/image": f"{REPOSITORY}@{MANIFEST}", **annotations},
        },
        "spec": {"containers": [{"name": "main", "image": f"{REPOSITORY}:1.2.0"}]},
        "status": {
            "containerStatuses": [
                {"name": "main", "image": f"{REPOSITORY}:1.2.0", "imageID": image_id}
            ]
        },
    }  # fmt: skip


def test_a_pods_manifest_leads_to_image_rollout_and_commit(
    chain: Chain, store: Store, tmp_path: Path
) -> None:
    for suffix, text in (("json", json.dumps(pod())), ("yaml", yaml.safe_dump(pod()))):
        path = tmp_path / f"pod.{suffix}"
        path.write_text(text, encoding="utf-8")
        found = lineage.trace(str(path), store=store)
        assert found.focus == "workload:prod/pod/wine-5f7-x2x"
        assert whole(found)
        assert (found.focus, "wasDerivedFrom", f"image:{MANIFEST}") in edges(found)
        assert (found.focus, "wasGeneratedBy", f"rollout:{chain.rollout}") in edges(found)


def test_a_live_pod_is_asked_of_the_cluster(
    chain: Chain, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def read(kind: str, name: str, **options: Any) -> dict[str, Any]:
        asked.append((kind, name, options))
        manifest = pod()
        del manifest["kind"]
        return manifest

    monkeypatch.setattr(kubernetes, "read", read)
    found = lineage.trace("pod/wine-5f7-x2x", store=store, namespace="prod", context="eu")
    assert asked == [("Pod", "wine-5f7-x2x", {"namespace": "prod", "context": "eu"})]
    assert whole(found)


def test_a_pod_that_runs_another_image_than_it_says_is_a_finding(
    chain: Chain, store: Store, tmp_path: Path, nobody_answers: None
) -> None:
    path = tmp_path / "pod.json"
    path.write_text(json.dumps(pod(f"{REPOSITORY}@sha256:{'99' * 32}")), encoding="utf-8")
    found = lineage.trace(str(path), store=store)
    assert not found.holds
    assert any("but runs" in note for note in found.notes)


def test_a_pods_annotations_name_the_record_where_nothing_else_is_known(
    store: Store, tmp_path: Path, nobody_answers: None
) -> None:
    record = f"sha256:{'77' * 32}"
    path = tmp_path / "pod.json"
    manifest = pod(**{"mlrepro.io/record": record, "mlrepro.io/commit": COMMIT})
    path.write_text(json.dumps(manifest), encoding="utf-8")
    found = lineage.trace(str(path), store=store)
    assert found.of_type("record")[0].detail["digest"] == record
    assert found.of_type("commit")[0].detail["commit"] == COMMIT
    assert found.holds


def test_a_rendered_deployment_among_other_manifests_is_found(
    chain: Chain, store: Store, tmp_path: Path
) -> None:
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "wine", "namespace": "prod"},
        "spec": {"template": {
            "metadata": {"annotations": {"mlrepro.io/record": chain.train}},
            "spec": {"containers": [{"name": "m", "image": f"{REPOSITORY}@{MANIFEST}"}]},
        }},
    }  # fmt: skip
    path = tmp_path / "all.yaml"
    path.write_text(
        yaml.safe_dump_all([{"kind": "Service", "metadata": {"name": "s"}}, deployment]),
        encoding="utf-8",
    )
    found = lineage.trace(str(path), store=store)
    assert found.focus == "workload:prod/deployment/wine"
    assert whole(found)


@pytest.mark.parametrize(
    "text",
    ["kind: Pod", "kind: Pod\nmetadata: 3\nspec: []", "kind: Pod\nspec: {containers: [1, {}]}",
     '{"kind": "Pod", "status": {"containerStatuses": ["x"]}}', "kind: Deployment\nspec: null"],
)  # fmt: skip
def test_a_crooked_manifest_is_no_crash(
    store: Store, tmp_path: Path, nobody_answers: None, text: str
) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(text, encoding="utf-8")
    assert not lineage.trace(str(path), store=store).holds


def test_a_rollout_of_an_image_that_another_machine_built(store: Store) -> None:
    train = store.put(training())
    rollout = store.put(rollout_of(train))
    found = lineage.trace(rollout, store=store)
    (image,) = found.of_type("image")
    assert not image.present
    assert (image.id, "wasDerivedFrom", f"record:{train}") in edges(found)
