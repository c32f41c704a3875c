"""The kernels that are measured side by side: a plain one, ours, FlowBook's, ipyflow's.

All run on one Python with one set of libraries, in an environment of the
benchmarks' own (made with uv in the cache folder): the peers bring half of
JupyterLab along.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
LIBRARIES = ("numpy", "pandas", "scikit-learn", "matplotlib", "pyarrow")
PEERS = {"flowbook": "flowbook-python", "ipyflow": "ipyflow"}
MODULES = {
    "plain ipykernel": "ipykernel_launcher",
    "plain, an audit hook": "ipykernel_launcher",
    "mlrepro-nb": "ipykernel_launcher",
    "FlowBook": "flowbook.kernel",
    "ipyflow": "ipyflow.kernel",
}
PLAIN, OURS = "plain ipykernel", "mlrepro-nb"
LOAD = {
    # One that does nothing: what any tool pays that sees a file opened by whatever opens it.
    "plain, an audit hook": "import sys; sys.addaudithook(lambda event, arguments: None)",
    OURS: "%load_ext mlrepro_nb",
}


def interpreter(libraries: Sequence[str] = LIBRARIES) -> Path:
    """Return the Python of an environment with all kernels, made if it is not there."""
    uv = Path(sys.executable).with_name("uv")
    wanted = (sys.version, ROOT, tuple(libraries), tuple(PEERS.values()))
    name = hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "mlrepro-nb-bench" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([uv, "venv", "--quiet", "--clear", "-p", sys.executable, folder], check=True)
        install = [uv, "pip", "install", "--quiet", "-p", python]
        subprocess.run([*install, "-e", ROOT, *libraries], check=True)
        for package in PEERS.values():
            # One that does not install here says so in the table.
            subprocess.run([*install, package, *libraries], check=False)
        (folder / "ready").touch()
    return python


class Kernel:
    """A kernel of one of the kinds, in a folder.

    Raises
    ------
    RuntimeError
        It does not run here; the message is the last line that it said.
    """

    def __init__(self, kind: str, folder: Path, python: Path) -> None:
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import KernelManager

        self.kind = kind
        argv = [str(python), "-m", MODULES[kind], "-f", "{connection_file}"]
        self.manager = KernelManager()
        self.manager._kernel_spec = KernelSpec(argv=argv, language="python", display_name=kind)  # noqa: SLF001
        self.log = folder / f".{kind.replace(' ', '-')}.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLREPRO_")}
        environment["IPYTHONDIR"] = str(folder / ".ipython")
        # Threads of OpenMP that wait by turning in circles would take the next kernel's time.
        environment["OMP_WAIT_POLICY"] = "passive"
        # FlowBook's leaves folders behind.
        self.scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        environment["TMPDIR"] = self.scratch.name
        with self.log.open("wb") as log:
            self.manager.start_kernel(cwd=str(folder), env=environment, stdout=log, stderr=log)
        self.client = self.manager.client()
        self.client.start_channels()
        try:
            self.client.wait_for_ready(timeout=60)
            self.run(LOAD.get(kind, "pass"))
        except Exception as error:
            self.stop()
            said = self.log.read_text(errors="replace").strip().splitlines()
            raise RuntimeError(f"does not run here: {(said or [str(error)])[-1][:90]}") from error
        self.process = psutil.Process(self.manager.provisioner.process.pid)

    def run(self, source: str) -> float:
        """Run a cell and return the seconds until all of its outputs were there."""
        begun = time.perf_counter()
        try:
            reply: dict[str, Any] = self.client.execute_interactive(
                source, timeout=600, allow_stdin=False, output_hook=lambda message: None
            )
        except TimeoutError as error:
            raise RuntimeError(f"{self.kind}: a cell takes more than 600 s") from error
        taken = time.perf_counter() - begun
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"{self.kind}: {reply['content'].get('evalue', '')[:200]}")
        return taken

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """Return the seconds of CPU that it and its children have used."""
        used = 0.0
        for process in self._family():
            times = process.cpu_times()
            used += times.user + times.system
            if process == self.process:
                used += times.children_user + times.children_system
        return used

    def main_thread_cpu(self) -> float:
        """Return the seconds of CPU that its main thread, which runs the cells, has used."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9

    def memory(self) -> int:
        """Return its bytes of memory, shared pages by their part (PSS), with its children's."""
        total = 0
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):  # a child that has just ended
                total += process.memory_full_info().pss
        return total

    def stop(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.scratch.cleanup()


_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of what a kernel starts and leaves to nobody (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def orphans_cpu(kernels: Iterable[Kernel]) -> float:
    """Return the seconds of CPU that the adopted orphans used; those that ended are buried."""
    own = {kernel.process.pid for kernel in kernels}
    used = 0.0
    for child in psutil.Process().children():
        if child.pid in own:
            continue
        ended, _, spent = os.wait4(child.pid, os.WNOHANG)
        if ended:
            used += spent.ru_utime + spent.ru_stime
        else:  # what samples the kernel lives as long as it does
            times = child.cpu_times()
            used += times.user + times.system
    return used


def start(kinds: list[str], folder: Path) -> tuple[dict[str, Kernel], dict[str, str]]:
    """Start kernels; return those that run, and why the others do not."""
    python = interpreter()
    running, silent = {}, {}
    for kind in kinds:
        try:
            running[kind] = Kernel(kind, folder, python)
        except RuntimeError as error:  # noqa: PERF203
            silent[kind] = str(error)
    return running, silent
