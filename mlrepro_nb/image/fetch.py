"""``mlrepro-fetch``: gets the data that an image lacks, and checks it.

Runs as an init step before a job or a notebook's container, or by itself when one
starts. Looks into MLREPRO_DATA (``/data``) first and puts there what it fetches:
from DVC's remote (MLREPRO_DVC_REMOTE overrides the recorded one), or from a URL.
Every file is checked against the record's digest. Ends with 0, or with 3 where a
file cannot be had or is another one.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mlrepro_nb.connect.download import Login
from mlrepro_nb.errors import MlreproError, UsageError
from mlrepro_nb.image.data import FOLDER, Item, fetch, read_items
from mlrepro_nb.model import Step

APP = Path("/app")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch what the image in which this runs lacks; return the exit code."""
    options = _options(arguments)
    before = signal.signal(signal.SIGTERM, _end)
    try:
        items = read_items(APP / "record" / "data.json")
        get(items, replace=options.replace, workers=options.jobs)
    except MlreproError as error:
        _say(str(error))
        return error.exit_code
    finally:
        signal.signal(signal.SIGTERM, before)
    _say(f"{len(items)} files are there, as the run read them.")
    return 0


def folder() -> Path:
    """Return where data is mounted, and is put."""
    return Path(os.environ.get("MLREPRO_DATA") or FOLDER)


def get(
    items: Sequence[Item], *, where: Path | None = None, replace: bool = False, workers: int = 4
) -> None:
    """Fetch items into a folder, as this container's environment says."""
    fetch(
        items,
        project=APP / "project",
        folder=where or folder(),
        remote=os.environ.get("MLREPRO_DVC_REMOTE") or None,
        login=_login(),
        replace=replace,
        workers=workers,
        report=_report,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mlrepro-fetch",
        description="Fetch the data that this image lacks, and check it against the record.",
    )
    parser.add_argument(
        "--replace", action="store_true", help="fetch anew what is there in another version"
    )
    parser.add_argument("-j", "--jobs", type=int, default=4, metavar="N", help="files at a time")
    return parser.parse_args(arguments)


def _login() -> Login | None:
    user, password, token = (_secret(f"MLREPRO_DVC_{n}") for n in ("USER", "PASSWORD", "TOKEN"))
    return Login(user=user, password=password, token=token) if user or token else None


def _secret(name: str) -> str | None:
    """Return a variable, or what is in the file that ``NAME_FILE`` names."""
    value = os.environ.get(name)
    path = os.environ.get(f"{name}_FILE")
    if value or not path:
        return value or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{name}_FILE names a file that cannot be read ({type(error).__name__}).",
            "Mount the Secret there.",
        ) from None


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _report(step: Step) -> None:
    if step.log:
        _say(step.message)


def _say(message: str) -> None:
    print(f"mlrepro: {message}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
