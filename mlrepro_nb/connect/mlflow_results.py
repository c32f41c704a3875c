"""The results of a job, as a run of MLflow's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlrepro_nb.connect.command import redact
from mlrepro_nb.connect.mlflow import RECORD_TAG
from mlrepro_nb.errors import ToolError

FOLDER = "mlrepro"
_EXPERIMENT = "mlrepro"


def log_results(files: Mapping[str, bytes], *, record: str, name: str, ok: bool) -> str:
    """Log a job's files to a run of their own and return its id.

    Server and credentials are those of MLflow's variables; the experiment is
    that of MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME, else ``mlrepro``. The run
    is finished only once all of it is there.

    Raises
    ------
    ToolError
        MLflow is out of reach or refuses.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        run = client.create_run(
            _experiment(client), run_name=name,
            tags={RECORD_TAG: record, "mlrepro.job": "reproduced" if ok else "not reproduced"},
        )  # fmt: skip
        run_id = str(run.info.run_id)
        status = "FAILED"
        try:
            with tempfile.TemporaryDirectory(prefix="mlrepro-results-") as folder:
                for file, content in files.items():
                    path = Path(folder) / file
                    path.write_bytes(content)
                    client.log_artifact(run_id, str(path), FOLDER)
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit):
            status = "KILLED"
            raise
        finally:
            client.set_terminated(run_id, status)
    except (MlflowException, OSError) as error:
        raise ToolError(
            f"MLflow did not take the results: {redact(str(error)).splitlines()[0][:300]}",
            "Check MLFLOW_TRACKING_URI and its credentials.",
            tool="mlflow",
        ) from error
    return run_id


def _experiment(client: object) -> str:
    said = os.environ.get("MLFLOW_EXPERIMENT_ID")
    if said:
        return said
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
    found = client.get_experiment_by_name(name)  # type: ignore[attr-defined]
    return str(found.experiment_id if found else client.create_experiment(name))  # type: ignore[attr-defined]
