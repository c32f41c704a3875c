r"""JupyterLab's own environment in a notebook image: which distributions, by hash.

It is apart from the recorded one, so that JupyterLab changes no version of what
the kernel imports. `lab.txt` is the lock for every Python and platform, made by::

    echo 'jupyterlab>=4.4,<5' | uv pip compile - --universal --python-version 3.10 \
        --generate-hashes --no-annotate --no-header --no-emit-index-url -o lab.txt
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from mlrepro_nb.capture.environment.closure import marker_environment
from mlrepro_nb.model import Environment


def lock(environment: Environment) -> str:
    """Return the lock's lines for a Python on Linux, without their markers.

    They fit every patch release of it: the base image may have another one than the record.
    """
    from packaging.requirements import Requirement

    first = ".".join([*environment.python.split(".")[:2], "0"])
    target = marker_environment(msgspec.structs.replace(environment, python=first))
    found = []
    for entry in _entries():
        line, *hashes = entry.split(" \\\n")
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate(target):
            found.append(" \\\n".join([line.partition(";")[0].strip(), *hashes]) + "\n")
    return "".join(found)


def _entries() -> list[str]:
    text = Path(__file__).with_name("lab.txt").read_text(encoding="utf-8")
    return re.findall(r"(?m)^[A-Za-z0-9](?:.*\\\n)*.*", text)
