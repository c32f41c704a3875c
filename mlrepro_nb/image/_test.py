"""An image is run before it gets a name: one that fails is neither tagged nor pushed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from mlrepro_nb.connect import docker
from mlrepro_nb.errors import GateError, MlreproError, ToolError
from mlrepro_nb.image._configuration import VENV
from mlrepro_nb.image._places import RESULTS
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders import Built
from mlrepro_nb.image.data import Here, Item, at_hand, few
from mlrepro_nb.model import Report, Step, short
from mlrepro_nb.store import Store

_SELFTEST = (f"{VENV}/bin/python", "-m", "mlrepro_nb.image.service.selftest")
_TESTED = {"MLREPRO_DRAIN": "5", "MLREPRO_FAIL_AFTER": "60"}
"""Time for the test to see what a service does when it ends."""
_LAST_LINES = 20
_ENDING = 60
_MOST_NAMED = 5


def data_for(planned: Plan, root: Path, store: Store, report: Report) -> Here:
    """Return the data that a job's container is given in its test, as the image lacks it.

    Raises
    ------
    MlreproError
        Something is not here, or not as the run read it: without a network it cannot be had.
    """
    if planned.kind != "job":
        return Here()
    if planned.items:
        report(Step(message="looking for the data that the test needs"))
    here = at_hand(planned.items, root, store)
    wrong = [
        f"{few([item.path for item in items])} {'is' if len(items) == 1 else 'are'} {how}"
        for items, how in ((here.gone, "not here"), (here.changed, "not as the run read it"))
        if items
    ]
    if wrong:
        told = ", and ".join(wrong)
        one = len(here.gone) + len(here.changed) == 1
        raise MlreproError(
            f"The job cannot be tested: of the data that is not in the image, {told}.",
            f"{_how_to_restore((*here.gone, *here.changed))}, or record again, or build with "
            f"--no-test: then nobody has seen that a job which gets {'it' if one else 'them'} "
            "reproduces.",
        )
    return here


def _how_to_restore(items: tuple[Item, ...]) -> str:
    pulled = [shlex.quote(item.path) for item in items if item.md5 or item.folder]
    if not pulled:
        return "Restore it" if len(items) == 1 else "Restore them"
    if len(pulled) > _MOST_NAMED:
        return "dvc pull"
    return f"dvc pull {' '.join(pulled)}"


def tested(
    planned: Plan, built: Built, *, asked: bool, data: Here, report: Report
) -> tuple[str, ...]:  # fmt: skip
    """Run an image without a network and return the names of the tests that it passed.

    Parameters
    ----------
    asked
        Whether the user asked for it: else an engine that is missing is only told.
    data
        What a job is given: the volume of its container is gone with it.

    Raises
    ------
    GateError
        It fails.
    ToolError
        There is no engine that runs it.
    MlreproError
        The job cannot be run.
    """
    if not asked:
        try:
            docker.engine()
        except ToolError as error:
            message = f"The image was not tested: {error.message}"
            report(Step(message=message, log=True))
            return ()
    if planned.kind == "job":
        return _job(built, data, report)
    if planned.kind == "service":
        return _service(built, report)
    report(Step(message=f"There is no test of a {planned.kind} image.", log=True))
    return ()


def _job(built: Built, data: Here, report: Report) -> tuple[str, ...]:
    count = len(data.files)
    given = f", with {'1 file' if count == 1 else f'{count} files'} of data" if count else ""
    report(Step(message=f"running the job without a network{given}"))
    # There, whatever else it is set to: that is of where it will run.
    ended = built.run(("--results", RESULTS), report, data.places)
    mount = ' --volume "$PWD":/data:ro' if count else ""
    again = f"docker run --rm --network none{mount} {short(built.id)}"
    if ended.status == MlreproError.exit_code:
        raise MlreproError(
            "The image's job could not be run, so it was neither tagged nor pushed.",
            f"What it printed says why. Run it: {again}",
        )
    if not ended.ok:
        raise GateError(
            f"The image's job does not reproduce the record (it ended with {ended.status}), so it "
            "was neither tagged nor pushed.",
            f"Run it: {again}",
        )
    return ("reproduces",)


def _service(built: Built, report: Report) -> tuple[str, ...]:
    image = built.local(report)
    report(Step(message="running the service without a network"))
    with docker.container(image, variables=_TESTED) as running:
        ended = running.run(_SELFTEST)
        told = _told(ended.stdout)
        wrong = told.get("failed")
        if wrong is None and not ended.ok:
            wrong = "it ended before it could be asked"
        if wrong is None:
            status = running.ended(_ENDING)
            if status != 0:
                wrong = (
                    "it does not end on SIGTERM"
                    if status is None
                    else (f"it ended with {status} on SIGTERM")
                )
        if wrong is not None:
            for line in running.logs().splitlines()[-_LAST_LINES:]:
                report(Step(message=line, log=True))
            raise GateError(
                f"The image's service fails its test: {wrong}. It was neither tagged nor pushed.",
                f"Run it: docker run --rm --network none {short(built.id)}; --no-test skips this.",
            )
    passed = tuple(str(name) for name in told.get("passed", ()))
    report(Step(message=f"the service passed: {', '.join(passed)}", log=True))
    return passed


def _told(output: str) -> dict[str, Any]:
    try:
        found = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}
