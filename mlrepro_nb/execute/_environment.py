"""What a kernel finds when it starts: variables, its IPython profile, and what runs before a cell.

By default nothing of the user's: no startup files, no configuration of Jupyter's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlrepro_nb.capture.secrets import unsealed
from mlrepro_nb.execute.limits import OUTPUT_CAP
from mlrepro_nb.store import read_events

_CONFIG = """\
c = get_config()
import importlib.util as _u
if _u.find_spec("mlrepro_nb") is not None:
    c.IPKernelApp.extensions = ["mlrepro_nb"]
del _u
"""
"""Runs inside the kernel, before any cell. The interpreter may be one that lacks mlrepro_nb: then
the notebook runs unrecorded."""

_GUARD = """
def _guard():
    import os, sys
    if os.environ.pop("MLREPRO_OFFLINE", None) != "guard":
        return
    import errno, ipaddress, socket
    def number(host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True
    def local(address):
        return not isinstance(address, tuple) or str(address[0]) in (
            "localhost", "::1", "") or str(address[0]).startswith("127.")
    def hook(event, arguments):
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            if arguments[-1] is not None and not local(arguments[-1]):
                raise OSError(errno.ENETUNREACH, "Network is unreachable")
        elif event == "socket.getaddrinfo":
            host = arguments[0] or ""
            host = host.decode("ascii", "replace") if isinstance(host, bytes) else host
            if number(host) or local((host,)):
                return
            raise socket.gaierror(-3, "Temporary failure in name resolution")
    sys.addaudithook(hook)
_guard()
del _guard
"""
"""Keeps Python's own sockets off the network, where no namespace may be made."""

_CAP = """
def _cap(limit):
    try:
        from ipykernel.iostream import OutStream
    except ImportError:
        return
    import functools
    write = OutStream.write
    used = [None, 0]
    @functools.wraps(write)
    def capped(self, string):
        if isinstance(string, str):
            cell = (getattr(self, "parent_header", None) or {{}}).get("msg_id")
            if used[0] != cell:
                used[:] = [cell, 0]
            room = limit - used[1]
            used[1] += len(string)
            if len(string) > room:
                if room > 0:
                    write(self, string[:room])
                return len(string)
        return write(self, string)
    OutStream.write = capped
_cap({limit})
del _cap
"""
"""Has the kernel not even send what nobody keeps: gigabytes would be parsed to be thrown away."""

_USERS = ("ipython_config.py", "ipython_config.json")


def heard(journal: Path, key: str) -> tuple[list[tuple[str, Any]], tuple[str, ...]]:
    """Return what a recorder wrote: the events, and apart from them the secrets, unsealed."""
    told = read_events(journal)
    secrets = {s for kind, data in told if kind == "secrets" for s in unsealed(str(data), key)}
    return [(kind, data) for kind, data in told if kind != "secrets"], tuple(secrets)


def not_recorded(kernel: str) -> str:
    """Return the gap of a run that no recorder told of."""
    return (
        f"The run was not recorded: the interpreter of kernel {kernel!r} has no working mlrepro_nb."
    )


def prepare(
    folder: Path, *, recorded: bool, startup: str, users: bool, variables: Mapping[str, str]
) -> dict[str, str]:
    """Write a kernel's profile into a folder and return the kernel's variables.

    Parameters
    ----------
    folder : Path
        An empty folder.
    recorded : bool
        Whether to load the recorder.
    startup : str
        Python source that runs in the kernel's process before the first cell.
    users : bool
        Whether the user's own startup files run, too.
    variables : mapping
        What is set besides.
    """
    profile = folder / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    config = (_CONFIG if recorded else "c = get_config()\n") + _GUARD
    # One more than is kept, so that it is seen that there was more.
    config += _CAP.format(limit=OUTPUT_CAP + 1) + startup
    environment = {**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1", **variables}
    if users:
        config = _link(profile) + config
    else:
        environment.pop("PYTHONSTARTUP", None)
        empty = folder / "jupyter"
        empty.mkdir()
        environment["JUPYTER_CONFIG_DIR"] = str(empty)
        environment["JUPYTER_NO_CONFIG"] = "1"
    (profile / "ipython_kernel_config.py").write_text(config, encoding="utf-8")
    environment["IPYTHONDIR"] = str(profile.parent)
    return environment


def _link(profile: Path) -> str:
    """Make the user's profile part of the kernel's; return what its configuration begins with."""
    theirs = Path(os.environ.get("IPYTHONDIR") or Path.home() / ".ipython") / profile.name
    for name in ("startup", *_USERS):
        if (theirs / name).exists():
            with contextlib.suppress(OSError):
                (profile / name).symlink_to(theirs / name)
    own = theirs / "ipython_kernel_config.py"
    return f"load_subconfig({str(own)!r})\n" if own.exists() else ""
