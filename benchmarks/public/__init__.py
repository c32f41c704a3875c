"""Real public notebooks: verdict and cause beside what a person found, and what fixes help.

`notebooks.toml` names them by repository, commit and path, with the verdict and the causes as
somebody judged them who read the notebook and saw what its run does in the environment that
the list pins. Of their text nothing is kept here: it is taken from copies of the repositories
(``MLREPRO_PUBLIC_MIRRORS``, a folder with ``OWNER+NAME`` or ``OWNER/NAME``) or cloned.

    python -m benchmarks.run public [--only PATTERN] [--again] [--jobs 2] [--mirrors FOLDER]

What was measured of a notebook is kept, so that a run that was stopped goes on where it was;
``--again`` measures the chosen ones anew.
"""

from benchmarks.public._measure import measure

__all__ = ["measure"]
