"""What is installed, where it is from, who asked for it, and whether it is what was installed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlrepro_nb.capture import assemble
from mlrepro_nb.capture.environment import survey as program
from mlrepro_nb.capture.environment._assemble import imports
from mlrepro_nb.capture.environment.distributions import distributions
from mlrepro_nb.capture.environment.importers import ImportLog
from mlrepro_nb.capture.environment.survey import guarded
from mlrepro_nb.capture.environment.surveyor import Surveyor
from mlrepro_nb.capture.told import sort
from mlrepro_nb.model import Distribution, Environment, System
from tests.capture.installs import direct, install
from tests.conftest import git

BASE = Environment(
    python="3.11.7", implementation="CPython", kernelspec="python3",
    system=System(name="debian", version="12", kernel="6", machine="x86_64"),
)  # fmt: skip

FILES = SimpleNamespace(sources={}, imports=set())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "env" / "lib" / "site-packages"
    folder.mkdir(parents=True)
    return folder


def survey(*path: Path, prefix: Path | None = None) -> dict[str, dict[str, Any]]:
    found = Surveyor(
        {"path": [str(p) for p in path], "prefix": str(prefix or path[0].parents[1])}
    ).answer()
    assert found is not None
    return {entry["name"]: entry for entry in found["distributions"]}


def check(site: Path, *names: str, cache: Path | None = None) -> Any:
    found = survey(site)
    wanted = [[name, found[name]["location"]] for name in names]
    return Surveyor(
        {"check": wanted, "prefix": str(site.parents[1]), "cache": cache and str(cache)}
    ).answer()


def wait(live: Any, kind: str, count: int = 1) -> None:
    """Wait until a kernel's threads have told something: a person's session is long enough."""
    for _ in range(600):
        (session,) = live.store().sessions()
        if [k for k, _ in live.store().events(session.id)].count(kind) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {kind}")


def used(site: Path, **imports: Any) -> dict[str, Distribution]:
    made = distributions(
        list(survey(site).values()), imports, base=BASE, put_blob=lambda data: "sha256:00"
    )
    return {d.name: d for d in made}


# --- origins


def test_each_origin_is_told(site: Path, tmp_path: Path) -> None:
    source = tmp_path / "own"
    source.mkdir()
    install(site, "from-index")
    install(site, "in-place", extra=direct(f"file://{source}", dir_info={"editable": True}))
    install(site, "folder", extra=direct(f"file://{source}", dir_info={}))
    install(site, "commit", extra=direct("https://u:pw@host/r.git", vcs_info={
        "vcs": "git", "commit_id": "ab" * 20}))  # fmt: skip
    install(site, "file", extra=direct("file:///tmp/file-1.0-py3-none-any.whl", archive_info={}))
    found = survey(site)
    assert {n: e["origin"] for n, e in found.items()} == {
        "from-index": "index", "in-place": "editable", "folder": "local", "commit": "git",
        "file": "wheel",
    }  # fmt: skip
    assert used(site)["commit"].commit == "ab" * 20
    assert used(site)["commit"].source == "https://***@host/r.git"


def test_a_broken_direct_url_is_no_reason_to_lose_a_distribution(site: Path) -> None:
    for number, text in enumerate(("{", "[]", '{"url": 3}', '{"url": "x", "vcs_info": 3}')):
        install(site, f"odd{number}", extra={"direct_url.json": text})
    assert len(survey(site)) == 4


def test_old_eggs_and_develop_installs_are_found(site: Path, tmp_path: Path) -> None:
    egg = site / "old-2.1.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old\nVersion: 2.1\n")
    (egg / "top_level.txt").write_text("old\n_old\n")
    single = site / "plain-3.0.egg-info"
    single.write_text("Metadata-Version: 1.0\nName: plain\nVersion: 3.0\n")
    source = tmp_path / "work"
    (source / "mine.egg-info").mkdir(parents=True)
    (source / "setup.py").touch()
    (source / "mine.egg-info" / "PKG-INFO").write_text("Name: mine\nVersion: 0.1\n")
    found = survey(site, source)
    assert found["old"]["modules"] == ["_old", "old"]
    assert found["plain"]["version"] == "3.0"
    assert (found["mine"]["origin"], found["mine"]["folder"]) == ("editable", str(source))


def test_of_two_versions_the_one_that_an_import_finds_counts(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "x" / "site-packages"
    other.mkdir(parents=True)
    install(site, "twice", "2.0")
    install(other, "twice", "1.0")
    assert survey(other, site)["twice"]["version"] == "1.0"
    assert survey(site, other)["twice"]["version"] == "2.0"


def test_broken_metadata_is_named_and_what_pip_left_behind_is_not(site: Path) -> None:
    (site / "broken-1.0.dist-info").mkdir()
    (site / "~umpy-1.0.dist-info").mkdir()
    install(site, "whole")
    found = Surveyor({"path": [str(site)], "prefix": str(site)}).answer()
    assert found is not None
    assert found["broken"] == ["broken-1.0.dist-info"]
    assert [d["name"] for d in found["distributions"]] == ["whole"]


def test_a_survey_gives_way_to_a_kernel_that_computes_on_all_processors() -> None:
    """A session of its own has a niceness of its own, where Linux groups tasks by session."""
    said = subprocess.run(
        [sys.executable, "-c",
         "import os, sys; sys.path.append(sys.argv[1]); import survey; survey.give_way(7)\n"
         "print(os.nice(0)); print(open('/proc/self/autogroup').read())",
         str(Path(program.__file__).parent)],
        capture_output=True, text=True, start_new_session=True, check=False,
    )  # fmt: skip
    nice, *group = said.stdout.splitlines()
    assert int(nice) == min(19, os.nice(0) + 7)
    if group:  # a kernel that groups tasks so
        assert group[0].endswith("nice 7")


def test_the_operating_systems_own_are_told_apart(tmp_path: Path) -> None:
    system = tmp_path / "dist-packages"
    install(system, "apt-thing", installer="debian")
    assert survey(system)["apt-thing"]["origin"] == "system"


# --- what was edited


def test_a_hand_edited_file_is_found_also_where_its_size_is_the_same(
    site: Path, tmp_path: Path
) -> None:
    install(site, "pkg", files={"pkg/__init__.py": "x = 1\n", "pkg/same.py": "y = 2\n"})
    assert check(site, "pkg")["pkg"]["edited"] == []
    (site / "pkg" / "same.py").write_text("y = 3\n")
    (site / "pkg" / "__init__.py").write_text("x = 1  # longer\n")
    found = check(site, "pkg")["pkg"]
    assert sorted(path for path, _ in found["edited"]) == ["pkg/__init__.py", "pkg/same.py"]
    assert all(len(digest) == 64 for _, digest in found["edited"])


def test_what_was_checked_is_not_read_again_until_its_status_changes(
    site: Path, tmp_path: Path
) -> None:
    install(site, "pkg")
    cache = tmp_path / "cache" / "installed.json"
    assert check(site, "pkg", cache=cache)["pkg"]["edited"] == []
    kept = json.loads(cache.read_text())
    (location,) = kept
    kept[location]["edited"] = [["from the cache", "00"]]
    cache.write_text(json.dumps(kept))
    assert check(site, "pkg", cache=cache)["pkg"]["edited"] == [["from the cache", "00"]]
    file = site / "pkg" / "__init__.py"
    status = file.stat()
    file.write_text("x = 9\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # only ctime tells
    assert [p for p, _ in check(site, "pkg", cache=cache)["pkg"]["edited"]] == ["pkg/__init__.py"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 3}'])
def test_a_damaged_cache_is_no_cache(site: Path, tmp_path: Path, content: str) -> None:
    install(site, "pkg")
    cache = tmp_path / "installed.json"
    cache.write_text(content)
    assert check(site, "pkg", cache=cache)["pkg"]["edited"] == []


def test_a_licence_in_the_metadata_does_not_hide_what_is_required(site: Path) -> None:
    folder = install(site, "licensed", requires=("needed>=1",))
    install(site, "needed")
    text = (folder / "METADATA").read_text()
    licence = "License: BSD\n        \n        - Copyright\n        \n        All rights.\n"
    prose = "\n\nRequires-Dist: prose\n"
    for eol in ("\n", "\r\n"):
        whole = text.replace("Requires-Dist", f"{licence}Requires-Dist").rstrip("\n") + prose
        (folder / "METADATA").write_bytes(whole.replace("\n", eol).encode())
        assert survey(site)["licensed"]["requires"] == ["needed>=1"]


def test_every_distribution_here_requires_what_its_metadata_says() -> None:
    from importlib import metadata

    found = survey(*map(Path, filter(None, sys.path)), prefix=Path(sys.prefix))
    for name, entry in found.items():
        told = metadata.distribution(name)
        required = {r for r in told.requires or () if program._named(r) in found}
        assert set(entry["requires"]) == required, name


def test_odd_records_break_nothing(site: Path) -> None:
    for number, text in enumerate(("", "\0,\0\n", "a,sha256=***,x\n", 'x,"', "../../bin/x,,\n")):
        folder = install(site, f"odd{number}")
        (folder / "RECORD").write_text(text)
    install(site, "bare").joinpath("RECORD").unlink()
    found = check(site, *(f"odd{n}" for n in range(5)), "bare")
    assert all(entry["edited"] == [] for entry in found.values())


# --- who asked for it


def test_what_a_library_only_tries_is_not_imported_but_told_with_who_tried(site: Path) -> None:
    install(site, "frames", requires=("numbers-dist>=1", "arrows; extra == 'fast'", "missing"))
    install(site, "numbers-dist", files={"numbers_/__init__.py": ""})
    install(site, "arrows")
    install(site, "unused")
    found = used(
        site, modules=["arrows", "frames", "numbers_"], direct=["frames"],
        by={"arrows": ["frames"], "frames": ["__main__"], "numbers_": ["frames"]},
        tried={"arrows": ["frames"]},
    )  # fmt: skip
    assert {n for n, d in found.items() if d.imported} == {"frames", "numbers-dist"}
    assert found["arrows"].loaded_by == ("frames",)
    assert found["unused"].modules == ()
    # What an image of it needs is told by the record alone, to whoever builds it.
    assert found["frames"].requires == ("arrows; extra == 'fast'", "numbers-dist>=1")
    assert found["unused"].requires == ()


def test_what_a_library_cannot_go_on_without_is_as_good_as_required(site: Path) -> None:
    install(site, "tracker")
    install(site, "database")
    install(site, "grids")
    found = used(
        site, modules=["database", "grids", "tracker"], direct=["tracker"],
        by={"database": ["tracker"], "grids": ["tracker"]}, tried={"grids": ["tracker"]},
    )  # fmt: skip
    assert found["database"].imported
    assert found["grids"].loaded_by == ("tracker",)


def test_what_the_projects_own_code_or_nobody_known_imported_counts(site: Path) -> None:
    install(site, "a")
    install(site, "b")
    found = used(site, modules=["a", "b"], by={"a": ["helpers"]})
    assert found["a"].imported
    assert found["b"].imported


def test_an_import_is_guarded_only_where_the_program_would_go_on(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(
        "try:\n    import a\nexcept ImportError:\n    a = None\n"  # 2
        "try:\n    import b\nexcept ImportError as e:\n    raise SystemExit from e\n"  # 6
        "import c\n"  # 9
        "with suppress(ModuleNotFoundError):\n    import d\n"  # 11
        "try:\n    import e\nexcept KeyError:\n    pass\n"  # 13
        "try:\n    pass\nexcept Exception:\n    import f\n"  # 19
    )
    lines = (2, 6, 9, 11, 13, 19)
    stacks = [[[str(file), line]] for line in lines]
    stacks += [[[str(file), 9], [str(file), 2]], [[str(tmp_path / "gone.py"), 1]]]
    told = Surveyor({"stacks": stacks}).answer()
    assert told == {"guarded": [True, False, False, True, False, False, True, False]}


def test_a_kernel_tells_what_its_cells_use_from_what_libraries_try(
    kernel: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    site = tmp_path / "more" / "lib" / "site-packages"
    install(site, "frames", files={
        "frames/__init__.py": "import numerics\ntry:\n    import arrows\nexcept ImportError:\n"
        "    pass\n"
    }, requires=("numerics",))  # fmt: skip
    install(site, "numerics", files={"numerics.py": "pi = 3\n"})
    install(site, "arrows", files={"arrows.py": "y = 1\n"})
    install(site, "lonely")
    (repository / "helpers.py").write_text("import lonely\n")
    (site / "numerics.py").write_text("pi = 4\n")
    live = kernel(PYTHONPATH=str(site), XDG_CACHE_HOME=str(tmp_path / "cache"))
    live.run("%load_ext mlrepro_nb")
    live.run("import frames, helpers, sys")
    wait(live, "edits")
    live.run("%unload_ext mlrepro_nb")
    assert "mlrepro" not in live.run("print([type(f).__module__ for f in sys.meta_path])")["text"]
    live.close()
    record = live.record()
    found = {d.name: d for d in record.environment.distributions}
    used = {name for name, d in found.items() if d.imported}
    assert used == {"frames", "numerics", "lonely"}
    assert found["arrows"].loaded_by == ("frames",)
    assert [file.path for file in found["numerics"].edited or ()] == ["numerics.py"]
    assert "ipykernel" in found
    assert record.lineage.gaps == ()


def test_an_install_in_place_has_its_commit_and_what_differs(
    kernel: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    git(source, "init", "-q")
    (source / "inplace.py").write_text("x = 1\n")
    git(source, "add", ".")
    git(source, "commit", "-qm", "One")
    (source / "inplace.py").write_text("x = 2\napi_key = 'hunter2secret'\n")
    site = tmp_path / "more" / "site-packages"
    install(site, "inplace", files={"inplace.pth": f"{source}\n"},
            extra=direct(f"file://{source}", dir_info={"editable": True}))  # fmt: skip
    live = kernel(PYTHONPATH=f"{site}{os.pathsep}{source}")
    live.run("%load_ext mlrepro_nb")
    live.run("import inplace")
    wait(live, "checkouts")
    live.close()
    (found,) = (d for d in live.record().environment.distributions if d.name == "inplace")
    assert found.imported
    assert found.origin == "editable"
    assert found.commit == git(source, "rev-parse", "HEAD")
    assert found.diff is not None
    diff = live.store().blobs.get(found.diff).decode()
    assert "+x = 2" in diff
    assert "hunter2secret" not in diff


def test_what_a_cell_installs_is_in_the_record(
    kernel: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    site = tmp_path / "more" / "site-packages"
    install(site, "first")
    live = kernel(PYTHONPATH=str(site))
    live.run("%load_ext mlrepro_nb")
    wait(live, "distributions")
    install(site, "second")
    live.run("import second")
    wait(live, "distributions", 2)  # not only when it is shut down
    live.close()
    found = {d.name: d for d in live.record().environment.distributions}
    assert found["second"].imported
    assert not found["first"].imported


def test_which_packages_were_loaded_is_recorded(
    kernel: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    site = tmp_path / "more" / "site-packages"
    files = ("library/__init__.py", "library/part/__init__.py", "library/part/a.py",
             "library/open/deep/b.py", "library/unused/__init__.py")  # fmt: skip
    install(site, "library", files=dict.fromkeys(files, ""))
    live = kernel(PYTHONPATH=str(site))
    live.run("%load_ext mlrepro_nb")
    live.run("import library.part.a")
    live.run("import library.open.deep.b")
    live.close()
    assert live.record().environment.packages == (
        "library", "library.open", "library.open.deep", "library.part"
    )  # fmt: skip


def test_what_a_kernel_had_no_time_to_tell_is_found_when_the_record_is_made(
    kernel: Callable[..., Any], repository: Path, tmp_path: Path
) -> None:
    site = tmp_path / "more" / "site-packages"
    install(site, "brief", files={"brief.py": "x = 1\n"})
    (site / "brief.py").write_text("x = 2\n")
    live = kernel(PYTHONPATH=str(site))
    live.run("%load_ext mlrepro_nb")
    live.run("import brief")
    live.close()
    (session,) = live.store().sessions()
    events = [
        (kind, {**data, "mode": "headless"} if kind == "start" else data)
        for kind, data in live.store().events(session.id)
        if kind not in ("distributions", "edits")
    ]
    record = assemble(
        events, notebook="x.ipynb", root=repository, mode="headless",
        put_blob=live.store().blobs.put,
    )  # fmt: skip
    found = {d.name: d for d in record.environment.distributions}
    assert len(found) > 10
    assert found["brief"].imported
    assert [file.path for file in found["brief"].edited or ()] == ["brief.py"]
    assert sys.prefix not in json.dumps([d.source for d in found.values()])


def test_what_was_only_tried_is_known_while_files_are_still_being_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlrepro_nb.capture.environment import watch as module

    checked = threading.Event()

    class Slow:
        def __init__(self, request: dict[str, Any]) -> None:
            self.request = request

        def answer(self, timeout: float | None = None) -> dict[str, Any]:
            if "check" in self.request:
                checked.wait(60)
                return {}
            return {"guarded": [True for _ in self.request["stacks"]]}

    monkeypatch.setattr(module, "Surveyor", Slow)
    events: list[tuple[str, Any]] = []
    recording = SimpleNamespace(
        shell=None, current=lambda: 0, gap=events.append, emit=lambda *event: events.append(event)
    )
    watch = module.EnvironmentWatch(recording, FILES, fresh=True)
    watch._surveyed = [{"name": "frames", "location": "x", "modules": ["json"], "folder": None}]
    watch._reported = {"modules": ["json"]}
    watch._check()
    assert watch._checking is not None
    assert watch._checking.is_alive()
    watch._used.stacks = {("json", "frames"): [["frames.py", 1]]}
    watch._ask_whether_tried(timeout=1)
    assert watch._used.tried == {("json", "frames")}
    checked.set()
    watch._checking.join()


@pytest.mark.parametrize(("mode", "at_once"), [("interactive", 0), ("headless", 1)])
def test_what_was_only_tried_is_asked_once_no_cell_runs_where_a_person_works(
    mode: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrepro_nb.capture.environment import watch as module

    quiet, asked = threading.Event(), list[dict[str, Any]]()

    class Asked:
        def __init__(self, request: dict[str, Any]) -> None:
            asked.append(request)

        def answer(self, timeout: float | None = None) -> dict[str, Any]:
            return {"guarded": [True for _ in asked[-1]["stacks"]]}

    monkeypatch.setattr(module, "Surveyor", Asked)
    monkeypatch.setattr("mlrepro_nb.capture.orphan.wait_for_quiet", lambda *_: quiet.wait(60))
    recording = SimpleNamespace(
        shell=None, mode=mode, current=lambda: 0, gap=pytest.fail, emit=lambda *event: None
    )
    watch = module.EnvironmentWatch(recording, FILES, fresh=True)
    monkeypatch.setattr(watch._used, "names", lambda: ["frames", "json"])
    watch._used.stacks = {("json", "frames"): [["frames.py", 1]]}
    watch._work([None])
    watch._used.stacks["frames", "json"] = [["json.py", 1]]
    watch._work([None])
    assert len(asked) == at_once * 2
    quiet.set()
    if watch._checking is not None:
        watch._checking.join()
    assert watch._used.tried == {("json", "frames"), ("frames", "json")}
    assert len(asked) == (2 if at_once else 1), "together"


def test_who_only_asks_whether_a_module_is_there_does_not_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asked_for").mkdir()
    (tmp_path / "asked_for" / "__init__.py").touch()
    (tmp_path / "asked_for" / "part.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    log = ImportLog()
    log.start()
    try:
        assert importlib.util.find_spec("asked_for") is not None
        assert log.entries == []
        assert importlib.util.find_spec("asked_for.part") is not None, "which imports its package"
        assert [(e.module, e.importer) for e in log.entries] == [("asked_for", __name__)]
        importlib.import_module("asked_for.part")
    finally:
        log.stop()
        for name in ("asked_for", "asked_for.part"):
            sys.modules.pop(name, None)
    assert [e.module for e in log.entries] == ["asked_for", "asked_for.part"]


def test_what_a_walk_over_all_packages_imports_is_only_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "walker" / "optional").mkdir(parents=True)
    (tmp_path / "rare_thing.py").touch()
    (tmp_path / "walker" / "optional" / "__init__.py").write_text("import rare_thing\n")
    (tmp_path / "walker" / "__init__.py").write_text(
        "import pkgutil\n\n\ndef found():\n"
        "    return [m.name for m in pkgutil.walk_packages(__path__, 'walker.')]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    log = ImportLog()
    log.start()
    try:
        walker = importlib.import_module("walker")
        assert walker.found() == ["walker.optional"]
    finally:
        log.stop()
        for name in ("walker", "walker.optional", "rare_thing"):
            sys.modules.pop(name, None)
    (rare,) = (entry for entry in log.entries if entry.module == "rare_thing")
    assert rare.importer == "walker"
    # pytest's own calls, further out, are made in a try as well.
    calls = [list(call) for call in rare.stack]
    files = [Path(file).name for file, _ in calls]
    inner = calls[: files.index("pkgutil.py") + 1]
    assert guarded([inner[:-1]]) == [False], "of themselves they need it"
    assert guarded([inner]) == [True]


def test_what_a_library_imports_because_another_walks_by_the_other_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "walked" / "optional").mkdir(parents=True)
    (tmp_path / "walked" / "__init__.py").touch()
    (tmp_path / "walked" / "optional" / "__init__.py").write_text("import rare_thing\n")
    (tmp_path / "rare_thing.py").write_text("import rarer_thing\n")
    (tmp_path / "rarer_thing.py").touch()
    (tmp_path / "walker.py").write_text(
        "import pkgutil, walked\n"
        "found = [m.name for m in pkgutil.walk_packages(walked.__path__, 'walked.')]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    log = ImportLog()
    log.start()
    try:
        importlib.import_module("walker")
    finally:
        log.stop()
        for name in ("walker", "walked", "walked.optional", "rare_thing", "rarer_thing"):
            sys.modules.pop(name, None)
    importers = {entry.module: entry.importer for entry in log.entries}
    assert importers["walked"] == "walker"
    assert importers["rare_thing"] == "walker", "walked itself goes on without"
    assert importers["rarer_thing"] == "rare_thing"


def test_what_a_kernel_had_no_time_to_ask_is_asked_by_who_makes_the_record(tmp_path: Path) -> None:
    library = tmp_path / "library.py"
    library.write_text("try:\n    import rare\nexcept ImportError:\n    pass\nimport needed\n")
    unasked = [
        ("rare", "library", [(str(library), 2)]), ("needed", "library", [(str(library), 5)]),
    ]  # fmt: skip
    told = sort([("imports", {"modules": ["library", "rare", "needed"], "unasked": unasked})])
    assert imports(told, {"executable": sys.executable})["tried"] == {"rare": ["library"]}


def test_what_is_installed_is_asked_again_once_something_came_or_left(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrepro_nb.capture.environment import surveyor

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked: list[dict[str, Any]] = []

    class Counted(Surveyor):
        def __init__(self, request: dict[str, Any], executable: str | None = None) -> None:
            asked.append(request)
            super().__init__(request, executable)

    monkeypatch.setattr(surveyor, "Surveyor", Counted)

    def names(*more: Path) -> list[str]:
        found = surveyor.installed([str(site), *map(str, more)], str(site.parents[1]))
        assert found is not None
        return [entry["name"] for entry in found["distributions"]]

    def settle() -> None:
        os.utime(site, ns=(0, site.stat().st_mtime_ns - 10**10))

    install(site, "one")
    assert names() == ["one"]
    assert names() == ["one"]
    assert len(asked) == 2  # it changed just now: a second change could look the same
    settle()
    assert [names(), names(), names()] == [["one"]] * 3
    assert len(asked) == 3
    install(site, "two")
    settle()
    assert names() == ["one", "two"]
    shutil.rmtree(site / "one-1.0.dist-info")
    settle()
    assert names() == ["two"]
    assert len(asked) == 5
    # A checkout's metadata change in place.
    install(tmp_path / "checkout", "three")
    assert [names(tmp_path / "checkout") for _ in range(2)] == [["three", "two"]] * 2
    assert len(asked) == 7
    for kept in (tmp_path / "cache" / "mlrepro" / "installed").iterdir():
        kept.write_text("[")
    assert names() == ["two"]
