"""Secrets of the machine that builds: in nothing that leaves it."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import git as git_door
from mlrepro_nb.model import Record
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.image.conftest import put

pytestmark = pytest.mark.engine

Recorded = tuple[Path, Store, Record]
KINDS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


def fetch(host: str, path: str) -> bytes:
    request = urllib.request.Request(f"http://{host}/v2/{path}", headers={"Accept": KINDS})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def everything(host: str, repository: str, base: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield what a repository holds, unpacked: manifests, configurations, files of layers.

    Referrers (SBOM, provenance, signatures) have tags, too, in this registry.
    """
    tags = json.loads(fetch(host, f"{repository}/tags/list"))["tags"]
    waiting, seen = list(tags), set(base)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        content = fetch(host, f"{repository}/manifests/{name}")
        yield f"manifest {name}", content
        found = json.loads(content)
        waiting += [entry["digest"] for entry in found.get("manifests", ())]
        for blob in (*found.get("layers", ()), *([found["config"]] if "config" in found else ())):
            if blob["digest"] in seen:
                continue
            seen.add(blob["digest"])
            raw = fetch(host, f"{repository}/blobs/{blob['digest']}")
            plain = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
            yield f"blob {blob['digest']}", plain
            if "tar" in blob["mediaType"]:
                with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
                    for member in archive:
                        yield f"path {member.name} {member.pax_headers}", member.name.encode()


@pytest.mark.parametrize("builder", ["buildkit", "docker", "oci"])
def test_a_secret_of_the_machine_is_in_nothing_that_is_pushed_or_said(
    small: Recorded, base_image: str, registry: str, buildkit: str, builder: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder, store, record = small
    secret = f"s3cret{uuid.uuid4().hex}"
    # In the notebook's folder, some of it in folders that are looked through
    (folder / ".env").write_text(f"TOKEN={secret}\n")
    (folder / ".netrc").write_text(f"machine example.com login me password {secret}\n")
    (folder / "helpers" / "id_rsa").write_text(f"-----BEGIN KEY-----\n{secret}\n")
    (folder / "helpers" / "credentials.json").write_text(json.dumps({"key": secret}))
    # where the repository was cloned from
    git(folder, "remote", "add", "origin", f"https://user:{secret}@example.com/team/project.git")
    # in the environment, and what tools take from there into a build
    for name in ("API_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "BUILD_ARG_TOKEN"):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{secret}@127.0.0.1:9")
    monkeypatch.setenv("http_proxy", f"http://user:{secret}@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("BUILDX_GIT_LABELS", "full")
    # for the package index, and in what is trusted
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        f"[global]\nextra-index-url = http://user:{secret}@127.0.0.1:9/simple\nretries = 0\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    bundle = tmp_path / "ca.pem"
    ours = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    bundle.write_text(f"# {secret}\n{ours.read_text()}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if builder == "buildkit":
        monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    remote = git_door.state(folder, "train.ipynb").remote
    code = msgspec.structs.replace(record.code, remote=remote)
    put(folder, store, environment=record.environment, code=code)

    name = f"test/{uuid.uuid4().hex[:12]}"
    said: list[str] = []
    _, made = image.build(
        "train.ipynb", builder="oci" if builder == "oci" else "docker", base=base_image,
        repository=f"{registry}/{name}", push=True, allow_dirty=True, ca_bundle=bundle,
        report=lambda step: said.append(step.message),
    )  # fmt: skip
    assert secret not in "".join(said)
    printed = capfd.readouterr()
    assert secret not in printed.out + printed.err
    looked = 0
    for what, content in everything(registry, name, set()):
        looked += 1
        assert secret.encode() not in content, what
        assert secret not in what
    assert looked > 1000  # the base image's files, too: every layer was unpacked
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    kept += [p for p in store.root.rglob("*") if p.is_file()]
    for path in kept:
        assert secret.encode() not in path.read_bytes(), path
    assert made.digest
