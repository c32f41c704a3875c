"""Serve the model of this image: ``python -m mlrepro_nb.image.service``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.image.service.settings import settings
from mlrepro_nb.image.service.telemetry import configure_logging, say

APP = Path("/app")


def main(folder: Path = APP) -> int:
    """Serve the model in a folder until SIGTERM and return the exit code."""
    configure_logging()
    from mlrepro_nb.image.service.readiness import Service
    from mlrepro_nb.image.service.server import serve

    try:
        service = Service(folder, settings())
    except MlreproError as error:
        say(str(error), level="error")
        return error.exit_code
    except OSError as error:
        say(f"{error.filename} is missing; build the image again", level="error")
        return 3
    return serve(service)


if __name__ == "__main__":
    code = main(Path(os.environ.get("MLREPRO_APP", APP)))
    sys.stdout.flush()
    # A prediction that was cut off still has its thread, which nobody waits for.
    os._exit(code)
