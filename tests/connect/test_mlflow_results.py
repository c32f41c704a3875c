"""A job's results as a run of MLflow's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlrepro_nb.connect.mlflow_results import log_results
from mlrepro_nb.errors import ToolError

RECORD = f"sha256:{'a' * 64}"


def test_results_are_artifacts_of_a_run_that_names_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        files = {"executed.ipynb": b"{}", "verification.json": b"{}"}
        run = log_results(files, record=RECORD, name="train (job)", ok=False)
        client = mlflow.MlflowClient()
        found = client.get_run(run)
        assert found.info.status == "FINISHED"
        assert found.data.tags["mlrepro.record"] == RECORD
        assert found.data.tags["mlrepro.job"] == "not reproduced"
        names = {a.path for a in client.list_artifacts(run, "mlrepro")}
        assert names == {"mlrepro/executed.ipynb", "mlrepro/verification.json"}
    finally:
        mlflow.set_tracking_uri(before)


def test_a_server_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://user:secret@127.0.0.1:9")
    try:
        with pytest.raises(ToolError, match="did not take the results") as caught:
            log_results({}, record=RECORD, name="x", ok=True)
        assert "secret" not in str(caught.value)
    finally:
        mlflow.set_tracking_uri(before)
