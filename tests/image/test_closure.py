"""An image gets what the notebook used and what that needs, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

import msgspec

from mlrepro_nb.image._closure import closure, compile_only, recorded_edges
from mlrepro_nb.image._closure import loaded as find_loaded
from mlrepro_nb.model import Distribution
from tests.records import a_record

EDGES = {
    "app": ("lib>=1", "plot; extra == 'draw'", "winonly; sys_platform == 'win32'"),
    "lib": ("deep[fast]; python_version >= '3.9'", "old; python_version < '3'"),
    "deep": ("speed; extra == 'fast'", "not valid ! at all", "app"),
}


def walk(*roots: str, unknown: str = "") -> tuple[set[str], tuple[str, ...], tuple[str, ...]]:
    names = ("app", "lib", "deep", "speed", "plot", "winonly", "old", "unrelated")
    environment = msgspec.structs.replace(
        a_record().environment,
        distributions=tuple(Distribution(name=n, version="1") for n in names),
    )
    found = closure(
        roots, environment, lambda d: None if d.name == unknown else EDGES.get(d.name, ())
    )
    return {d.name for d in found.distributions}, found.unknown, found.absent


def test_requirements_are_followed_as_the_recorded_python_on_linux_reads_them() -> None:
    assert walk("app") == ({"app", "lib", "deep", "speed"}, (), ())


def test_an_extra_asked_for_later_still_brings_its_requirements() -> None:
    assert walk("deep", "app[draw]")[0] == {"app", "lib", "deep", "speed", "plot"}


def test_names_are_normalised() -> None:
    assert walk("APP")[0] == {"app", "lib", "deep", "speed"}


def test_what_nobody_here_knows_is_told() -> None:
    assert walk("app", unknown="lib") == ({"app", "lib"}, ("lib",), ())


def test_a_root_that_the_environment_lacks_is_told() -> None:
    assert walk("app", "missing")[2] == ("missing",)


def test_another_version_installed_here_tells_nothing() -> None:
    assert recorded_edges(Distribution(name="msgspec", version="0.0.1")) is None
    assert recorded_edges(Distribution(name="no-such-thing", version="1")) is None


def test_what_the_record_has_is_the_same_on_any_machine() -> None:
    recorded = Distribution(name="msgspec", version="0.0.1", requires=("lib>=1",))
    assert recorded_edges(recorded) == ("lib>=1",)
    none = Distribution(name="msgspec", version=metadata.version("msgspec"), requires=())
    assert recorded_edges(none) == ()


def loaded(**loaders: tuple[str, ...]) -> list[str]:
    names = {"frames", "arrows", "mlflow", "grids", "checker", "deeper"}
    environment = msgspec.structs.replace(
        a_record().environment,
        distributions=tuple(
            Distribution(
                name=n, version="1", imported=n not in loaders, loaded_by=loaders.get(n, ())
            )
            for n in sorted(names)
        ),
    )
    lines = {"frames": ("checker; extra == 'tests'", "arrows; extra == 'fast'")}
    return find_loaded(environment, lambda d: lines.get(d.name, ()))


def test_a_part_that_a_library_finds_and_may_compute_with_is_kept() -> None:
    assert loaded(arrows=("frames",)) == ["arrows"]
    assert loaded(arrows=("frames", "mlflow"), deeper=("arrows",)) == ["arrows", "deeper"]


def test_what_only_a_tracker_looked_for_is_left_out_with_all_that_it_loaded() -> None:
    assert loaded(grids=("mlflow",), deeper=("grids",)) == []


def test_what_a_library_names_only_for_its_own_tests_is_left_out() -> None:
    assert loaded(checker=("frames",)) == []


# --- what comes compiled


def only(kind: str, *asked: str, parts: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Return what is compiled of some distributions, of which the run imported one."""
    used = Distribution(name="used", version="1", imported=True, modules=("used",))
    found = Distribution(name="found", version="1", modules=("found",), loaded_by=("used",))
    names = ("unused", "fetcher", "uvicorn", "ipykernel", "jedi", "packaging", "mlrepro-nb")
    others = [Distribution(name=name, version="1") for name in names]
    environment = msgspec.structs.replace(
        a_record().environment, distributions=(used, found, *others), packages=parts
    )
    return compile_only(kind, environment.distributions, asked, environment)


def left(kind: str, *asked: str) -> set[str]:
    """Return what stays source of them."""
    return {name for name, packages in only(kind, *asked).items() if not packages}


def test_what_the_run_did_not_import_stays_source_unless_the_image_imports_it() -> None:
    assert left("job") == {"unused", "fetcher", "uvicorn", "jedi"}
    assert left("notebook") == {"unused", "fetcher", "uvicorn"}
    assert left("service") == {"unused", "fetcher", "ipykernel", "jedi", "mlrepro-nb"}


def test_what_the_project_asks_for_is_compiled() -> None:
    assert left("job", "Fetcher") == {"unused", "uvicorn", "jedi"}


def test_of_what_the_run_imported_in_part_that_part_is_compiled() -> None:
    assert "used" not in only("job"), "nobody looked which"
    parts = ("found.a", "used", "used.part", "usedx")
    assert only("job", parts=parts)["used"] == ("used", "used.part")
    assert "used" not in only("job", "used", parts=("used",)), "a program may import all of it"


def test_what_a_service_imports_besides_its_model_is_compiled() -> None:
    script = (
        "import sys, mlflow.pyfunc, pandas; before = {m.partition('.')[0] for m in sys.modules}\n"
        "import mlrepro_nb.image.service.readiness, mlrepro_nb.image.service.server\n"
        "print(*{m.partition('.')[0] for m in sys.modules} - before)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    owners = metadata.packages_distributions()
    names = {name for top in ended.stdout.split() for name in owners.get(top, ())}
    assert "uvicorn" in names
    found = tuple(
        Distribution(name=re.sub(r"[-_.]+", "-", name).lower(), version="1") for name in names
    )
    assert set(compile_only("service", found, (), a_record().environment)) <= {"mlrepro-nb"}
