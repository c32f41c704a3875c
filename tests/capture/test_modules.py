"""The project's own modules: with what content did which cell run?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from mlrepro_nb.model import LocalModule
from tests.capture.installs import install


def digest(text: str) -> str:
    return f"blake3:{blake3(text.encode()).hexdigest()}"


def modules(kernel: Any) -> dict[str, LocalModule]:
    kernel.close()
    return {module.name: module for module in kernel.record().code.modules}


@pytest.fixture
def live(kernel: Callable[..., Any], repository: Path) -> Any:
    one = kernel(PYTHONDONTWRITEBYTECODE="1")
    (repository / "own.py").write_text("x = 1\n")
    one.run("%load_ext mlrepro_nb")
    return one


def test_a_reload_starts_another_version(live: Any, repository: Path) -> None:
    live.run("import own")
    (repository / "own.py").write_text("x = 22\n")
    live.run("1")
    live.run("import importlib; importlib.reload(own); assert own.x == 22")
    found = modules(live)["own"]
    assert found.digest == digest("x = 22\n")
    assert [(v.digest, v.execution) for v in found.versions] == [
        (digest("x = 1\n"), 1), (digest("x = 22\n"), 3),
    ]  # fmt: skip


def test_a_module_found_by_way_of_a_parent_folder_is_one_module(
    live: Any, repository: Path
) -> None:
    (repository / "notebooks").mkdir()
    (repository / "shared_mod.py").write_text("x = 1\n")
    live.run("import os, sys; os.chdir('notebooks'); sys.path.append('..')")
    live.run("import shared_mod")
    live.run("print(open(shared_mod.__file__).read())")
    live.close()
    assert [m.path for m in live.record().code.modules] == ["shared_mod.py"]


def test_an_edit_that_was_never_loaded_is_not_what_ran(live: Any, repository: Path) -> None:
    live.run("import own")
    (repository / "own.py").write_text("x = 333\n")
    live.run("assert own.x == 1")
    found = modules(live)["own"]
    assert found.digest == digest("x = 1\n")
    assert found.versions == ()


def test_autoreload_is_a_reload(live: Any, repository: Path) -> None:
    live.run("%load_ext autoreload\n%autoreload 2")
    live.run("import own")
    (repository / "own.py").write_text("x = 4444\n")
    assert not live.run("assert own.x == 4444, own.x")["errors"]
    live.run("1")
    found = modules(live)["own"]
    assert [(v.digest, v.execution) for v in found.versions] == [
        (digest("x = 1\n"), 2), (digest("x = 4444\n"), 3),
    ]  # fmt: skip


def test_a_module_taken_out_and_imported_again_is_another_version(
    live: Any, repository: Path
) -> None:
    live.run("import own")
    (repository / "own.py").write_text("x = 55555\n")
    live.run("import sys; del sys.modules['own']; import own")
    assert len(modules(live)["own"].versions) == 2


def test_a_script_that_is_run_again_after_an_edit_is_another_version(
    live: Any, repository: Path
) -> None:
    script = repository / "prepare.py"
    script.write_text("y = 1\n")
    live.run("%run prepare.py")
    script.write_text("y = 2\n")
    live.run("1")
    live.run("%run prepare.py")
    found = modules(live)["prepare"]
    assert [(v.digest, v.execution) for v in found.versions] == [
        (digest("y = 1\n"), 1), (digest("y = 2\n"), 3),
    ]  # fmt: skip


def test_a_module_of_a_package_has_its_own_entry_and_a_broken_one_too(
    live: Any, repository: Path
) -> None:
    package = repository / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("from pkg import part\n")
    (package / "part.py").write_text("z = 1\n")
    (repository / "broken.py").write_text("raise ValueError\n")
    live.run("import pkg")
    live.run("import broken")
    found = modules(live)
    assert {"pkg", "pkg.part"} <= set(found)
    assert found["pkg.part"].path == "pkg/part.py"


def test_a_module_from_elsewhere_is_told_and_its_source_kept(live: Any, repository: Path) -> None:
    elsewhere = repository.parent / "lib"
    (elsewhere / "tools").mkdir(parents=True)
    (elsewhere / "helper.py").write_text("y = 2\n")
    (elsewhere / "tools" / "__init__.py").write_text("from .deep import z\n")
    (elsewhere / "tools" / "deep.py").write_text("z = 3\n")
    live.run(f"import sys; sys.path.insert(0, {str(elsewhere)!r})")
    live.run("import helper, tools, own")
    found = modules(live)
    assert {name: module.path for name, module in found.items()} == {
        "helper": f"{elsewhere}/helper.py", "tools": f"{elsewhere}/tools/__init__.py",
        "tools.deep": f"{elsewhere}/tools/deep.py", "own": "own.py",
    }  # fmt: skip
    assert found["helper"].digest == digest("y = 2\n")
    assert live.store().blobs.get(found["helper"].kept) == b"y = 2\n"
    assert found["own"].kept is None  # git and the diff tell


def test_a_distribution_in_a_folder_of_any_name_is_no_module_from_elsewhere(
    live: Any, repository: Path
) -> None:
    target = repository.parent / "target"
    install(target, "ratio", files={"ratio.py": "value = 2\n"})
    live.run(f"import sys; sys.path.insert(0, {str(target)!r})")
    live.run("import ratio, own")
    assert set(modules(live)) == {"own"}


def test_our_own_sources_are_no_modules_of_the_project(live: Any) -> None:
    live.run("import own")
    assert set(modules(live)) == {"own"}
