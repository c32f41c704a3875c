"""What a program that is started may read or write. Pure."""

# ruff: noqa: PTH119
from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Iterator

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})
_BEFORE = frozenset(
    {"env", "exec", "command", "nohup", "time", "nice", "sudo", "stdbuf",
     "do", "then", "else", "if", "elif", "while", "until", "!"}
)  # fmt: skip

# They tell of the machine, or act on names and processes; no file's content passes through them.
_NO_DATA = frozenset(
    {"[", "arch", "cd", "chmod", "chown", "clear", "date", "df", "du", "echo", "exit", "export",
     "false", "fc-list", "free", "getconf", "hostname", "id", "kill", "lscpu", "ls", "lsblk",
     "lsb_release", "lsof", "lspci", "mkdir", "nproc", "nvidia-smi", "printenv", "printf", "ps",
     "pwd", "rm", "rmdir", "rocm-smi", "set", "sleep", "stat", "stty", "sysctl", "test", "top",
     "touch", "tput", "tree", "true", "type", "ulimit", "uname", "uptime", "which", "whoami",
     "dpkg", "dpkg-query", "apt", "apt-get", "ldconfig", "pip", "pip3", "conda", "mamba",
     "micromamba", "pixi", "for", "done", "fi", "case", "esac", "break", "continue", "return",
     "local", "shift"}
)  # fmt: skip

# What libraries start to learn about the machine or to compile; from a cell's own line
# they may well read data.
_TOOLS = frozenset(
    {"git", "gcc", "g++", "cc", "c++", "clang", "clang++", "ld", "as", "ar", "nm", "objdump",
     "readelf", "ldd", "file", "ninja", "cmake", "nvcc", "ptxas", "hipcc", "rocminfo", "find",
     "xdg-open", "xdg-settings", "fc-match", "dmidecode", "sw_vers", "uv", "make", "cat"}
)  # fmt: skip
_GIT_LOOKS = frozenset(
    {"rev-parse", "status", "log", "describe", "branch", "remote", "config", "ls-files", "diff",
     "tag", "version", "--version", "init", "add", "commit", "fetch", "rev-list", "shortlog"}
)  # fmt: skip
_SPLIT = re.compile(r"^(?:;|\||\|\||&|&&|\(|\)|\|&|\n|\{|\})+$")
_QUIET = re.compile(r"^(?:/dev/null|&?[0-9]|-)$")


def reading(argv: list[str], *, by_library: bool = False) -> list[list[str]]:
    """Return the commands in a command line through which data may pass.

    Parameters
    ----------
    argv : list of str
        As it is started; of a shell's ``-c`` each command counts.
    by_library : bool
        Whether a library starts it for its own ends.
    """
    return [words for words in commands(argv) if not _is_harmless(words, by_library=by_library)]


def commands(argv: list[str]) -> Iterator[list[str]]:
    """Yield the single commands of a command line, each as its words."""
    name = os.path.basename(argv[0]) if argv else ""
    if name in _SHELLS:
        flags = [i for i, word in enumerate(argv[1:], 1) if re.match(r"^-\w*c$", word)]
        if flags and flags[0] + 1 < len(argv):
            yield from _of_script(argv[flags[0] + 1])
            return
    if len(argv) == 1 and re.search(r"\s", argv[0]):
        yield from _of_script(argv[0])
        return
    yield _stripped(argv)


def named(found: list[list[str]]) -> list[str]:
    """Return the words of commands that may name files which they read: not what ``>`` makes."""
    files: dict[str, None] = {}
    for words in found:
        for before, word in itertools.pairwise(words):
            if not re.match(r"^[<>&|()]+$", word) and not re.match(r"^&?>+[|&]?$", before):
                files.setdefault(word)
    return list(files)


def _of_script(script: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(script, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        yield script.split()
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if _SPLIT.match(word):
            if stripped := _stripped(command):
                yield stripped
            command = []
        else:
            command.append(word)


def _stripped(words: list[str]) -> list[str]:
    """Leave out what stands before a command: variables, ``nohup``, ``sudo``."""
    at = 0
    while at < len(words) and (
        re.match(r"^\w+=", words[at]) or os.path.basename(words[at]) in _BEFORE
    ):
        at += 1
    return words[at:]


def _is_harmless(words: list[str], *, by_library: bool) -> bool:
    if not words:
        return True
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if re.match(r"^[0-9&]*[<>]", word) and not _QUIET.match(after):
            return False  # a redirection is a file
    name, rest = os.path.basename(words[0]), words[1:]
    if name in _NO_DATA:
        return True
    if re.match(r"^(?:python|pypy)[\d.]*$", name):
        return _is_pip(rest) or rest[:1] in (["-V"], ["--version"])
    if name == "uv":
        return by_library or rest[:1] in (["pip"], ["add"], ["sync"], ["lock"], ["--version"])
    if name in _TOOLS and by_library:
        return True
    return name == "git" and any(word in _GIT_LOOKS for word in rest[:3])


def _is_pip(rest: list[str]) -> bool:
    return rest[:2] in (["-m", "pip"], ["-m", "venv"], ["-m", "ipykernel"], ["-m", "compileall"])


_POOLS = ("multiprocessing", "loky", "resource_tracker", "semaphore_tracker", "multiprocess")


def is_pool(argv: list[str]) -> bool:
    """Return whether this starts a worker of multiprocessing, multiprocess or loky."""
    if not argv or not re.match(r"^(?:python|pypy)[\d.]*$", os.path.basename(argv[0])):
        return False
    return any(
        word.startswith(("from ", "joblib.externals.loky", "loky."))
        and any(pool in word for pool in _POOLS)
        for word in argv[1:]
    )
