"""Bill of materials, provenance and signatures beside real images, in real registries.

Two images are built, once each: by the daemonless builder, signed, and by the
engine's, unsigned, into a registry that wants a password.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from click.testing import CliRunner

from mlrepro_nb import image
from mlrepro_nb.connect import oci, registry, signature, uv
from mlrepro_nb.errors import UsageError
from mlrepro_nb.faces.cli import main
from mlrepro_nb.lineage.custody import Custody, verify
from mlrepro_nb.model import Image, Record, attestation
from mlrepro_nb.store import Store
from tests.conftest import git, needed
from tests.image.conftest import notebook, put

pytestmark = pytest.mark.engine

PASSWORD = "a long one"
PINS = ("click==8.1.8", "six==1.17.0")
SECRET = "qz81-planted-in-the-environment"


class Made(NamedTuple):
    """An image that was pushed."""

    folder: Path
    store: Store
    image: Image
    said: str

    @property
    def reference(self) -> str:
        return f"{self.image.repository}@{self.image.digest}"


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        found.setenv(signature.PASSWORD, PASSWORD)
        found.setenv("DEPLOY_TOKEN", SECRET)
        found.delenv("MLREPRO_STORE", raising=False)
        yield found


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Path:
    """A folder with two key pairs: ours and another's."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "others"):
        signature.new_pair(folder / name, PASSWORD)
    return folder


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch
) -> tuple[Path, Store, Record]:
    """A committed and recorded project, whose plan is of few distributions."""
    folder = tmp_path_factory.mktemp("custody") / "project"
    (folder / "helpers").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "train.ipynb").write_text(json.dumps(notebook()), encoding="utf-8")
    (folder / "data.csv").write_text("a,b\n1,2\n5,6\n", encoding="utf-8")
    (folder / "helpers" / "scale.py").write_text("def twice(x):\n    return 2 * x\n")
    (folder / ".gitignore").write_text(".mlrepro/\n", encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Train")
    patch.chdir(folder)
    store = Store.find(folder)
    record = put(folder, store)
    environment = msgspec.structs.replace(
        record.environment, python=platform.python_version(), variables={"PYTHONHASHSEED": "7"}
    )
    remote = f"https://u:{SECRET}@example.com/team/project.git"
    code = msgspec.structs.replace(record.code, remote=remote)
    record = put(folder, store, environment=environment, code=code)
    whole = image.plan
    lock = uv.lock(PINS, python=platform.python_version())

    def little(*arguments: Any, **options: Any) -> image.Plan:
        made = whole(*arguments, **options, offline=True)
        return msgspec.structs.replace(made, local=(), pins=PINS, lock=lock, problems=())

    patch.setattr("mlrepro_nb.image._build.plan", little)
    return folder, store, record


def built(project: tuple[Path, Store, Record], **options: Any) -> Made:
    folder, store, _ = project
    said: list[str] = []
    digest, made = image.build(
        str(folder / "train.ipynb"), build_id="1", report=lambda s: said.append(s.message),
        **options,
    )  # fmt: skip
    assert store.get(Image, digest) == made
    return Made(folder, store, made, "\n".join(said))


@pytest.fixture(scope="module")
def signed(
    project: tuple[Path, Store, Record], base_image: str, registry: str, keys: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:  # fmt: skip
    """The daemonless builder's, signed, in an open registry and in a layout."""
    return built(
        project, builder="oci", base=base_image, push=True, sign=str(keys / "ours.key"),
        repository=f"{registry}/test/{uuid.uuid4().hex[:12]}",
        output=tmp_path_factory.mktemp("layout") / "image",
    )  # fmt: skip


@pytest.fixture(scope="module")
def unsigned(
    project: tuple[Path, Store, Record], base_image: str, registry_auth: tuple[str, str, str],
    tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch,
) -> Made:  # fmt: skip
    """The engine's, unsigned, in a registry that wants a password."""
    host, user, password = registry_auth
    folder = tmp_path_factory.mktemp("docker")
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    before = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker"))
    if (before / "cli-plugins").is_dir():
        (folder / "cli-plugins").symlink_to(before / "cli-plugins")
    patch.setenv("DOCKER_CONFIG", str(folder))
    return built(
        project, builder="docker", base=base_image, push=True,
        repository=f"{host}/test/{uuid.uuid4().hex[:12]}",
    )  # fmt: skip


def attached(made: Made) -> dict[str, registry.Artifact]:
    """Return what a registry says is beside an image, by what it is."""
    digest = str(made.image.digest)
    found = {}
    for listed in registry.referrers(made.image.repository, digest):
        artifact = registry.fetch(made.image.repository, listed, digest)
        kind = artifact.annotations.get("dev.sigstore.bundle.predicateType")
        found[kind or artifact.artifact_type] = artifact
        assert listed.artifact_type == artifact.artifact_type
    return found


def checks(found: Custody) -> dict[str, bool | None]:
    return {check.name: check.holds for check in found.checks}


def broken(found: Custody) -> str:
    assert not found.holds
    return "; ".join(f"{c.name}: {c.said}" for c in found.checks if c.holds is False)


# --- what is attached


def test_bill_and_provenance_are_beside_the_image_and_signed(signed: Made) -> None:
    found = attached(signed)
    assert set(found) == {
        attestation.BOM_DOCUMENT, attestation.PROVENANCE, attestation.BOM, attestation.SIGNATURE
    }  # fmt: skip
    assert len(signed.image.referrers) == 4
    bill = json.loads(found[attestation.BOM_DOCUMENT].content)
    named = {c["name"]: c for c in bill["components"]}
    assert named["click"]["hashes"]
    # the packages of the base image, read from its layers
    assert named["libc6"]["purl"].startswith("pkg:deb/debian/libc6@")
    assert len([c for c in bill["components"] if c.get("purl", "").startswith("pkg:deb/")]) > 50
    said = json.loads(signature.read(found[attestation.PROVENANCE].content).payload)
    assert said["subject"][0]["digest"]["sha256"] == str(signed.image.digest)[7:]
    assert said["predicate"]["runDetails"]["builder"]["version"]["toolchain"]
    assert signed.store.blobs.get(str(signed.image.sbom)) == found[attestation.BOM_DOCUMENT].content
    assert json.loads(signed.store.blobs.get(str(signed.image.provenance))) == said


def test_the_engine_s_image_has_them_as_well_unsigned(unsigned: Made) -> None:
    found = attached(unsigned)
    assert set(found) == {attestation.BOM_DOCUMENT, signature.STATEMENT}
    bill = json.loads(found[attestation.BOM_DOCUMENT].content)
    assert any(c["name"] == "libc6" for c in bill["components"])
    said = json.loads(found[signature.STATEMENT].content)
    assert said["subject"][0]["digest"]["sha256"] == str(unsigned.image.digest)[7:]


def test_no_secret_is_in_any_of_them(signed: Made, unsigned: Made) -> None:
    for made in (signed, unsigned):
        for artifact in attached(made).values():
            content = artifact.content
            if artifact.media_type == signature.BUNDLE:
                content += signature.read(content).payload
            assert SECRET.encode() not in content
            assert PASSWORD.encode() not in content
            assert str(made.folder).encode() not in content


def test_the_layout_has_them_too(signed: Made, keys: Path) -> None:
    folder = next(
        p for p in signed.folder.parents[1].glob("layout*/image") if (p / "oci-layout").is_file()
    )
    layout = oci.Layout(folder)
    found, _ = layout.find("linux/amd64")  # what refers to it is no image
    assert found.digest == signed.image.digest
    assert len(layout.referrers(found.digest)) == 4
    told = verify(f"oci:{folder}", key=keys / "ours.pub")
    assert told.holds, broken(told)
    assert checks(told)["signature"] is True
    for path in (folder / "blobs" / "sha256").iterdir():
        assert oci.digest_of(path) == f"sha256:{path.name}"


def test_building_again_attaches_nothing_but_that_it_was_built_again(
    signed: Made, project: tuple[Path, Store, Record], base_image: str, keys: Path
) -> None:
    again = built(
        project, builder="oci", base=base_image, push=True, sign=str(keys / "ours.key"),
        repository=signed.image.repository,
    )  # fmt: skip
    assert again.image.digest == signed.image.digest
    assert len(set(again.image.referrers) - set(signed.image.referrers)) <= 1
    assert again.image.sbom == signed.image.sbom


def test_nothing_is_attached_where_that_is_not_wanted(
    project: tuple[Path, Store, Record], base_image: str, registry: str
) -> None:
    made = built(
        project, builder="oci", base=base_image, push=True, attest=False,
        repository=f"{registry}/test/{uuid.uuid4().hex[:12]}",
    )  # fmt: skip
    assert made.image.referrers == ()
    assert attached(made) == {}
    found = verify(made.reference)
    assert "provenance: none is attached" in broken(found)


def test_a_wrong_password_is_told_before_anything_is_built(
    project: tuple[Path, Store, Record], base_image: str, keys: Path, patch: pytest.MonkeyPatch
) -> None:
    with patch.context() as wrong:
        wrong.setenv(signature.PASSWORD, "another")
        with pytest.raises(UsageError, match=r"password of .* is wrong"):
            built(project, builder="oci", base=base_image, push=True, repository="localhost/a",
                  sign=str(keys / "ours.key"))  # fmt: skip


# --- an independent verifier


def test_another_implementation_accepts_it_with_our_key_and_with_no_other(
    signed: Made, keys: Path
) -> None:
    from securesystemslib import exceptions
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    for kind in (attestation.PROVENANCE, attestation.BOM, attestation.SIGNATURE):
        bundle = json.loads(attached(signed)[kind].content)
        told = bundle["dsseEnvelope"]
        envelope = Envelope.from_dict(
            {**told, "signatures": [{"keyid": "k", "sig": s["sig"]} for s in told["signatures"]]}
        )
        pem = {name: (keys / f"{name}.pub").read_text() for name in ("ours", "others")}
        key = {
            name: SSlibKey("k", "ecdsa", "ecdsa-sha2-nistp256", {"public": text})
            for name, text in pem.items()
        }
        assert envelope.verify([key["ours"]], 1)
        with pytest.raises(exceptions.VerificationError):
            envelope.verify([key["others"]], 1)


@pytest.mark.cosign
def test_cosign_accepts_it_with_our_key_and_with_no_other(signed: Made, keys: Path) -> None:
    program = shutil.which("cosign")
    needed("cosign", program)
    options = ("--insecure-ignore-tlog=true", "--allow-http-registry")
    for verb in (("verify",), ("verify-attestation", "--type", "slsaprovenance1"),
                 ("verify-attestation", "--type", "cyclonedx")):  # fmt: skip
        for key, status in (("ours", 0), ("others", 1)):
            ended = subprocess.run(
                [program, *verb, "--key", str(keys / f"{key}.pub"), *options, signed.reference],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert bool(ended.returncode) == bool(status), ended.stderr


# --- the chain


def test_every_link_of_the_chain_holds(signed: Made, keys: Path) -> None:
    found = verify(signed.reference, key=keys / "ours.pub")
    assert found.holds, broken(found)
    assert checks(found) == dict.fromkeys(
        ("image", "signature", "subject", "bill of materials", "record", "lock", "notebook", "run",
         "commit", "base", "record in store", "lock in store", "executed notebook in store",
         "data"),
        True,
    )  # fmt: skip
    by_tag = verify(f"{signed.image.repository}:{signed.image.tags[0]}", key=keys / "ours.pub")
    assert by_tag.image == found.image
    by_digest = verify(str(signed.image.digest), key=keys / "ours.pub")
    assert by_digest.image == found.image


def test_without_a_key_the_signature_is_not_checked_and_the_rest_is(unsigned: Made) -> None:
    found = verify(unsigned.reference)
    assert found.holds, broken(found)
    assert checks(found)["signature"] is None
    assert checks(found)["record"] is True


def test_what_nobody_signed_does_not_pass_a_key(unsigned: Made, keys: Path) -> None:
    assert "it is not signed" in broken(verify(unsigned.reference, key=keys / "ours.pub"))


def test_another_key_did_not_sign_it(signed: Made, keys: Path) -> None:
    found = verify(signed.reference, key=keys / "others.pub")
    assert "signed with another key" in broken(found)


def test_the_command_prints_a_line_for_each_link(
    signed: Made, keys: Path, patch: pytest.MonkeyPatch
) -> None:
    arguments = ["trace", signed.reference, "--verify", "--key", str(keys / "ours.pub")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "✓ signature" in done.stdout
    assert "✗" not in done.stdout
    wrong = [*arguments[:-1], str(keys / "others.pub"), "--json"]
    done = CliRunner().invoke(main, wrong)
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["holds"] is False
    assert any("another key" in check["said"] for check in found["checks"])
    assert CliRunner().invoke(main, ["trace", signed.reference, "--key", "x"]).exit_code == 2


def test_a_pod_leads_to_the_image_that_it_runs(signed: Made, keys: Path, tmp_path: Path) -> None:
    pod: dict[str, Any] = {
        "kind": "Pod", "metadata": {"name": "p", "annotations": {}},
        "spec": {"containers": [{"name": "c", "image": f"{signed.image.repository}:1"}]},
        "status": {"containerStatuses": [
            {"name": "c", "image": "x", "imageID": signed.reference}]},
    }  # fmt: skip
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(pod))
    found = verify(str(file), key=keys / "ours.pub")
    assert found.holds, broken(found)
    assert checks(found)["workload"] is True
    pod["metadata"]["annotations"]["mlrepro.io/image"] = f"x/y@sha256:{'0' * 64}"
    file.write_text(json.dumps(pod))
    assert "but runs" in broken(verify(str(file), key=keys / "ours.pub"))


def pushed(made: Made, artifacts: list[registry.Artifact], name: str = "") -> str:
    """Push the same image into another repository, with other things beside it."""
    target = f"{made.image.repository}{name or uuid.uuid4().hex[:6]}"
    subject = registry.manifest(made.reference, platform="linux/amd64")
    description = oci.image(subject.content, made.reference)
    origin = registry.parse(made.image.repository).repository
    missing = Path("/nowhere")  # every blob is mounted from the other repository
    blobs = [
        registry.Blob(digest=d.digest, size=d.size, path=missing, origin=origin)
        for d in description.blobs
    ]
    registry.push(target, subject, blobs, ["1"])
    if artifacts:
        registry.attach(target, subject, artifacts)
    return f"{target}@{made.image.digest}"


def test_what_was_changed_after_it_was_signed_is_found(signed: Made, keys: Path) -> None:
    good = attached(signed)[attestation.PROVENANCE]
    bundle = json.loads(good.content)
    said = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    said["predicate"]["buildDefinition"]["externalParameters"]["commit"] = "0" * 40
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(said).encode()).decode()
    changed = msgspec.structs.replace(good, content=json.dumps(bundle).encode())
    reference = pushed(signed, [changed])
    assert "changed after it was signed" in broken(verify(reference, key=keys / "ours.pub"))
    # Nobody's key is asked for: then the labels contradict it.
    assert "commit: 000000000000" in broken(verify(reference))


def test_the_signature_of_another_image_is_no_signature_of_this_one(
    signed: Made, unsigned: Made, keys: Path, project: tuple[Path, Store, Record]
) -> None:
    signer = signature.KeySigner(signature.private(keys / "ours.key"))
    other = attestation.statement(
        attestation.PROVENANCE, {}, str(unsigned.image.digest), name="another"
    )
    content = signer.sign(json.dumps(other).encode())
    good = attached(signed)[attestation.PROVENANCE]
    reference = pushed(signed, [msgspec.structs.replace(good, content=content)])
    assert "its subject is another image" in broken(verify(reference, key=keys / "ours.pub"))


def test_what_anybody_attached_besides_spoils_nothing_and_is_told(signed: Made, keys: Path) -> None:
    good = attached(signed)
    nonsense = msgspec.structs.replace(good[attestation.PROVENANCE], content=b"{}")
    reference = pushed(signed, [*good.values(), nonsense])
    found = verify(reference, key=keys / "ours.pub")
    assert found.holds, broken(found)
    assert any(c.name == "also attached" and "bundle" in c.said for c in found.checks)


def test_another_bill_of_materials_is_found(signed: Made, keys: Path) -> None:
    good = attached(signed)
    bill = json.loads(good[attestation.BOM_DOCUMENT].content)
    bill["components"] = []
    other = msgspec.structs.replace(
        good[attestation.BOM_DOCUMENT], content=json.dumps(bill).encode()
    )
    kept = [a for kind, a in good.items() if kind != attestation.BOM_DOCUMENT]
    reference = pushed(signed, [*kept, other])
    assert "bill of materials: it is not the one" in broken(
        verify(reference, key=keys / "ours.pub")
    )


def test_a_changed_tree_and_a_damaged_store_are_found(signed: Made, keys: Path) -> None:
    key = keys / "ours.pub"
    data = signed.folder / "data.csv"
    before = data.read_bytes()
    data.write_bytes(b"a,b\n")
    try:  # the commit has it still
        found = verify(signed.reference, key=key)
        assert found.holds, broken(found)
        assert any("at commit" in check.said for check in found.checks)
    finally:
        data.write_bytes(before)
    path = signed.store.blobs.path(str(signed.image.lock))
    lock = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(lock + b"# more\n")
    try:
        assert "lock in store" in broken(verify(signed.reference, key=key))
    finally:
        path.write_bytes(lock)


def test_on_a_machine_without_the_project_the_image_alone_is_checked(
    signed: Made, keys: Path, tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    with patch.context() as elsewhere:
        elsewhere.chdir(tmp_path)
        found = verify(signed.reference, key=keys / "ours.pub")
    assert found.holds, broken(found)
    told = checks(found)
    assert told["signature"] is told["record"] is True
    assert told["record in store"] is None


def test_the_build_command_signs_and_says_so(
    signed: Made, base_image: str, keys: Path, patch: pytest.MonkeyPatch
) -> None:
    arguments = ["build", "train.ipynb", "--builder", "oci", "--base", base_image, "--push",
                 "-R", signed.image.repository, "--build-id", "1", "--audit=off",
                 "--sign", str(keys / "ours.key")]  # fmt: skip
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert f"signed by {signed.image.signed}" in done.stdout
    patch.setenv(signature.PASSWORD, "wrong")
    done = CliRunner().invoke(main, arguments)
    patch.setenv(signature.PASSWORD, PASSWORD)
    assert done.exit_code == 2
    assert "is wrong" in done.stderr
