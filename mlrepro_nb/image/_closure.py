"""Which of the recorded distributions an image needs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mlrepro_nb.capture.environment.closure import Closure, Edges, closure, normal
from mlrepro_nb.errors import UsageError
from mlrepro_nb.image.data import Item
from mlrepro_nb.model import Distribution, Environment

__all__ = [
    "Closure", "Edges", "closure", "compile_only", "fetchers", "normal", "recorded_edges", "roots",
    "trackers",
]  # fmt: skip


def recorded_edges(distribution: Distribution) -> tuple[str, ...] | None:
    """Return the requirements of a distribution as its record has them.

    Of a record of before that has none: as they are installed here in that very version.
    """
    if distribution.requires is not None:
        return distribution.requires
    from email.parser import HeaderParser
    from importlib import metadata

    try:
        found = metadata.distribution(distribution.name)
        text = found.read_text("METADATA")
        if text is None:  # an egg
            return tuple(found.requires or ()) if found.version == distribution.version else None
        # `requires` and `version` would each parse all of it, whole READMEs.
        told = HeaderParser().parsestr(text)
        if told["Version"] != distribution.version:
            return None
        return tuple(told.get_all("Requires-Dist", ()))
    except (metadata.PackageNotFoundError, KeyError, ValueError):
        return None


def roots(kind: str, environment: Environment, model: Mapping[str, str] | None = None) -> list[str]:
    """Return what an image of a kind needs at the least.

    Parameters
    ----------
    model
        Requirements of the served model, by name.
    """
    if kind == "service":
        names = {normal(d.name) for d in environment.distributions}
        mlflow = "mlflow" if "mlflow" in names else "mlflow-skinny"
        # mlflow-skinny serves as well as mlflow does; either way the scoring
        # server reads its input into pandas. The last two are all that our own needs.
        required = [mlflow, "fastapi", "uvicorn", "numpy", "pandas", "msgspec", "rfc8785"]
        own = dict(model or {})
        own.pop("mlflow", None)
        return [*required, *own.values()]
    imported = [d.name for d in environment.distributions if d.imported]
    return [*imported, *loaded(environment), "mlrepro-nb", "ipykernel", "papermill"]


def loaded(environment: Environment, edges: Edges = recorded_edges) -> list[str]:
    """Return what was in the process without being needed, but may have shaped the results.

    A library that finds an optional part installed may compute with it (pandas
    keeps its strings in pyarrow), so that is kept. Left out is what only a
    tracker loaded (mlflow knows polars' frames, polars knows torch's tensors),
    and what its loader names only to be tested or built (scikit-learn's pytest).
    """
    recorded = {d.name: d for d in environment.distributions}
    kept = {d.name for d in environment.distributions if d.imported} - _TRACKERS
    waiting = {d.name: d for d in environment.distributions if d.loaded_by}
    found: list[str] = []
    while True:
        more = [
            name
            for name, distribution in waiting.items()
            if any(
                loader in kept and not _for_development(edges(recorded[loader]), name)
                for loader in distribution.loaded_by
            )
        ]
        if not more:
            return sorted(found)
        for name in more:
            del waiting[name]
        kept |= set(more)
        found += more


def compile_only(
    kind: str, chosen: Iterable[Distribution], asked: Iterable[str], environment: Environment
) -> dict[str, tuple[str, ...]]:
    """Return what has to be compiled of those distributions that an image imports not all of.

    To compile takes most of a build. What is imported all the same Python compiles whenever it
    starts: that costs time and changes nothing.

    Parameters
    ----------
    asked
        What is in the image because the project or a program in it wants it, not the run.

    Returns
    -------
    dict
        By distribution, packages in it. There are none where nothing imports it, as far as is
        known; a distribution that is not named is imported by more than the run, or nobody
        looked at what the run imported of it.
    """
    wanted = closure(asked, environment, recorded_edges).distributions
    whole = _SHARED | _IMPORTED[kind] | {d.name for d in wanted}
    found = {}
    for distribution in chosen:
        if distribution.name not in whole:
            packages = _packages(distribution, environment)
            if packages or not (distribution.imported or distribution.modules):
                found[distribution.name] = packages
    return found


def _packages(distribution: Distribution, environment: Environment) -> tuple[str, ...]:
    """Return the packages that were loaded below its top-level ones, other owners' too."""
    tops = distribution.modules
    return tuple(name for name in environment.packages if name.partition(".")[0] in tops)


_SHARED_NAMES = """
attrs click cloudpickle msgspec packaging psutil python-dateutil pyyaml rfc8785 six threadpoolctl
typing-extensions
"""
_SHARED = frozenset(_SHARED_NAMES.split())
"""What a kernel has for itself: a record does not tell whether libraries imported it, too."""
_KERNEL_NAMES = """
asttokens blake3 certifi charset-normalizer comm debugpy decorator entrypoints exceptiongroup
executing fastjsonschema idna ipykernel ipython ipython-pygments-lexers jsonschema
jsonschema-specifications jupyter-client jupyter-core matplotlib-inline mlrepro-nb nbclient nbformat
nest-asyncio nest-asyncio2 nvidia-ml-py papermill pexpect platformdirs ptyprocess pure-eval pygments
pyzmq referencing requests rich rpds-py stack-data tenacity tornado traitlets urllib3
"""
_KERNEL = frozenset(_KERNEL_NAMES.split())
_IMPORTED = {
    "job": _KERNEL,
    "notebook": _KERNEL | {"jedi", "parso"},
    # Of mlrepro-nb a service imports a few small modules of hundreds.
    "service": frozenset({"anyio", "h11", "idna", "prometheus-client", "starlette", "uvicorn"}),
}
"""What an image imports whatever its notebook is, as running some showed; tests run them again."""


_FILE_SYSTEMS = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
    "azure": "adlfs", "hdfs": "pyarrow", "ssh": "sshfs", "webdav": "webdav4", "oss": "ossfs",
}  # fmt: skip
"""The distribution by which fsspec reads from a kind of remote."""


def fetchers(items: Iterable[Item], environment: Environment, notes: list[str]) -> list[str]:
    """Return the distributions that fetching the data needs beside our own."""
    places = {place for item in items for place in (*item.urls, item.remote or "")}
    schemes = sorted({place.partition("://")[0] for place in places if "://" in place})
    recorded = {normal(d.name) for d in environment.distributions}
    found: list[str] = []
    for scheme in schemes:
        wanted = _FILE_SYSTEMS.get(scheme)
        if wanted is not None and wanted in recorded:
            found += [wanted, *(["fsspec"] if "fsspec" in recorded else [])]
        elif wanted is not None:
            notes.append(
                f"Data is at {scheme}://, which a container reads with {wanted}, and the recorded "
                f"environment lacks that: install it there and record again, or mount the data."
            )
    return found


def trackers(results: str, environment: Environment) -> list[str]:
    """Return the distributions that a job needs to write its results."""
    if results != "mlflow":
        return []
    recorded = {normal(d.name) for d in environment.distributions}
    found = next((name for name in ("mlflow-skinny", "mlflow") if name in recorded), None)
    if found is None:
        raise UsageError(
            "The job's results go to MLflow, which the recorded environment lacks.",
            "pip install mlflow-skinny there and record again, or set another `results` in "
            "[tool.mlrepro].",
        )
    return [found]


_TRACKERS = frozenset({"mlflow", "mlflow-skinny", "mlflow-tracing", "wandb", "comet-ml", "neptune"})
_DEVELOPMENT = re.compile(
    r"(?i)(?:^|[-_.])(?:tests?|testing|dev|devel|develop|development|docs?|lint|typing|mypy|build"
    r"|maintenance|benchmarks?|ci|qa)(?:$|[-_.])"
)


def _for_development(lines: tuple[str, ...] | None, name: str) -> bool:
    """Return whether a distribution names another in extras for its development alone."""
    from packaging.requirements import InvalidRequirement, Requirement

    extras = set()
    for line in lines or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if normal(requirement.name) == name:
            extras |= set(re.findall(r"extra\s*==\s*[\"']([^\"']+)", str(requirement.marker))) or {
                ""
            }
    return bool(extras) and all(_DEVELOPMENT.search(extra) for extra in extras)
