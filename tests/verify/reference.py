"""Making the reference run of a fault, in one warm kernel for all of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import nbformat
import nbformat.v4 as v4
from corpus import Fault, write_files

from tests.kernels import sockets

_RESET = "import os; os.chdir({folder!r}); del os"
_SAVE = """\
import builtins, os, sys, numpy, pandas
_before = dict(os=dict(os.__dict__), b=dict(builtins.__dict__), pd=dict(pandas.__dict__),
               df=dict(pandas.DataFrame.__dict__), np=dict(numpy.__dict__), env=dict(os.environ))
_modules, _printed = set(sys.modules), numpy.get_printoptions()
def _restore():
    for name, module in (("os", os), ("b", builtins), ("pd", pandas), ("np", numpy)):
        for key in set(module.__dict__) - set(_before[name]):
            delattr(module, key)
        for key, value in _before[name].items():
            if module.__dict__.get(key) is not value:
                setattr(module, key, value)
    for key in set(pandas.DataFrame.__dict__) - set(_before["df"]):
        delattr(pandas.DataFrame, key)
    numpy.set_printoptions(**_printed)
    pandas.reset_option("display")
    os.environ.clear(); os.environ.update(_before["env"])
    for name, module in list(sys.modules.items()):
        planted = getattr(module, "__spec__", None) is None and name not in ("__main__", "_planted")
        if planted and name not in _modules or name == "helpers":
            del sys.modules[name]
"""


class ReferenceKernel:
    """A kernel that lives as long as the tests and runs references one after the other."""

    def __init__(self) -> None:
        from nbclient import NotebookClient

        self.client = NotebookClient(v4.new_notebook(), allow_errors=True, kernel_name="python3")
        self.client.create_kernel_manager()
        self._kept = contextlib.ExitStack()
        for option, value in self._kept.enter_context(sockets()).items():
            setattr(self.client.km, option, value)
        self.client.start_new_kernel()
        self.client.start_new_kernel_client()
        # In a module of its own: `%reset` empties the user's namespace.
        self._do(
            "import sys; _m = sys.modules['_planted'] = type(sys)('_planted')\n"
            f"exec({_SAVE!r}, _m.__dict__)"
        )

    def close(self) -> None:
        self.client._cleanup_kernel()
        self._kept.close()

    def _do(self, source: str) -> list:
        cell = v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        return cell.outputs

    def run(self, fault: Fault, folder: Path) -> dict:
        """Return the notebook of a fault with the outputs of its reference run."""
        nb = v4.new_notebook(cells=[v4.new_code_cell(source) for source in fault.cells])
        nb.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
        problem = self._do("import sys; sys.modules['_planted']._restore()")
        assert not problem, problem
        self._do("%reset -f")
        problem = [
            o for o in self._do(_RESET.format(folder=str(folder))) if o.output_type == "error"
        ]
        assert not problem, problem
        if fault.prelude:
            assert not [o for o in self._do(fault.prelude) if o.output_type == "error"]
        ran = fault.ran or list(enumerate(fault.cells))
        for count, (index, source) in enumerate(ran, 1):
            outputs = self._do(source)
            if index is None:
                continue
            for output in outputs:
                if "execution_count" in output:
                    output["execution_count"] = count
            nb.cells[index].outputs = outputs
            nb.cells[index].execution_count = count
            now = time.strftime("%Y-%m-%dT%H:%M:%S.999999Z", time.gmtime())
            nb.cells[index].metadata["execution"] = {"iopub.execute_input": now}
        if not fault.counts:
            for cell in nb.cells:
                cell.execution_count = None
        return nb


def plant(fault: Fault, folder: Path, kernel: ReferenceKernel) -> Path:
    """Make the project of a fault as it is when somebody verifies it."""
    write_files(folder, fault.files)
    path = folder / "analysis.ipynb"
    if fault.recorded:
        from mlrepro_nb.record import record

        subprocess.run(["git", "init", "-q", str(folder)], check=True)
        nb = v4.new_notebook(cells=[v4.new_code_cell(s) for s in fault.cells])
        for index, source in fault.before.items():
            nb.cells[index].source = source
        nbformat.write(nb, path)
        record(path, inplace=True)
        nb = nbformat.read(path, as_version=4)
        for index, source in enumerate(fault.cells):
            nb.cells[index].source = source
    else:
        nb = kernel.run(fault, folder)
    data = json.loads(nbformat.writes(nb))
    for cell in data["cells"]:
        for output in cell.get("outputs", ()):
            if isinstance(output.get("text"), list):
                output["text"] = "".join(output["text"])
            for mime, value in (output.get("data") or {}).items():
                if isinstance(value, list):
                    output["data"][mime] = "".join(value)
    if fault.edit is not None:
        fault.edit(data)
    # What became of the project since lies in the past, too: a file with a time to come looks as
    # if the rerun had written it.
    ran, changed = time.time() - 60, time.time() - 30
    for cell in data["cells"] if fault.after and not fault.recorded else ():
        if "execution" in cell["metadata"]:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.999999Z", time.gmtime(ran))
            cell["metadata"]["execution"]["iopub.execute_input"] = stamp
    path.write_text(json.dumps(data))
    write_files(folder, fault.after)
    if fault.after:
        for name in {path.name, *fault.files} - set(fault.after):
            os.utime(folder / name, (ran, ran))
    for name, text in fault.after.items():
        if text is not None:
            os.utime(folder / name, (changed, changed))
    return path
