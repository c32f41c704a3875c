"""What an image is set up to do, whoever builds it. Pure.

The Containerfile and the daemonless builder are both made from this: a setting
that only one of them had would make two different images of one plan.
"""

from __future__ import annotations

import msgspec

from mlrepro_nb.image._names import commit_tag as _commit_tag
from mlrepro_nb.image._names import tags as _tags
from mlrepro_nb.image._places import LAB as LAB
from mlrepro_nb.image._places import LAB_PORT, RESULTS, WORK
from mlrepro_nb.image._places import VENV as VENV
from mlrepro_nb.image._plan import UNNAMED, USER, Plan
from mlrepro_nb.image.data import FOLDER, few
from mlrepro_nb.model import canonical, digest_text

PORT = 8080
LOCAL = "/opt/local"
"""Where the distributions are that come from no index: they change more often."""
PTH = "mlrepro-local.pth"
"""File in the environment's site-packages by which it finds `LOCAL`."""
WORKDIR = "/app"
NOT_COMPILED = r"/tests?/"
"""Paths whose modules stay without bytecode: packages' own tests, a third of all in the
usual ones, which nothing in an image imports."""
_DATA_LABEL_LIMIT = 4096

LAYERS = (
    ("bulk", "/app/project/"), ("data", "/app/project/"), ("model", "/app/model/"),
    ("code", "/app/project/"), ("record", "/app/record/"),
)  # fmt: skip
"""Folders of the build context and where they go, those that change least first."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """How a container is asked whether it is well; times in seconds."""

    command: tuple[str, ...]
    interval: int = 30
    timeout: int = 5
    start: int = 120
    retries: int = 3


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What a container of the image runs, as whom, with which settings."""

    path: tuple[str, ...] = (f"{VENV}/bin", f"{LOCAL}/bin")
    """What comes before the base image's PATH."""
    variables: dict[str, str]
    writable: tuple[str, ...] = ()
    """Folders that any user may write to."""
    workdir: str = WORKDIR
    user: str = f"{USER}:{USER}"
    port: int | None = None
    probe: Probe | None = None
    entrypoint: tuple[str, ...]
    labels: dict[str, str]


def configuration(plan: Plan) -> Configuration:
    """Return how the image of a plan is set up."""
    variables = {
        "HOME": "/tmp",
        "USER": "mlrepro",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        **plan.variables,
    }
    # For any user: clusters may choose one, and a tmpfs keeps the mode of what it covers.
    writable: tuple[str, ...] = ()
    port: int | None = None
    path = "/ping"
    if plan.kind == "job":
        variables.setdefault("MLREPRO_RESULTS", RESULTS)
        writable = (RESULTS, FOLDER)
    elif plan.kind == "notebook":
        # The kernel's specification is beside the record; front ends of widgets are
        # where the recorded distributions brought them.
        shared = (f"{WORKDIR}/record", f"{VENV}/share/jupyter", f"{LOCAL}/share/jupyter")
        variables["JUPYTER_PATH"] = ":".join(shared)
        writable = (WORK, FOLDER)
        port, path = LAB_PORT, "/api"
    else:
        port = PORT
    check = (
        "import os, urllib.request as r; "
        f"r.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '{port}') + '{path}', "
        "timeout=4)"
    )
    return Configuration(
        variables=variables,
        writable=writable,
        port=port,
        probe=None if port is None else Probe(command=(f"{VENV}/bin/python", "-c", check)),
        user=f"{plan.user}:{plan.user}",
        entrypoint=entrypoint(plan),
        labels=labels(plan),
    )


def site_packages(plan: Plan, environment: str = VENV) -> str:
    """Return an environment's folder of distributions."""
    major, minor = plan.python.split(".")[:2]
    return f"{environment}/lib/python{major}.{minor}/site-packages"


def fetches(plan: Plan) -> int | None:
    """Return the bytes of data that the image's containers fetch, or find mounted.

    None where they need none; what they can begin without does not count.
    """
    if all(item.optional for item in plan.items):
        return None
    return sum(mount.size or 0 for mount in plan.mounts)


def mounts(plan: Plan) -> str | None:
    """Return, in words, the project's data that containers can only find mounted."""
    # What lies outside of the project the base image may have.
    names = [
        item.path
        for item in plan.items
        if not (item.optional or item.known or item.md5 or item.folder or item.path[0] == "/")
    ]
    return few(names) if names else None


def entrypoint(plan: Plan) -> tuple[str, ...]:
    """Return what a container runs; its arguments follow."""
    return (f"{VENV}/bin/python", "-m", f"mlrepro_nb.image.{plan.kind}")


def tags(plan: Plan) -> tuple[str, ...]:
    """Return the image's tags: version, commit, build."""
    return _tags(version=plan.version, commit=plan.commit, build_id=plan.build_id, dirty=plan.dirty)


def commit_tag(plan: Plan) -> str | None:
    """Return that one of the image's tags that tells its commit."""
    return _commit_tag(plan.commit, dirty=plan.dirty)


def labels(plan: Plan) -> dict[str, str]:
    """Return the image's labels: the record's digest and what a person wants to see at once.

    Nothing of the moment or the machine is in them (the build id is a tag), so
    that the same plan gives the same image.
    """
    data = canonical(plan.data).decode()
    found = {
        "io.mlrepro.record": plan.record,
        "io.mlrepro.kind": plan.kind,
        "io.mlrepro.notebook": plan.notebook,
        "io.mlrepro.run": plan.run,
        "io.mlrepro.cell": None if plan.cell is None else str(plan.cell),
        "io.mlrepro.data": data if plan.data and len(data) <= _DATA_LABEL_LIMIT else None,
        "io.mlrepro.model": plan.model,
        "io.mlrepro.lock": None if plan.lock is None else digest_text(plan.lock),
        "io.mlrepro.lab": None if plan.lab is None else digest_text(plan.lab),
        "io.mlrepro.packages": digest_text(plan.package_lock) if plan.packages else None,
        "io.mlrepro.fetches": None if fetches(plan) is None else str(fetches(plan)),
        "io.mlrepro.mounts": mounts(plan),
        "io.mlrepro.dirty": "true" if plan.dirty else None,
        "org.opencontainers.image.title": plan.notebook.rpartition("/")[2],
        "org.opencontainers.image.version": plan.version,
        "org.opencontainers.image.revision": plan.commit,
        "org.opencontainers.image.source": plan.source,
        "org.opencontainers.image.created": plan.created,
        "org.opencontainers.image.base.name": None
        if plan.base == UNNAMED
        else plan.base.partition("@")[0],
        "org.opencontainers.image.base.digest": plan.base_digest,
    }
    return {key: value for key, value in found.items() if value}
