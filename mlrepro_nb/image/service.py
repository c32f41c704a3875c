"""What runs in a service image: MLflow's own scoring server on the model that is in the image.

``/ping /health /version /invocations`` on PORT (8080), as ``mlflow models
serve`` answers them. SIGTERM lets the requests under way finish.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from mlrepro_nb.connect.mlflow import digest_of_files

MODEL = Path("/app/model")
FACTS = Path("/app/record/model.json")
_GRACE = 20
"""Seconds for requests under way; Kubernetes kills after 30."""


def main() -> None:
    """Load the model and serve it until SIGTERM."""
    if not (MODEL / "MLmodel").is_file():
        sys.exit(f"mlrepro: there is no model at {MODEL}; build the image again.")
    facts = json.loads(FACTS.read_bytes())
    found = digest_of_files(MODEL)
    if facts["digest"] and found != facts["digest"]:
        sys.exit(f"mlrepro: the model at {MODEL} is {found}, not {facts['digest']} as recorded.")
    import mlflow
    import uvicorn
    from mlflow.pyfunc import scoring_server

    print(f"mlrepro: serving {facts['name']} of record {facts['record']}", flush=True)  # noqa: T201
    model = mlflow.pyfunc.load_model(str(MODEL))
    uvicorn.run(
        scoring_server.init(model),
        host=os.environ.get("HOST", "0.0.0.0"),
        port=int(os.environ.get("PORT", "8080")),
        timeout_graceful_shutdown=_GRACE,
    )


if __name__ == "__main__":
    main()
