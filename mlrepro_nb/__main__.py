"""``python -m mlrepro_nb`` is ``mlrepro``."""

from mlrepro_nb.faces.cli import main

main()
