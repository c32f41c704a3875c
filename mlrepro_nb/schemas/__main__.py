"""Write the schemas anew: ``python -m mlrepro_nb.schemas``."""

from pathlib import Path

from mlrepro_nb.model import DOCUMENTS
from mlrepro_nb.schemas import file_name, render

for kind in DOCUMENTS:
    Path(__file__).with_name(file_name(kind)).write_bytes(render(kind))
