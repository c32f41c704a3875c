"""A build plan: everything that an image is made of, as a value. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from mlrepro_nb.connect import debian
from mlrepro_nb.errors import GateError, MlreproError, ToolError, UsageError
from mlrepro_nb.image import _platforms
from mlrepro_nb.image._contents import ContextFile
from mlrepro_nb.image.data import Item, Mount
from mlrepro_nb.model import Distribution, Gate

Kind = Literal["job", "service", "notebook"]
KINDS: tuple[Kind, ...] = ("job", "service", "notebook")
USER = 10001
"""Numeric, or `runAsNonRoot` cannot tell that it is not root; high, or it may be someone's."""
UNNAMED = "localhost/base"
"""What a base image is called that its layout gives no name."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a real build of a plan would be refused."""

    message: str
    remedy: str
    usage: bool = False
    gate: bool = False
    """Whether the run does not meet a condition, rather than that something is missing."""

    def error(self) -> MlreproError:
        """Return it as the error that a build raises."""
        kind = GateError if self.gate else UsageError if self.usage else ToolError
        return kind(self.message, self.remedy)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is made of."""

    kind: Kind
    record: str
    notebook: str
    parameters: tuple[str, ...] = ()
    python: str
    machine: str
    base: str
    """As asked for."""
    base_digest: str | None = None
    base_layout: str | None = None
    """OCI layout on this machine that the base image is read from; it says nothing in the image."""
    bytecode: bool = True
    """Whether the distributions come compiled, by the compiler of the recorded Python."""
    compile_only: dict[str, tuple[str, ...]] = {}
    """The packages that come compiled of those which the image imports in part, as the run did;
    a distribution without any comes as source."""
    user: int = USER
    packages: tuple[debian.Package, ...] = ()
    """Packages of the operating system that the base image lacks."""
    archives: tuple[debian.Source, ...] = ()
    """Where they are downloaded; it says nothing in the image."""
    pins: tuple[str, ...] = ()
    """``name==version``, of what the package index has."""
    lock: str | None = None
    """The pins with hashes, once they were resolved."""
    local: tuple[Distribution, ...] = ()
    """Distributions that come from no index: built into the context as wheels."""
    archived: dict[str, str] = {}
    """Where the store has wheels of them, as they ran; it says nothing in the image."""
    lab: str | None = None
    """The lock of JupyterLab's own environment, of a notebook image."""
    kernel: str = "python3"
    """What the notebook calls its kernel."""
    files: tuple[ContextFile, ...] = ()
    mounts: tuple[Mount, ...] = ()
    """Data that is not in the image: fetched when a container starts, or mounted."""
    items: tuple[Item, ...] = ()
    """The same, file by file."""
    variables: dict[str, str] = {}
    repository: str
    version: str
    build_id: str
    commit: str | None = None
    dirty: bool = False
    source: str | None = None
    created: str
    run: str | None = None
    cell: int | None = None
    """The cell that trained the model."""
    data: dict[str, str] = {}
    model: str | None = None
    predictions: str | None = None
    """Digest of what the model predicted where it was recorded, which a service repeats."""
    gates: tuple[Gate, ...] = ()
    origins: dict[str, str] = {}
    """Where each value came from, in words; nothing of it is in the image."""
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def uncompiled(self) -> tuple[str, ...]:
        """Distributions that come as source: nothing in the image imports them."""
        return tuple(name for name, packages in self.compile_only.items() if not packages)

    @property
    def base_reference(self) -> str:
        """The base image, by digest where that is known."""
        pinned = "@" in self.base or not self.base_digest
        return self.base if pinned else f"{self.base}@{self.base_digest}"

    @property
    def platform(self) -> str:
        """The kind of machine that the image is for, as OCI writes it."""
        return _platforms.platform(self.machine)

    @property
    def package_lock(self) -> str:
        """The operating system's packages with their hashes, a line each."""
        return "".join(
            f"{p.name}={p.version} --hash=sha256:{p.sha256} {p.file.rpartition('/')[2]}\n"
            for p in self.packages
        )

    def layer(self, name: str) -> tuple[ContextFile, ...]:
        """Return the files of one folder of the build context."""
        return tuple(f for f in self.files if f.layer == name)
