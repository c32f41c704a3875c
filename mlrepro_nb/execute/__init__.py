"""A notebook run top to bottom in a fresh kernel, in a scratch copy of its project.

Nothing here judges: a notebook that raises, hangs or kills its kernel is a
returned `CellError`. Only a request that cannot be carried out (no such kernel,
no such parameter, no notebook) is an exception.
"""

from mlrepro_nb.execute._kernelspec import (
    NATIVE,
    MissingKernel,
    interpreter,
    kernel_name,
    missing_kernel,
)
from mlrepro_nb.execute._managed import run_managed
from mlrepro_nb.execute._messages import shallow
from mlrepro_nb.execute._nursery import Nursery
from mlrepro_nb.execute._parameters import check_parameters, portable
from mlrepro_nb.execute._read import cell_ids, read_notebook
from mlrepro_nb.execute._run import CellError, Confinement, Execution, run
from mlrepro_nb.execute._workspace import Workspace, workspace
from mlrepro_nb.execute.limits import Limits

__all__ = [
    "NATIVE",
    "CellError",
    "Confinement",
    "Execution",
    "Limits",
    "MissingKernel",
    "Nursery",
    "Workspace",
    "cell_ids",
    "check_parameters",
    "interpreter",
    "kernel_name",
    "missing_kernel",
    "portable",
    "read_notebook",
    "run",
    "run_managed",
    "shallow",
    "workspace",
]
