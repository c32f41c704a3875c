"""Events about the software to a part of the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mlrepro_nb.capture.environment.describe import describe_os_packages
from mlrepro_nb.model import Environment, System

if TYPE_CHECKING:
    from mlrepro_nb.capture.told import Told


def assembled(told: Told) -> Environment:
    """Return what the code ran on, in software."""
    described = dict(told.environment)
    described.pop("imported", None)
    libraries = described.pop("libraries", [])
    if not described:
        return Environment(
            python=str(told.start.get("python", "")),
            implementation=str(told.start.get("implementation", "")),
            kernelspec=str(told.start.get("kernelspec", "")),
            system=System(name="", version="", kernel="", machine=""),
        )
    return msgspec.convert({**described, "libraries": describe_os_packages(libraries)}, Environment)
