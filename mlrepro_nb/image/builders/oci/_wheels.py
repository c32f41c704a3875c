"""Which wheels a lock means on a base image, and those wheels in the cache."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.connect import oci, pip
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.image import _lock
from mlrepro_nb.image._closure import normal
from mlrepro_nb.image._local import Wheel
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders.oci._base import Facts, wheel_platforms
from mlrepro_nb.model import Report, Step

_FORMAT = 1


def wheels(
    lock: str, plan: Plan, facts: Facts, cache: oci.Cache, ca_bundle: Path | None, report: Report
) -> tuple[Wheel, ...]:
    """Return the wheel of every pin of a lock; those that the cache lacks are downloaded.

    Which of a version's wheels is the right one is told by the lock, the Python
    and the base image alone, never by what happens to be in the cache.

    Raises
    ------
    ToolError
        The index cannot be reached, or serves another file than was locked.
    NeedsEngineError
        It has no wheel for the base image.
    """
    options, pins = _lock.parse(lock)
    platforms = wheel_platforms(facts, plan.machine)
    found: dict[str, Wheel] = {}
    missing: list[_lock.Pin] = []
    for pin in pins:
        wheel = _noted(cache.note(_about(pin, plan, platforms)), cache)
        if wheel is None or wheel.digest.removeprefix("sha256:") not in pin.hashes:
            missing.append(pin)
        else:
            found[pin.name] = wheel
    if missing:
        report(Step(message=f"downloading {len(missing)} wheels"))
        with tempfile.TemporaryDirectory(dir=cache.scratch(), prefix="wheels-") as target:
            got = pip.download(
                "\n".join([*options, *(pin.text for pin in missing)]) + "\n", Path(target),
                python=_release(plan), platforms=platforms, ca_bundle=ca_bundle,
                report=report,
            )  # fmt: skip
            for pin, wheel in _match(missing, got, cache):
                cache.write_note(_about(pin, plan, platforms), wheel)
                found[pin.name] = wheel
    return tuple(found[name] for name in sorted(found))


def _about(pin: _lock.Pin, plan: Plan, platforms: list[str]) -> Any:
    python = _release(plan)
    return {"wheel": _FORMAT, "pin": pin.text, "python": python, "platforms": platforms}


def _release(plan: Plan) -> str:
    """Return the version of the interpreter as pip takes it: numbers alone."""
    return ".".join(re.findall(r"\d+", plan.python)[:3])


def _noted(note: Any, cache: oci.Cache) -> Wheel | None:
    try:
        wheel = msgspec.convert(note, Wheel)
    except msgspec.ValidationError:
        return None
    return wheel if cache.has(wheel.digest, wheel.size) else None


def _match(
    pins: list[_lock.Pin], paths: tuple[Path, ...], cache: oci.Cache
) -> Iterator[tuple[_lock.Pin, Wheel]]:
    """Yield each pin with its wheel, which is put into the cache."""
    by_name = {normal(path.name.partition("-")[0]): path for path in paths}
    for pin in pins:
        path = by_name.get(pin.name)
        if path is None:
            raise MlreproError(
                f"pip downloaded no wheel of {pin.name}.", "Build again; if it stays so, report it."
            )
        digest = oci.digest_of(path)
        if digest.removeprefix("sha256:") not in pin.hashes:
            raise MlreproError(
                f"{path.name} is not the file that the lock pinned.",
                "Do not ignore this: what served it is not to be trusted.",
            )
        size = path.stat().st_size
        cache.take(path)
        yield pin, Wheel(distribution=pin.name, filename=path.name, digest=digest, size=size)
