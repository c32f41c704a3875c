"""What is done at imports: noted, surrounded and followed up by one finder."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from mlrepro_nb.capture import imports
from mlrepro_nb.capture.data import audit
from mlrepro_nb.capture.imports import ImportHook


class Around:
    """Tells what an outermost import brought in, and when."""

    def __init__(self, said: list[str]) -> None:
        self.said, self.inside = said, False

    @contextlib.contextmanager
    def _entered(self, name: str) -> Iterator[None]:
        self.inside = True
        self.said.append(f"{name} begins")
        try:
            yield
        finally:
            self.inside = False
            self.said.append(f"{name} ends")

    def around(self, name: str, spec: ModuleSpec) -> Any:
        return self._entered(name)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "__init__.py").write_text("from outer import inner\n")
    (tmp_path / "outer" / "inner.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    finders = list(sys.meta_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("outer", "broken")]:
        del sys.modules[name]
    assert sys.meta_path == finders, "all were let go of"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def watched(library: Path, said: list[str]) -> Iterator[None]:
    around = Around(said)
    note = said.append
    hook = ImportHook({"outer.inner": lambda module: said.append(f"{module.__name__} is there")})
    imports.attach(note=note)
    imports.attach(surrounding=around)
    hook.start()
    yield
    hook.stop()
    imports.detach(surrounding=around)
    imports.detach(note=note)


def test_one_finder_notes_surrounds_and_follows_up(watched: None, said: list[str]) -> None:
    before = len(sys.meta_path)
    importlib.import_module("outer")
    assert said == [
        "outer", "outer begins", "outer.inner", "outer.inner is there", "outer ends",
    ]  # fmt: skip
    assert len(sys.meta_path) == before
    assert [type(f).__module__ for f in sys.meta_path].count("mlrepro_nb.capture.imports") == 1
    for name in ("outer", "outer.inner"):
        spec = sys.modules[name].__spec__
        assert spec is not None
        assert "exec_module" not in vars(spec.loader), "given back as it was"


def test_a_finder_that_asks_all_finders_is_not_asked_for_ever(
    watched: None, said: list[str]
) -> None:
    class Asking:
        asked: ClassVar[list[str]] = []

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name not in self.asked and name.startswith("outer"):
                self.asked.append(name)
                assert importlib.util.find_spec(name) is not None

    asking = Asking()
    sys.meta_path.insert(1, asking)
    try:
        importlib.import_module("outer")
    finally:
        sys.meta_path.remove(asking)
    assert "outer.inner is there" in said
    assert said.count("outer begins") == 1
    assert asking.asked == ["outer", "outer.inner"]


def test_an_import_that_fails_fails_as_it_would(
    watched: None, said: list[str], library: Path
) -> None:
    (library / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("broken")
    assert said == ["broken", "broken begins", "broken ends"]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("outer.nowhere")


def test_what_follows_a_module_up_does_not_break_its_import(library: Path) -> None:
    def fails(module: ModuleType) -> None:
        raise RuntimeError

    hook = ImportHook({"outer": fails})
    hook.start()
    try:
        assert importlib.import_module("outer").inner
    finally:
        hook.stop()


def test_who_leaves_late_does_not_take_another_with_it(library: Path, said: list[str]) -> None:
    first: list[str] = []
    imports.attach(note=first.append)
    imports.attach(note=said.append)
    imports.detach(note=first.append)
    importlib.import_module("outer")
    imports.detach(note=said.append)
    assert said == ["outer", "outer.inner"]
    assert first == []


def test_an_event_that_python_does_not_raise_so_breaks_nothing() -> None:
    class Watching:
        def note(self, *_: Any) -> None:
            pytest.fail("nothing was opened")

    watch: Any = Watching()
    audit.attach(watch)
    try:
        sys.audit("open")
        sys.audit("open", "x")
    finally:
        audit.detach(watch)


def test_what_surrounds_a_module_does_not_break_its_import(library: Path) -> None:
    class Fails(Around):
        def around(self, name: str, spec: ModuleSpec) -> Any:
            raise AttributeError

    fails = Fails([])
    imports.attach(surrounding=fails)
    try:
        assert importlib.import_module("outer").inner
    finally:
        imports.detach(surrounding=fails)
