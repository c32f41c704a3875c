"""The engine's builder: BuildKit does what the Containerfile says."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlrepro_nb.connect import docker, index, registry
from mlrepro_nb.connect.command import Ended
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.image._context import CONTAINERFILE, check_empty, context
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.model import Report, Step
from mlrepro_nb.store import Store


class DockerBuilder:
    """Builds on the Docker Engine that answers."""

    key = "docker"

    def check(self, wanted: Wanted) -> None:
        """Look for the engine."""
        if wanted.output is not None:
            if wanted.output.suffix == ".tar":
                raise UsageError(
                    f"The Docker Engine does not write {wanted.output}.",
                    "Build it with --builder oci, or `docker save` the image once it is built.",
                )
            check_empty(wanted.output)
        docker.engine()

    def build(
        self,
        plan: Plan,
        wanted: Wanted,
        store: Store,  # noqa: ARG002
        report: Report,
    ) -> EngineImage:
        """Build on the engine; the image has no name yet."""
        if plan.base_layout:
            raise UsageError(
                "The Docker Engine does not build on an OCI layout.",
                "Build with --builder oci, or push the base image to a registry.",
            )
        with (
            context(plan, wanted.output, report=report) as folder,
            _secrets(wanted.bundle) as secrets,
        ):
            identity = folder.with_name(f"{folder.name}.id")
            try:
                built = docker.build(
                    folder, containerfile=folder / CONTAINERFILE, identity=identity,
                    secrets=secrets, report=report,
                )  # fmt: skip
            finally:
                identity.unlink(missing_ok=True)
        return EngineImage(built)


class EngineImage:
    """An image that the engine has."""

    manifest = None

    def __init__(self, identity: str) -> None:
        self.id = identity

    def is_same(self, there: registry.ImageInfo) -> bool:
        """Whether it has the same configuration; its manifest is made when it is pushed."""
        return there.id == self.id

    def run(self, report: Report) -> Ended:
        """Run it without a network."""
        return docker.run(self.id, report=report)

    def name(self, names: Sequence[str], report: Report) -> None:
        """Tag it."""
        for name in names:
            report(Step(message=f"tagging {name}"))
            docker.tag(self.id, name)

    def push(self, names: Sequence[str], report: Report) -> str:
        """Have the engine push it, and look what arrived."""
        for number, name in enumerate(names):
            report(Step(message=f"pushing {name}", done=number, total=len(names)))
            docker.push(name, report=report)
        there = registry.inspect(names[0])
        if there.id != self.id:
            raise ToolError(
                f"{names[0]} is another image in the registry than the one that was pushed.",
                "Somebody pushed at the same time; build again with another --version.",
                tool="registry",
            )
        return there.digest


@contextlib.contextmanager
def _secrets(bundle: Path | None) -> Iterator[dict[str, Path]]:
    """Yield the build's secrets; the files that are made for it are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mlrepro-secret-") as folder:
        found = {"ca": bundle} if bundle else {}
        text = index.pip_configuration(
            index.settings(), certificates="/run/secrets/ca" if bundle else None
        )
        if text:
            path = Path(folder) / "pip.conf"
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
            found["pipconf"] = path
        yield found
