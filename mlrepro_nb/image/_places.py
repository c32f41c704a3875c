"""Where things are in an image. What runs in one imports this, and none of what plans it."""

from __future__ import annotations

VENV = "/opt/venv"
"""Where the distributions of the lock are."""
LAB = "/opt/lab"
"""JupyterLab's own environment, of a notebook image."""
LAB_PORT = 8888
RESULTS = "/results"
WORK = "/work"
"""Where a reviewer's copy of the project is."""
