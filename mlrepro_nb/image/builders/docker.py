"""The builders that do what the Containerfile says: a BuildKit, or else the Docker Engine's own.

A BuildKit that can date what it builds gives the same image again, byte by byte,
so its image is kept as ours are: in the cache, by digest. An older engine cannot;
its image stays where it was built.
"""

from __future__ import annotations

import contextlib
import functools
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from mlrepro_nb.connect import buildkit, docker, index, oci, podman, registry
from mlrepro_nb.connect.command import Ended
from mlrepro_nb.errors import NeedsEngineError, ToolError, UsageError
from mlrepro_nb.image._configuration import configuration
from mlrepro_nb.image._context import CONTAINERFILE, WHEELS, context
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image._render import DEPENDENCIES, dependencies, upper
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.image.builders._image import BuiltImage
from mlrepro_nb.image.builders._packed import packed
from mlrepro_nb.image.builders.oci import below, builder
from mlrepro_nb.image.supply import LISTS
from mlrepro_nb.model import Report, Step
from mlrepro_nb.store import Store

_FORMAT = 5


class DockerBuilder:
    """Builds with a BuildKit that answers, or on the Docker Engine.

    Parameters
    ----------
    cache
        Where an image of BuildKit's is kept.
    downloads
        Where wheels and base images are; by default, there too.
    fresh
        Whether BuildKit uses nothing again that it built before.
    """

    key = "docker"

    def __init__(
        self, cache: oci.Cache | None = None, downloads: oci.Cache | None = None, *,
        fresh: bool = False,
    ) -> None:  # fmt: skip
        self.cache = cache or oci.Cache()
        self.downloads = downloads or self.cache
        self.fresh = fresh

    def check(self, wanted: Wanted) -> None:
        """Look for what builds, and whether what is wanted can be done with it."""
        archive = wanted.output is not None and oci.is_archive(wanted.output)
        kit = repeatable()
        if wanted.output is not None and archive:
            if isinstance(kit, str):
                raise UsageError(
                    f"The Docker Engine does not write {wanted.output}: {kit}.",
                    "Build it with --builder oci, or `docker save` the image once it is built.",
                )
            oci.check_target(wanted.output)
        elif wanted.output is not None:
            oci.check_folder(wanted.output)
        if isinstance(kit, str) or wanted.load or wanted.test or not (wanted.push or archive):
            docker.engine()

    def prepare(self, plan: Plan, wanted: Wanted, report: Report) -> None:
        """Make the dependencies, where that is not the engine's own work."""
        if plan.base_layout or not isinstance(repeatable(), buildkit.BuildKit):
            return
        with contextlib.suppress(NeedsEngineError), oci.full_disk(self.cache.root):
            oci.check_compressor()
            below(plan, wanted, self.cache, self.downloads, report)

    def build(
        self,
        plan: Plan,
        wanted: Wanted,
        store: Store,  # noqa: ARG002
        report: Report,
    ) -> EngineImage | BuiltImage:
        """Build it; the image has no name yet."""
        if plan.base_layout:
            raise UsageError(
                "The Docker Engine does not build on an OCI layout.",
                "Build with --builder oci, or push the base image to a registry.",
            )
        kit = repeatable()
        if isinstance(kit, str):
            report(Step(message=f"{unfit(kit)} {REPEATABLE}", log=True))
        archive = wanted.output is not None and oci.is_archive(wanted.output)
        with (
            context(plan, None if archive else wanted.output, report=report) as folder,
            _secrets(wanted.bundle) as secrets,
        ):
            if isinstance(kit, str):
                return self._on_engine(folder, secrets, report)
            return self._repeatably(kit, plan, wanted, folder, secrets, report)

    def _on_engine(self, folder: Path, secrets: dict[str, Path], report: Report) -> EngineImage:
        identity = folder.with_name(f"{folder.name}.id")
        try:
            built = docker.build(
                folder, containerfile=folder / CONTAINERFILE, identity=identity,
                secrets=secrets, no_cache=self.fresh, report=report,
            )  # fmt: skip
        finally:
            identity.unlink(missing_ok=True)
        return EngineImage(built, f"docker {docker.engine().server}")

    def _repeatably(
        self, kit: buildkit.BuildKit | podman.Podman, plan: Plan, wanted: Wanted, folder: Path,
        secrets: dict[str, Path], report: Report,
    ) -> BuiltImage:  # fmt: skip
        report(Step(message=f"building with {kit.title}"))
        with (
            oci.full_disk(self.cache.root),
            tempfile.TemporaryDirectory(dir=self.cache.scratch(), prefix="layout-") as name,
        ):
            layout = Path(name)
            if isinstance(kit, podman.Podman):
                if configuration(plan).probe is not None:
                    report(Step(message="podman leaves HEALTHCHECK out of an image", log=True))
                podman.build(
                    kit, folder, layout, containerfile=CONTAINERFILE, epoch=oci.EPOCH,
                    secrets=secrets, no_cache=self.fresh, report=report,
                )  # fmt: skip
                image, _ = oci.Layout(layout).find(plan.platform)
                for blob in sorted((layout / "blobs" / "sha256").iterdir()):
                    self.cache.take(blob)
                toolchain, above = kit.title, frozenset[str]()
            else:
                image, above, by = self._by_buildkit(
                    kit, plan, wanted, folder, layout, secrets, report
                )
                toolchain = f"{kit.title}; {by}"
        self.cache.sweep()
        archive = wanted.output is not None and oci.is_archive(wanted.output)
        placed = msgspec.structs.replace(
            wanted, output=wanted.output if archive else None, load=wanted.load or _engine_answers()
        )
        return BuiltImage(
            image, (self.cache, self.downloads), placed, toolchain=toolchain,
            below=frozenset(layer.digest for layer in image.layers), above=above,
            origin=registry.parse(plan.base).name,
        )  # fmt: skip

    def _by_buildkit(
        self, kit: buildkit.BuildKit, plan: Plan, wanted: Wanted, folder: Path, layout: Path,
        secrets: dict[str, Path], report: Report,
    ) -> tuple[oci.Image, frozenset[str], str]:  # fmt: skip
        """Build the project on top of its dependencies.

        Beside the image are those layers in which none of the operating system's files can be,
        as far as is known, and by what the dependencies were made.

        BuildKit dates the layers of an image anew in each build; those of a base image it leaves
        alone. So the dependencies are an image of their own. They are made as without an engine,
        which is faster and runs nothing, unless something has to be run.
        """
        oci.check_compressor()
        build = functools.partial(
            buildkit.build, kit, folder, platform=plan.platform, epoch=oci.EPOCH, secrets=secrets,
            no_cache=self.fresh, report=report,
        )  # fmt: skip
        try:
            lower, above = below(plan, wanted, self.cache, self.downloads, report)
            by = builder(plan)
        except NeedsEngineError as error:
            report(Step(message=f"{error.message} BuildKit makes the dependencies.", log=True))
            lower, above = self._stage(build, plan, kit, folder, layout, report), frozenset()
            by = oci.COMPRESSOR
        report(Step(message="building the image"))
        digests = (lower.digest, *(blob.digest for blob in lower.blobs))
        places = oci.located(digests, (self.cache, self.downloads))
        given, whole = layout / "dependencies", layout / "image"
        oci.share(places, given, lower)
        oci.share(places, whole, lower, listed=False)  # so that they are not fetched
        containerfile = layout / CONTAINERFILE
        containerfile.write_text(upper(plan), encoding="utf-8")
        images = {DEPENDENCIES: (given, lower.digest)}
        build(target=whole, containerfile=containerfile, images=images)
        return packed(whole, plan.platform, self.cache, report), above, by

    def _stage(
        self, build: Callable[..., None], plan: Plan, kit: buildkit.BuildKit, folder: Path,
        layout: Path, report: Report,
    ) -> oci.Image:  # fmt: skip
        """Build the Containerfile's stage of the dependencies, unless it is there."""
        wheels = folder / WHEELS
        about = {
            "dependencies": _FORMAT, "of": dependencies(plan), "by": kit.title,
            "local": wheels.read_text() if wheels.exists() else "", "platform": plan.platform,
        }  # fmt: skip
        kept = None if self.fresh else self._kept(self.cache.note(about))
        if kept is not None:
            return kept
        report(Step(message="building the dependencies"))
        made = layout / "made"
        build(target=made, containerfile=folder / CONTAINERFILE, stage=DEPENDENCIES)
        image = packed(made, plan.platform, self.cache, report)
        self.cache.write_note(about, image.digest)
        return image

    def _kept(self, digest: str | None) -> oci.Image | None:
        """Return an image of which all is still in the cache."""
        if digest is None or not self.cache.has(digest):
            return None
        found = oci.image(self.cache.blob(digest).read_bytes(), "the cache")
        return found if all(self.cache.has(b.digest, b.size) for b in found.blobs) else None


REPEATABLE = (
    "Use --builder oci, or a BuildKit that is 0.13 or newer: BUILDKIT_HOST with buildctl, or "
    "docker buildx with a builder of its own (docker buildx create --use)."
)


def repeatable() -> buildkit.BuildKit | podman.Podman | str:
    """Return what gives the same image on every rebuild; else, in words, why there is none."""
    found = buildkit.find()
    return (podman.find() or found) if isinstance(found, str) else found


def unfit(why: str) -> str:
    """Return what it means that there is no BuildKit that gives the same image again."""
    return f"This Docker Engine cannot give the same digest again: {why}."


def _engine_answers() -> bool:
    try:
        docker.engine()
    except ToolError:
        return False
    return True


class EngineImage:
    """An image that the engine has."""

    manifest = None

    def __init__(self, identity: str, toolchain: str) -> None:
        self.id = identity
        self.toolchain = toolchain

    def is_same(self, there: registry.ImageInfo) -> bool:
        """Whether it has the same configuration; its manifest is made when it is pushed."""
        return there.id == self.id

    def local(self, report: Report) -> str:  # noqa: ARG002
        """Return its id: the engine has it."""
        return self.id

    def run(self, arguments: Sequence[str], report: Report, data: Mapping[str, Path]) -> Ended:
        """Run it without a network."""
        return docker.run(self.id, arguments, given=data, report=report)

    def texts(self, wanted: re.Pattern[str], report: Report) -> dict[str, str]:
        """Return those text files that have a fixed place and are there."""
        report(Step(message="reading the image's list of packages"))
        return docker.texts(self.id, [path for path in LISTS if wanted.fullmatch(path)])

    def name(
        self,
        names: Sequence[str],
        report: Report,
        artifacts: Sequence[registry.Artifact] = (),  # noqa: ARG002  (it keeps no layout)
    ) -> None:
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
