"""No network: a namespace of a kernel's own, with nothing in it but the loopback interface."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct

_NEWNET, _NEWUSER = 0x40000000, 0x10000000
_GET, _SET, _UP = 0x8913, 0x8914, 0x1


def leave() -> bool:
    """Take this process, which must have one thread, off the network; False where none may."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEWNET):
        if libc.unshare(_NEWUSER | _NEWNET):
            return False
        try:
            # The same numbers inside as outside: the notebook sees who it was.
            _write("setgroups", "deny")
            _write("uid_map", f"{user} {user} 1")
            _write("gid_map", f"{group} {group} 1")
        except OSError:
            return False
    # Without it it is off the network all the same, and cannot reach what it serves itself.
    with contextlib.suppress(OSError):
        _loopback()
    return True


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
        file.write(text)


def _loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(one, _GET, request))[1]
        fcntl.ioctl(one, _SET, struct.pack("16sH14x", b"lo", flags | _UP))
