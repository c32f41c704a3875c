"""Verification in the image that was built from the record: it runs there as it would in a job."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from mlrepro_nb.connect import docker
from mlrepro_nb.errors import NotFoundError, ToolError
from mlrepro_nb.model import Image, Report, Step, Verification, decode
from mlrepro_nb.store import write_atomically
from mlrepro_nb.verify._reference import locate


def verify_in_image(target: str, *, report: Report) -> Verification:
    """Run the job image of a notebook's record and return what it says.

    Raises
    ------
    NotFoundError
        There is no record, or no image of it.
    ToolError
        There is no engine, or the image does not run.
    """
    found = locate(target, store=None, notebook=None, outputs=None)
    store, record = found.store, found.digest
    if store is None or record is None:
        raise NotFoundError(
            f"{found.name} has no record, of which there could be an image.",
            "Record and build it first: mlrepro record NOTEBOOK; mlrepro build NOTEBOOK",
        )
    images = [store.get(Image, one) for one in store.find_by_key(f"record:{record}", Image)]
    image = next((one for one in images if one.image_kind == "job"), None)
    if image is None:
        raise NotFoundError(
            f"No job image was built from the record of {found.name}.",
            f"Build it: mlrepro build {target}",
        )
    reference = _here(image)
    report(Step(message=f"running {reference}"))
    with tempfile.TemporaryDirectory(prefix="mlrepro-results-") as name:
        given = _data(reference, found.root)
        ended = docker.run_for(reference, "/results", Path(name), given=given, report=report)
        file = Path(name, "verification.json")
        if not file.is_file():
            raise ToolError(
                f"The image {reference} ended with {ended.status} and without a verification.",
                "What it printed says why.", tool="docker", output=ended.stderr,
            )  # fmt: skip
        verified = decode(Verification, file.read_bytes())
        executed = store.root / "executed" / f"{Path(found.name).stem}-image-{image.id[7:19]}.ipynb"
        made = Path(name, "executed.ipynb")
        if made.is_file():
            executed.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(executed, made.read_bytes())
            verified = msgspec.structs.replace(verified, executed=str(executed))
    store.put(verified)
    return verified


def _data(reference: str, root: Path) -> dict[str, Path]:
    """Return what is here of the data that the image lacks, by where it looks for that.

    What has changed is given all the same: the job says so. Where an image says that its data
    lies above the project, it gets nothing: whoever made it may want what is there.
    """
    listed = docker.contents(reference, ["/app/record/data.json"]).get("/app/record/data.json")
    items = msgspec.json.decode(listed or b"[]", type=list[dict[str, Any]])
    paths = {str(PurePosixPath("/data", item["path"])): root / item["path"] for item in items}
    return {
        where: path for where, path in paths.items() if ".." not in path.parts and path.is_file()
    }


def _here(image: Image) -> str:
    """Return a reference of the image by which the engine has it, or can pull it."""
    if docker.inspect(image.id) is not None:
        return image.id
    if image.digest:
        return f"{image.repository}@{image.digest}"
    raise NotFoundError(
        f"The image {image.repository}:{next(iter(image.tags), '')} is not in the engine here and "
        "was never pushed.",
        "Build it again, or load it: mlrepro build NOTEBOOK --load",
    )
