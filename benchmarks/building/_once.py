"""One build by us in a process of its own, as `mlrepro build` does it; when each part was done.

It differs from the command in where it keeps what it made.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

MARKS: dict[str, float] = {}


class Marking:
    """A builder, or its image, that says when it was asked and when it had done."""

    def __init__(self, inner: Any, **names: str) -> None:
        self._inner, self._names = inner, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        def timed(*arguments: Any, **options: Any) -> Any:
            MARKS[f"until {name}"] = time.time()
            made = found(*arguments, **options)
            MARKS[self._names[name]] = time.time()
            return Marking(made, name="named", push="pushed") if name == "build" else made

        return timed


def main(asked: dict[str, Any]) -> None:
    """Build as asked and print the marks and what the image is called."""
    from mlrepro_nb.connect import oci
    from mlrepro_nb.image import _build
    from mlrepro_nb.image.builders.docker import DockerBuilder
    from mlrepro_nb.image.builders.oci import OciBuilder

    cache, downloads = oci.Cache(Path(asked["cache"])), oci.Cache(Path(asked["downloads"]))
    MARKS["imported"] = time.time()

    builder = OciBuilder if asked["builder"] == "oci" else DockerBuilder
    _build.choose = lambda *_: Marking(builder(cache, downloads), build="built")
    _, image = _build.build(
        "train.ipynb", kind=asked["kind"], base=asked["base"], repository=asked["repository"],
        version=asked["version"], push=True, test=False,
    )  # fmt: skip
    MARKS["all"] = time.time()
    print(json.dumps({"marks": MARKS, "reference": f"{asked['repository']}@{image.digest}"}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
