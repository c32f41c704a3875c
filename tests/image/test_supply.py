"""What travels beside an image: bill of materials and provenance, without any engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import signature
from mlrepro_nb.image import supply
from mlrepro_nb.image.supply import packages
from mlrepro_nb.image.supply.provenance import provenance
from mlrepro_nb.model import Distribution, Image, Record, SharedLibrary
from mlrepro_nb.store import Store
from tests.image.conftest import put

Recorded = tuple[Path, Store, Record]

BASE = f"registry.example/python@sha256:{'b' * 64}"
PINS = (
    "click==8.1.8",
    "six==1.17.0",
    "thing @ https://u:hunter22@files.example/thing-1.whl?sig=hunter22",
)
LOCK = (
    "--extra-index-url x\n"
    "click==8.1.8 \\\n"
    f"    --hash=sha256:{'1' * 64} \\\n"
    f"    --hash=sha256:{'2' * 64}\n"
    f"six==1.17.0 \\\n    --hash=sha256:{'3' * 64}\n"
)
DPKG = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: GNU C Library
 Package: of lines that only look like fields

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b8
"""
RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian"\n'


@pytest.fixture
def planned(recorded: Recorded) -> image.Plan:
    """A plan of few distributions."""
    return little()


def little(**options: Any) -> image.Plan:
    full = image.plan("train.ipynb", base=BASE, build_id="7", offline=True, **options)
    local = (
        Distribution(
            name="ours", version="1.0", origin="git", commit="c" * 40,
            source="https://oauth2:hunter22@git.example/ours.git",
        ),
        Distribution(name="here", version="0", origin="editable", source="/home/someone/here"),
    )  # fmt: skip
    return msgspec.structs.replace(full, local=local, pins=PINS, lock=LOCK, problems=())


def bill(plan: image.Plan, system: supply.System | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(supply.sbom(plan, system))
    return found


def components(plan: image.Plan, system: supply.System | None = None) -> dict[str, Any]:
    return {c["name"]: c for c in bill(plan, system)["components"]}


def built(**fields: Any) -> supply.Made:
    return supply.Made(
        **{
            "builder": "oci", "toolchain": "oci/3", "versions": {"uv": "0.9"},
            "started": "2026-11-23T10:00:00Z", "finished": "2026-11-23T10:01:00Z",
        } | fields
    )  # fmt: skip


def test_the_bill_is_cyclonedx_as_its_schema_has_it(planned: image.Plan) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    system = supply.system({"/var/lib/dpkg/status": DPKG, "/usr/lib/os-release": RELEASE})
    for found in (None, system):
        assert validator.validate_str(supply.sbom(planned, found).decode()) is None
    assert bill(planned)["specVersion"] == "1.6"


def test_every_distribution_is_in_it_with_version_hashes_and_where_it_comes_from(
    planned: image.Plan,
) -> None:
    found = components(planned)
    click = found["click"]
    assert click["purl"] == "pkg:pypi/click@8.1.8"
    assert [h["content"][0] for h in click["hashes"]] == ["1", "2"]
    assert {h["alg"] for h in click["hashes"]} == {"SHA-256"}
    assert found["six"]["version"] == "1.17.0"
    assert found["ours"]["purl"].startswith("pkg:pypi/ours@1.0?vcs_url=git%2Bhttps://git.example")
    assert found["here"]["purl"] == "pkg:pypi/here@0"
    assert found["registry.example/python"]["version"] == f"sha256:{'b' * 64}"
    assert found["registry.example/python"]["type"] == "container"
    assert found["data.csv"]["hashes"][0]["alg"] == "BLAKE3"
    main = bill(planned)["metadata"]["component"]
    assert main["name"] == "train.ipynb"
    told = {p["name"]: p["value"] for p in main["properties"]}
    assert told["mlrepro:record"] == planned.record
    assert told["mlrepro:commit"] == planned.commit


def test_licences_are_those_of_the_metadata(planned: image.Plan) -> None:
    def licence(distribution: Distribution) -> str | None:
        return {"click": "BSD-3-Clause", "six": "MIT AND (Apache-2.0 OR BSD-2-Clause)",
                "ours": "Some licence of our own"}.get(distribution.name)  # fmt: skip

    found = {c["name"]: c for c in json.loads(supply.sbom(planned, licence=licence))["components"]}
    assert found["click"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert found["six"]["licenses"] == [{"expression": "MIT AND (Apache-2.0 OR BSD-2-Clause)"}]
    assert found["ours"]["licenses"] == [{"license": {"name": "Some licence of our own"}}]
    assert "licenses" not in found["here"]


def test_the_installed_metadata_is_asked_for_the_very_version() -> None:
    from mlrepro_nb.image.supply.sbom import installed_licence

    click = msgspec.structs.replace(
        Distribution(name="click", version="0"),
        version=__import__("importlib.metadata").metadata.version("click"),
    )
    assert "BSD" in str(installed_licence(click))
    assert installed_licence(Distribution(name="click", version="0.0.1")) is None


def test_the_image_s_own_list_of_packages_is_believed(planned: image.Plan) -> None:
    system = supply.system({"/var/lib/dpkg/status": DPKG, "/usr/lib/os-release": RELEASE})
    found = components(planned, system)
    assert found["libc6"]["purl"] == (
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12"
    )
    assert "bash" in found
    assert "gone" not in found
    assert found["debian"]["type"] == "operating-system"


def test_what_the_base_image_s_own_python_has_is_in_it(planned: image.Plan) -> None:
    site = "/usr/local/lib/python3.11/site-packages"
    system = supply.system(
        {"/var/lib/dpkg/status": DPKG, f"{site}/Some_pip-23.2.1.dist-info/METADATA": "Name: x\n"}
    )
    assert packages.WANTED.fullmatch(f"{site}/Some_pip-23.2.1.dist-info/METADATA")
    assert not packages.WANTED.fullmatch(f"/opt/venv{site}/pip-23.2.1.dist-info/METADATA")
    assert components(planned, system)["some-pip"]["purl"] == "pkg:pypi/some-pip@23.2.1"


def test_without_one_those_are_listed_that_owned_a_library_of_the_run(
    recorded: Recorded,
) -> None:
    folder, store, record = recorded
    libraries = (SharedLibrary(name="libgomp.so.1", package="libgomp1", version="12.2.0-14"),)
    put(folder, store, environment=msgspec.structs.replace(record.environment, libraries=libraries))
    found = components(little())["libgomp1"]
    assert found["purl"] == "pkg:deb/debian/libgomp1@12.2.0-14"
    assert found["properties"][0]["value"] == "owned a library of the recorded run"


def test_alpine_and_distroless_have_lists_as_well() -> None:
    apk = "C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nP:busybox\nV:1.36\nA:x86_64\nR:x\n"
    release = {"/etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n# a comment\n"}
    found = packages.system({"/lib/apk/db/installed": apk, **release})
    assert found is not None
    assert (found.kind, found.version) == ("apk", "3.20.1")
    assert [p.name for p in found.packages] == ["busybox", "musl"]
    single = "Package: libc6\nVersion: 2.36\nArchitecture: amd64\n"
    found = packages.system({"/var/lib/dpkg/status.d/libc6": single})
    assert found is not None
    assert [p.name for p in found.packages] == ["libc6"]
    assert packages.system(release) is None


def test_the_same_plan_gives_the_same_bytes_anywhere(planned: image.Plan, tmp_path: Path) -> None:
    first = supply.sbom(planned)
    assert supply.sbom(planned) == first
    (tmp_path / "plan").write_bytes(msgspec.json.encode(planned))
    script = (
        "import msgspec, sys; from pathlib import Path\n"
        "from mlrepro_nb.image import Plan, supply\n"
        "plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)\n"
        "sys.stdout.buffer.write(supply.sbom(plan))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "plan")], cwd=tmp_path, check=True,
        capture_output=True, env={**os.environ, "PYTHONHASHSEED": "99", "TZ": "Asia/Kathmandu"},
    )  # fmt: skip
    assert ended.stdout == first
    other = msgspec.structs.replace(planned, version="9.9")
    assert json.loads(supply.sbom(other))["serialNumber"] != json.loads(first)["serialNumber"]
    assert json.loads(first)["metadata"]["timestamp"].startswith(planned.created[:19])


def test_provenance_names_what_went_in_by_digest(planned: image.Plan) -> None:
    made = provenance(planned, built())
    definition = made["buildDefinition"]
    inside = {d["name"]: d for d in definition["resolvedDependencies"]}
    assert inside["source"]["digest"] == {"gitCommit": planned.commit}
    assert inside["source"]["uri"] == f"git+https://example.com/team/project.git@{planned.commit}"
    assert inside["record"]["digest"] == {"sha256": planned.record[7:]}
    assert inside["base"]["digest"] == {"sha256": "b" * 64}
    assert inside["data:data.csv"]["digest"]["blake3"] == planned.data["data.csv"][7:]
    assert inside["mlflow-run"]["uri"] == f"runs:/{planned.run}"
    assert inside["lock"]["digest"]["sha256"]
    assert inside["notebook"]["digest"]["sha256"]
    assert definition["externalParameters"]["dirty"] is False
    assert made["runDetails"]["builder"]["version"] == {"uv": "0.9", "toolchain": "oci/3"}
    assert made["runDetails"]["metadata"]["invocationId"] == "7"


def test_a_secret_is_in_neither(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED_TOKEN", "zq81xyz-of-the-feed")
    folder, store, record = recorded
    code = msgspec.structs.replace(
        record.code, remote="https://u:hunter22@example.com/team/zq81xyz-of-the-feed.git"
    )
    put(folder, store, code=code)
    plan = little()
    system = supply.system({"/var/lib/dpkg/status": DPKG})
    documents = supply.Documents(plan, system, built(), None)
    said = b"".join(a.content for a in documents.about(f"sha256:{'a' * 64}"))
    assert b"hunter22" not in said
    assert b"zq81xyz" not in said
    assert b"someone" not in said  # paths of this machine


def test_a_dry_run_shows_the_bill(recorded: Recorded) -> None:
    texts = image.preview("train.ipynb", base=BASE, build_id="1")
    assert json.loads(texts["sbom.json"])["bomFormat"] == "CycloneDX"


def test_an_older_document_of_an_image_is_still_read(store: Store) -> None:
    fields = {f.name for f in msgspec.structs.fields(Image) if f.required}
    assert not {"sbom", "provenance", "referrers", "signed"} & fields


def test_who_signs_may_stand_in_the_project_s_settings(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(signature.PASSWORD, "pass word")
    signature.new_pair(repository / "keys" / "team", "pass word")
    text = '[tool.mlrepro]\nsign = "keys/team.key"\naudit = "warn"\n'
    (repository / "pyproject.toml").write_text(text)
    found = supply.Supply(repository)
    assert found.signer is not None
    assert found.signer.name.startswith("key ")
    assert found.mode == "warn"
    assert supply.Supply(repository, attest=False).signer is None
    other, _ = signature.new_pair(repository / "other", "pass word")
    chosen = supply.Supply(repository, sign=str(other), audit="off")
    assert chosen.signer is not None
    assert (chosen.signer.name != found.signer.name, chosen.mode) == (True, "off")
