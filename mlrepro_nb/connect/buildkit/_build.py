"""An image by BuildKit, as an OCI layout on this machine."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from mlrepro_nb.connect import command
from mlrepro_nb.connect.buildkit._find import BuildKit
from mlrepro_nb.connect.buildkit._meanings import meaning
from mlrepro_nb.connect.buildkit._progress import Progress, telling
from mlrepro_nb.model import Report, silent

_MARKS = ("BUILDX_GIT_LABELS", "BUILDX_GIT_INFO", "BUILDX_METADATA_PROVENANCE")
"""Variables by which buildx would write something of this machine into an image."""


def build(
    kit: BuildKit,
    context: Path,
    target: Path,
    *,
    containerfile: Path,
    platform: str,
    epoch: int,
    secrets: Mapping[str, Path] | None = None,
    stage: str | None = None,
    images: Mapping[str, tuple[Path, str]] = {},
    no_cache: bool = False,
    report: Report = silent,
) -> None:
    """Build an image that is the same whenever and wherever it is built.

    All dates are the epoch's, media types are OCI's, and nothing is attested: an
    attestation of BuildKit holds times. Layers that are new are not compressed: BuildKit would
    do so twice, before and after it dates what is in them, on one core.

    Parameters
    ----------
    context
        Folder that the Containerfile copies from.
    target
        OCI layout to write. Blobs that its ``blobs`` folder has are not fetched.
    containerfile
        Its path.
    epoch
        Date of everything, in seconds.
    secrets
        Files by the id under which ``RUN --mount=type=secret`` finds them. They
        enter no layer, no history and no cache key.
    stage
        Build the Containerfile as far as this stage.
    images
        Base images by the name that ``FROM`` calls them, as an OCI layout and the digest of a
        manifest in it. Their layers stay as they are: neither dated nor compressed again.
        That holds for no stage of the Containerfile, not even for one that is given like this.
    no_cache
        Whether nothing that was built before is used again.

    Raises
    ------
    ToolError
        BuildKit or a step of the build failed.
    """
    output = _fields(
        "type=oci", "tar=false", f"dest={target}", "rewrite-timestamp=true", "oci-mediatypes=true",
        "compression=uncompressed",
    )  # fmt: skip
    shared = ["--output", output, "--progress", "plain"]
    shared += ["--no-cache"] if no_cache else []
    for name, path in sorted((secrets or {}).items()):
        shared += ["--secret", _fields(f"id={name}", f"src={path}")]
    shared += [] if stage is None else _option(kit, "target", stage)
    for name, (layout, digest) in sorted(images.items()):
        if kit.client == "buildctl":
            shared += ["--oci-layout", f"{name}={layout}"]
            shared += ["--opt", f"context:{name}=oci-layout://{name}@{digest}"]
        else:
            shared += ["--build-context", f"{name}=oci-layout://{layout}@{digest}"]
    if kit.client == "buildctl":
        arguments = [
            kit.program, "--addr", kit.where, "build", "--frontend", "dockerfile.v0",
            "--local", f"context={context}", "--local", f"dockerfile={containerfile.parent}",
            "--opt", f"filename={containerfile.name}", "--opt", f"platform={platform}",
            "--opt", f"build-arg:SOURCE_DATE_EPOCH={epoch}", *shared,
        ]  # fmt: skip
    else:
        arguments = [
            kit.program, "buildx", "build", "--builder", kit.where,
            "--file", str(containerfile), "--platform", platform,
            "--build-arg", f"SOURCE_DATE_EPOCH={epoch}", "--provenance=false", "--sbom=false",
            *shared, str(context),
        ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name not in _MARKS}
    ended = command.stream(
        arguments, Progress(report), environment={**environment, "SOURCE_DATE_EPOCH": str(epoch)}
    )
    if not ended.ok:
        raise meaning(Path(kit.program).name + " build", telling(ended.stderr))


def _option(kit: BuildKit, name: str, value: str) -> list[str]:
    if kit.client == "buildctl":
        return ["--opt", f"{name}={value}"]
    return [f"--{name}", value]


def _fields(*fields: str) -> str:
    """Return an option's fields as BuildKit's clients read them: CSV, for a path with a comma."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
