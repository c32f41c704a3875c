"""What a service image starts with."""

from __future__ import annotations

import subprocess
import sys


def test_a_service_needs_only_what_its_image_has() -> None:
    # The image has the served model's distributions, MLflow, msgspec and rfc8785: what the
    # rest of this package imports may not be there.
    script = (
        "import sys, mlrepro_nb.image.service\n"
        "print(*sorted({'blake3', 'requests', 'deflate', 'installer', 'psutil', 'IPython', 'yaml',"
        " 'packaging', 'nbformat'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.strip()) == (0, ""), ended.stderr
