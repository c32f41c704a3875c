"""The lock reproduces the environment, with hashes; what cannot be in it is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb.capture.environment import archive, lock
from mlrepro_nb.capture.environment.surveyor import Surveyor
from mlrepro_nb.connect import uv
from mlrepro_nb.errors import ToolError
from mlrepro_nb.image._lock import parse
from mlrepro_nb.model import Distribution, Environment, Record, Step, digest_bytes
from mlrepro_nb.store import Store
from tests.capture.installs import install
from tests.package_index import Index
from tests.records import a_record


def having(*distributions: Distribution) -> Record:
    python = ".".join(map(str, sys.version_info[:3]))
    record = a_record()
    return msgspec.structs.replace(
        record,
        environment=msgspec.structs.replace(
            record.environment, python=python, distributions=distributions
        ),
    )


def pinned(name: str, version: str) -> Distribution:
    return Distribution(name=name, version=version)


def environment(folder: Path, requirements: Path) -> dict[str, str]:
    """Make an environment from a lock, as a stranger would; return what is in it."""
    uv_program = uv.program()
    install = (uv_program, "pip", "sync", "-q", "--require-hashes", "requirements.txt", "-p")
    subprocess.run([uv_program, "venv", "-q", "-p", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([*install, str(python)], cwd=requirements.parent, check=True)
    listed = subprocess.run(
        [uv_program, "pip", "list", "-q", "--format", "json", "-p", str(python)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return {entry["name"]: entry["version"] for entry in json.loads(listed)}


def test_the_lock_makes_the_environment_again(store: Store, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    own = install(
        site, "own-thing", "0.3", files={"own_thing/__init__.py": "answer = 42\n"},
        extra={"entry_points.txt": "[console_scripts]\nown = own_thing:main\n"},
    )  # fmt: skip
    made = archive.wheel(own)
    assert made is not None
    kept = store.blobs.put(made[1])
    record = having(
        pinned("click", "8.1.7"),
        pinned("six", "1.16.0"),
        Distribution(name="own-thing", version="0.3", origin="local", source="path", wheel=kept,
                     imported=True),
        Distribution(name="colorama", version="0.4.6", origin="conda"),
    )  # fmt: skip
    found = lock.locked(record, store)
    assert found.environment.lock is not None
    assert found.lineage.capture == "complete"
    requirements = lock.write(store, found.environment.lock, tmp_path / "lock")
    assert environment(tmp_path / "again", requirements) == {
        "click": "8.1.7", "six": "1.16.0", "own-thing": "0.3",
    }  # fmt: skip
    said = subprocess.run(
        [tmp_path / "again" / "bin" / "python", "-c", "import own_thing; print(own_thing.answer)"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout == "42\n"
    assert (tmp_path / "again" / "bin" / "own").exists()


def test_a_second_record_of_the_same_environment_asks_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(pins: Any, **options: Any) -> str:
        asked.append(tuple(pins))
        return "locked\n"

    monkeypatch.setattr(uv, "lock", answer)
    record = having(pinned("click", "8.1.7"))
    first = lock.locked(record, store)
    assert lock.locked(record, store, offline=True).environment.lock == first.environment.lock
    assert len(asked) == 1
    lock.locked(having(pinned("click", "8.1.8")), store)
    assert len(asked) == 2
    assert (
        lock.locked(having(pinned("click", "8.1.9")), store, offline=True).environment.lock is None
    )


def test_without_uv_or_index_a_line_says_why(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise ToolError("The package index cannot be reached.", "Connect.", tool="uv")

    monkeypatch.setattr(uv, "lock", refuse)
    said: list[Step] = []
    record = having(pinned("click", "8.1.7"))
    assert lock.locked(record, store, report=said.append) == record
    assert [s.message for s in said if s.log] == [
        "The environment is not locked: The package index cannot be reached."
    ]


def test_what_no_index_has_is_named_and_the_rest_is_locked(store: Store) -> None:
    record = having(
        pinned("click", "8.1.7"), pinned("click-no-such-thing-xyz", "9"), pinned("six", "0.0.0"),
        Distribution(name="gone", version="1", origin="local", source="path", imported=True),
        Distribution(name="inplace", version="1", origin="editable", commit="ab" * 20),
        Distribution(name="apt", version="2", origin="system", source="python3-apt 2"),
    )  # fmt: skip
    found = lock.locked(record, store)
    assert found.environment.lock is not None
    text = store.blobs.get(found.environment.lock).decode()
    assert text.count("click==8.1.7") == 1
    assert "# inplace 1: installed in place from commit abababababab" in text
    assert "# apt 2: the operating system's package python3-apt 2" in text
    assert found.lineage.capture == "partial"
    gaps = " ".join(found.lineage.gaps)
    for name in ("click-no-such-thing-xyz==9", "six==0.0.0", "gone 1"):
        assert name in gaps
    assert "inplace" not in gaps
    again = lock.locked(record, store, offline=True)
    assert again == found


def test_what_the_index_turns_out_to_lack_is_archived(store: Store, tmp_path: Path) -> None:
    location = install(tmp_path / "site-packages", "mlrepro-test-no-such-thing", "9")
    record = having(pinned("click", "8.1.7"), pinned("mlrepro-test-no-such-thing", "9"))
    events = [("distributions", {"distributions": [
        {"name": "mlrepro-test-no-such-thing", "location": str(location)}]})]  # fmt: skip
    told: list[object] = []
    found = lock.locked(record, store, installed=lock.installed(events), report=told.append)
    assert found.environment.lock is not None, told
    assert found.lineage.capture == "complete"
    requirements = lock.write(store, found.environment.lock, tmp_path / "lock")
    wheel = requirements.parent / "mlrepro_test_no_such_thing-9-py3-none-any.whl"
    assert digest_bytes(wheel.read_bytes()) in requirements.read_text()
    assert lock.locked(record, store, offline=True) == found


# --- wheels made again


def test_a_wheel_made_again_is_the_same_bytes_and_has_what_is_installed(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3" / "site-packages"
    folder = install(site, "thing", files={
        "thing/__init__.py": "x = 1\n", "thing/data.txt": "ü\n",
        "../../../bin/tool": "#!/home/me/venv/bin/python3\nprint(1)\n",
        "../../../share/thing/a.cfg": "a\n", "thing/__pycache__/x.pyc": "",
    }, extra={"direct_url.json": "{}", "REQUESTED": ""})  # fmt: skip
    (site / "thing" / "__init__.py").write_text("x = 2\n")
    made = archive.wheel(folder)
    assert made is not None
    name, content = made
    assert archive.wheel(folder) == made
    assert name == archive.file_name(content) == "thing-1.0-py3-none-any.whl"
    assert digest_bytes(content).startswith("sha256:")
    import io
    import zipfile

    inside = zipfile.ZipFile(io.BytesIO(content))
    assert set(inside.namelist()) == {
        "thing/__init__.py", "thing/data.txt", "thing-1.0.data/scripts/tool",
        "thing-1.0.data/data/share/thing/a.cfg", "thing-1.0.dist-info/METADATA",
        "thing-1.0.dist-info/WHEEL", "thing-1.0.dist-info/RECORD",
    }  # fmt: skip
    assert inside.read("thing/__init__.py") == b"x = 2\n"
    assert inside.read("thing-1.0.data/scripts/tool").startswith(b"#!python\n")


def test_what_cannot_be_made_again_is_not_made(tmp_path: Path) -> None:
    folder = install(tmp_path, "thing")
    (tmp_path / "thing" / "__init__.py").unlink()
    assert archive.wheel(folder) is None
    (folder / "RECORD").unlink()
    assert archive.wheel(folder) is None
    assert archive.wheel(tmp_path / "nothing.egg-info") is None
    outside = install(tmp_path, "far", files={"far.py": ""})
    with (outside / "RECORD").open("a") as record:
        record.write("/etc/far.conf,,\n")
    assert archive.wheel(outside) is None


def test_an_environment_of_which_nothing_is_known_has_no_lock(store: Store) -> None:
    record = a_record()
    empty: Environment = msgspec.structs.replace(record.environment, distributions=())
    assert (
        lock.locked(msgspec.structs.replace(record, environment=empty), store).environment == empty
    )


def test_the_survey_sees_what_the_lock_needs(tmp_path: Path) -> None:
    install(tmp_path, "thing", extra={"WHEEL": "Tag: py2-none-any\nTag: py3-none-any\n"})
    found = Surveyor({"path": [str(tmp_path)], "prefix": str(tmp_path)}).answer()
    assert found is not None
    assert found["distributions"][0]["tags"] == ["py2-none-any", "py3-none-any"]


@pytest.fixture
def bare(index: Index, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index whose pages give no hashes, as PEP 503 lets them, and nothing that uv remembers."""
    index.as_json = index.gives_hashes = False
    index.add("privpkg", "2.0", {"privpkg.py": "two = 2\n"})
    index.add("privpkg", "1.0", {"privpkg.py": ""})
    monkeypatch.setenv("UV_NO_CACHE", "1")
    return index


def test_what_an_index_gives_no_hash_of_is_hashed_itself(bare: Index, store: Store) -> None:
    bare.add_source("onlysource", "1.0", {"onlysource.py": ""})
    bare.add("privpkg", "2.0", {}, tag="cp27-cp27m-win32")  # which nobody here would install
    record = having(pinned("privpkg", "2.0"), pinned("onlysource", "1.0"))
    found = lock.locked(record, store)
    assert found.environment.lock is not None
    text = store.blobs.get(found.environment.lock).decode()
    hashes = {
        name: digest_bytes(bare.files[name])
        for name in ("privpkg-2.0-py3-none-any.whl", "onlysource-1.0.tar.gz")
    }
    assert set(re.findall(r"sha256:[0-9a-f]{64}", text)) == set(hashes.values())
    assert [p.version for p in parse(text)[1]] == ["1.0", "2.0"]
    assert "# privpkg 2.0: its index gives no hash" in text


def test_a_lock_without_a_hash_is_never_kept(
    bare: Index, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = having(pinned("privpkg", "2.0"))
    pins = ["privpkg==2.0"]
    # As it was kept formerly.
    lock._keep(store, pins, record.environment, "privpkg==2.0\n")
    assert lock.cached(store, pins, record.environment) is None
    del bare.files["privpkg-2.0-py3-none-any.whl"]
    with pytest.raises(ToolError, match=r"gives no hash of privpkg 2\.0") as raised:
        lock.resolve(store, pins, record.environment)
    assert bare.url in raised.value.message
    assert lock.cached(store, pins, record.environment) is None
