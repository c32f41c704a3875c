"""Docker Engine, through the ``docker`` command.

The command, not the HTTP API: only it knows contexts, credential helpers and
BuildKit's session, which secrets and cache mounts need.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from mlrepro_nb.connect import buildkit, command
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Report, Step, silent

_IN_MEMORY = ("/tmp", "/results")
_INSTALL = "Install Docker Engine, or build on a machine that has it; --dry-run needs none."


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """A Docker Engine that answers."""

    client: str
    server: str
    architecture: str


class LocalImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that the engine has."""

    id: str
    repo_digests: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    size: int = 0
    architecture: str = ""


def _program() -> str:
    """Return the path of ``docker``, or of podman, which understands the same."""
    return shutil.which("docker") or shutil.which("podman") or command.find(
        "docker", remedy=_INSTALL
    )  # fmt: skip


def _docker(*arguments: str, timeout: float | None = 120) -> str:
    program = _program()
    ended = command.run([program, *arguments], timeout=timeout)
    if not ended.ok:
        raise buildkit.meaning(f"docker {arguments[0]}", ended.stderr or ended.stdout)
    return ended.stdout


def engine() -> Engine:
    """Return the engine that answers.

    Raises
    ------
    ToolError
        There is no ``docker`` command, or no engine answers it.
    """
    found = json.loads(_docker("version", "--format", "{{json .}}", timeout=20))
    # Podman without a service names no server; it says "linux/amd64".
    server = found.get("Server") or found["Client"]
    return Engine(
        client=found["Client"]["Version"],
        server=server["Version"],
        architecture=server.get("Arch") or str(server.get("OsArch", "")).rpartition("/")[2],
    )


def inspect(image: str) -> LocalImage | None:
    """Return what the engine knows of an image, or None where it does not have it."""
    try:
        found = json.loads(_docker("image", "inspect", image))[0]
    except ToolError as error:
        if "no such image" in error.output.lower():
            return None
        raise
    return LocalImage(
        id=found["Id"],
        repo_digests=tuple(found.get("RepoDigests") or ()),
        labels=(found.get("Config") or {}).get("Labels") or {},
        size=found.get("Size", 0),
        architecture=found.get("Architecture", ""),
    )


def build(
    context: Path,
    *,
    containerfile: Path,
    identity: Path,
    secrets: Mapping[str, Path] | None = None,
    no_cache: bool = False,
    report: Report = silent,
) -> str:
    """Build an image with BuildKit and return its id; it gets no tag.

    Parameters
    ----------
    context
        Folder that the Containerfile copies from.
    identity
        File that is written with the image's id.
    secrets
        Files by the id under which ``RUN --mount=type=secret`` finds them. They
        enter no layer, no history and no cache key.

    Raises
    ------
    ToolError
        The engine or a step of the build failed.
    """
    program = _program()
    arguments = [program, "build", "--progress=plain", "--file", str(containerfile)]
    arguments += ["--iidfile", str(identity)]
    for name, path in sorted((secrets or {}).items()):
        arguments += ["--secret", f"id={name},src={path}"]
    if no_cache:
        arguments.append("--no-cache")
    ended = command.stream(
        [*arguments, str(context)],
        buildkit.Progress(report),
        environment={**os.environ, "DOCKER_BUILDKIT": "1"},
    )
    if not ended.ok:
        raise buildkit.meaning("docker build", buildkit.telling(ended.stderr))
    return identity.read_text(encoding="utf-8").strip()


def load(write: Callable[[IO[bytes]], None]) -> str:
    """Have the engine load an image archive that `write` writes, and return how it calls it.

    Raises
    ------
    ToolError
        There is no engine, or it does not take the archive.
    """
    status, output = _piped(["load"], write)
    loaded = re.findall(r"^Loaded image(?: ID)?: (\S+)", output, re.MULTILINE)
    if status != 0 or not loaded:
        raise buildkit.meaning("docker load", output)
    return str(loaded[-1])


def _piped(arguments: Sequence[str], write: Callable[[IO[bytes]], None]) -> tuple[int, str]:
    """Run ``docker`` with what `write` writes to it; return its status and what it said."""
    program = _program()
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                [program, *arguments], stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise ToolError("`docker` could not be started.", _INSTALL, tool="docker") from error
        with process:
            assert process.stdin is not None
            try:
                with contextlib.suppress(BrokenPipeError):  # what it says then tells more
                    write(process.stdin)
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                status = process.wait()
            except BaseException:
                process.kill()
                raise
        said.seek(0)
        return status, command.redact(said.read().decode("utf-8", "replace"))


def texts(image: str, paths: Sequence[str]) -> dict[str, str]:
    """Return those small text files of an image that are there; nothing of it is run."""
    return {p: c.decode("utf-8", "replace") for p, c in contents(image, paths).items()}


def contents(image: str, paths: Sequence[str]) -> dict[str, bytes]:
    """Return those small files of an image that are there; nothing of it is run.

    Raises
    ------
    ToolError
        There is no engine, or it does not have the image.
    """
    container = _docker("create", "--network", "none", image, "none").strip()
    found: dict[str, bytes] = {}
    try:
        for path in paths:
            with tempfile.TemporaryDirectory(prefix="mlrepro-copy-") as folder:
                target = Path(folder) / "file"
                with contextlib.suppress(ToolError):  # the image does not have it
                    _docker("cp", "--follow-link", f"{container}:{path}", str(target))
                    found[path] = target.read_bytes()
    finally:
        _docker("rm", container)
    return found


def tag(image: str, reference: str) -> None:
    """Give an image a name."""
    _docker("tag", image, reference)


def push(reference: str, *, report: Report = silent) -> None:
    """Push one tag to its registry, logged in as `docker login` left it."""
    program = _program()

    def line(text: str) -> None:
        if text and not re.match(r"[0-9a-f]{12}: (?:Preparing|Waiting)", text):
            report(Step(message=text, log=True))

    ended = command.stream([program, "push", reference], line)
    if not ended.ok:
        raise buildkit.meaning("docker push", ended.stderr)


def run(
    image: str,
    arguments: Sequence[str] = (),
    *,
    network: str = "none",
    given: Mapping[str, Path] = {},
    report: Report = silent,
) -> command.Ended:
    """Run a container as hardened as a cluster would and return how it ended.

    Read-only root file system, no capability, no new privilege; ``/tmp`` and
    ``/results`` are in memory.

    Parameters
    ----------
    given
        Files here, by where they shall be in the container, readable for any user. They are
        in volumes, which are gone with it; what should be in its root stays out.

    Raises
    ------
    ToolError
        There is no engine, or it does not make the container or take the files.
    """
    with _made(image, arguments, network, given=given) as container:
        return _watched(container, report)


def run_for(
    image: str, folder: str, target: Path, *, network: str = "none",
    variables: Mapping[str, str] = {}, given: Mapping[str, Path] = {}, report: Report = silent,
) -> command.Ended:  # fmt: skip
    """Run a container, hardened as in `run`, and take what it left in one of its folders.

    Parameters
    ----------
    image
        What to run.
    folder
        In the container; it may write there, as far as the image lets it.
    target
        A folder here that gets what is in it at the end.
    given
        As for `run`.

    Raises
    ------
    ToolError
        There is no engine, or it does not make the container.
    """
    with _made(image, (), network, variables, given=given, kept=folder) as container:
        ended = _watched(container, report)
        _docker("cp", f"{container}:{folder}/.", str(target))
        return ended


@contextlib.contextmanager
def _made(
    image: str, arguments: Sequence[str], network: str, variables: Mapping[str, str] = {}, *,
    given: Mapping[str, Path], kept: str | None = None,
) -> Iterator[str]:  # fmt: skip
    """Yield a container that was not started yet; it and its volumes are gone afterwards.

    A volume begins with what the image has there. It is filled through the engine: one that is
    elsewhere has none of this machine's folders to mount.
    """
    volumes = _volumes(given)
    folders = [*volumes, kept] if kept else [*volumes]
    options = _hardened(network, variables, [f for f in _IN_MEMORY if f not in folders])
    for folder in folders:
        options += ["--volume", folder]
    if kept is None:
        options.append("--rm")  # by the engine, should this process be gone by then
    # By a name of ours: whoever interrupts may do so before the engine has told its id.
    name = f"mlrepro-{uuid.uuid4().hex[:16]}"
    try:
        _docker("create", "--name", name, *options, image, *arguments)
        for folder, files in volumes.items():
            _give(name, folder, files)
        yield name
    finally:
        with contextlib.suppress(ToolError):
            _docker("rm", "--force", "--volumes", name)


def _watched(container: str, report: Report) -> command.Ended:
    """Start a container, tell what it prints, and return how it ended."""
    return command.stream(
        [_program(), "start", "--attach", container],
        lambda text: report(Step(message=text, log=True)),
    )


def _volumes(given: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Return the outermost folders that hold some files, with the files by their path in them."""
    folders = {PurePosixPath(name).parent for name in given} - {PurePosixPath("/")}
    return {
        str(folder): {
            str(PurePosixPath(name).relative_to(folder)): path
            for name, path in given.items()
            if PurePosixPath(name).is_relative_to(folder)
        }
        for folder in sorted(folders)
        if folders.isdisjoint(folder.parents)
    }


def _give(container: str, folder: str, files: Mapping[str, Path]) -> None:
    """Put files into a folder of a container that was not started yet."""

    def write(pipe: IO[bytes]) -> None:
        with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _fill(archive, files)

    status, said = _piped(["cp", "-", f"{container}:{folder}"], write)
    if status != 0:
        raise buildkit.meaning("docker cp", said)


def _fill(archive: tarfile.TarFile, files: Mapping[str, Path]) -> None:
    """Write files that any user may read, whatever may be done here."""
    folders = {parent for name in files for parent in PurePosixPath(name).parents}
    for folder in sorted(folders - {PurePosixPath(".")}):
        info = tarfile.TarInfo(str(folder))
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)
    for name, path in sorted(files.items()):
        with path.open("rb") as file:
            info = tarfile.TarInfo(name)
            info.size, info.mode = os.fstat(file.fileno()).st_size, 0o644
            archive.addfile(info, file)


def _hardened(
    network: str, variables: Mapping[str, str] = {}, in_memory: Sequence[str] = _IN_MEMORY
) -> list[str]:
    options = ["--network", network, "--read-only", "--cap-drop", "ALL"]
    options += ["--security-opt", "no-new-privileges"]
    for folder in in_memory:
        options += ["--tmpfs", f"{folder}:rw,exec,mode=1777"]
    for name, value in variables.items():
        options += ["-e", f"{name}={value}"]
    return options


@contextlib.contextmanager
def container(
    image: str, *, network: str = "none", variables: Mapping[str, str] = {}
) -> Iterator[Container]:
    """Yield a container that runs, hardened as in `run`; it is gone afterwards.

    Raises
    ------
    ToolError
        There is no engine, or it does not start it.
    """
    found = _docker("run", "--detach", *_hardened(network, variables), image).strip()
    try:
        yield Container(found)
    finally:
        with contextlib.suppress(ToolError):
            _docker("rm", "--force", "--volumes", found)


class Container:
    """A container that was started."""

    def __init__(self, identity: str) -> None:
        self.id = identity

    def run(self, arguments: Sequence[str], *, timeout: float | None = None) -> command.Ended:
        """Run a program in it, and return how that ended."""
        program = _program()
        return command.run([program, "exec", self.id, *arguments], timeout=timeout)

    def ended(self, timeout: float) -> int | None:
        """Wait until it has ended and return its exit code, None where that takes too long."""
        try:
            return int(_docker("wait", self.id, timeout=timeout))
        except ToolError as error:
            if error.output:
                raise
            return None

    def logs(self) -> str:
        """Return what it printed."""
        program = _program()
        ended = command.run([program, "logs", self.id], timeout=60)
        return command.redact(ended.stdout + ended.stderr)
