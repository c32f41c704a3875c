"""Which distribution provides a module that cannot be imported, and how that is known.

The record's own environment knows best, then what is installed beside the notebook, then
what the project declares; a table of the well-known names that differ comes after that. What
is only likely is looked up in the wheel that the index has, where the index may be asked.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import msgspec

from mlrepro_nb.connect import releases
from mlrepro_nb.errors import ToolError
from mlrepro_nb.execute.overlay import normal
from mlrepro_nb.verify.attribute._declared import Declared, declared
from mlrepro_nb.verify.attribute._names import DISTRIBUTIONS
from mlrepro_nb.verify.attribute.case import Case

_NAMESPACES = frozenset(
    {"google", "azure", "ruamel", "zope", "jaraco", "backports", "opentelemetry", "sphinxcontrib",
     "nvidia", "aws_cdk", "paste", "plone"}
)  # fmt: skip
"""Packages that many distributions put theirs below: these are named after the path."""
_WINDOWS = re.compile(r"\bcv2\s*\.\s*(?:imshow|namedWindow|waitKey|createTrackbar|selectROI)\b")


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution that has a module."""

    name: str
    version: str | None = None
    """The one that is known to have worked."""
    how: str
    """How it is known, in a clause."""
    declared: str | None = None
    """The project's file that asks for it."""
    requirement: str | None = None
    """What that asks for."""
    exists: bool = True
    """False where the index was asked and has nothing of that name."""

    @property
    def pin(self) -> str:
        """What to give to pip."""
        if self.version is not None:
            return f"{self.name.partition('<')[0]}=={self.version}"
        return self.requirement or self.name


def provider(case: Case, index: int, module: str) -> Provider:
    """Return the distribution that provides a module that a cell imports.

    Parameters
    ----------
    case : Case
        With the record, if there is one; where it `asks`, the index may be asked.
    index : int
        The cell.
    module : str
        The dotted name that was not found, or the distribution's that a library asked for.
    """
    full = _in_full(case, index, module)
    wanted = declared(case.root, case.folder)
    found = _recorded(case, full) or _installed(full)
    if found is None:
        found = _likely(case, full, wanted)
    asked = wanted.get(normal(found.name))
    if asked is None:
        return found
    return msgspec.structs.replace(found, declared=asked.file, requirement=asked.text)


def _in_full(case: Case, index: int, module: str) -> str:
    """Return the longest name below a module that a cell imports.

    ``No module named 'google'`` does not say which of the many packages there it was.
    """
    if module.partition(".")[0] not in _NAMESPACES:
        return module
    flow = case.flow.by_index.get(index)
    names = [*flow.imports.values(), *flow.stars] if flow is not None else []
    return max((n for n in names if n.startswith(f"{module}.")), key=len, default=module)


def _recorded(case: Case, module: str) -> Provider | None:
    """Look it up in the environment of the record."""
    if case.record is None:
        return None
    top = module.partition(".")[0]
    distributions = case.record.environment.distributions
    having = [d for d in distributions if top in d.modules]
    if len(having) > 1:
        names = set(_paths(module))
        having = [d for d in having if d.name in names] or having
    if not having:
        names = {normal(name) for name in _names(module)}
        having = [d for d in distributions if d.name in names]
    if not having:
        return None
    return Provider(
        name=having[0].name, version=having[0].version,
        how=f"the record's environment had it from {having[0].name} {having[0].version}",
    )  # fmt: skip


def _installed(module: str) -> Provider | None:
    """Look it up in the metadata of what is installed for this interpreter."""
    from importlib.metadata import PackageNotFoundError, files, version

    names = _top_levels().get(module.partition(".")[0], [])
    if len(names) > 1 or "." in module:
        path = module.replace(".", "/")

        def has(name: str) -> bool:
            try:
                return any(str(file).startswith((f"{path}/", f"{path}.")) for file in
                           files(name) or ())  # fmt: skip
            except (PackageNotFoundError, OSError):
                return False

        names = [name for name in names if has(name)]
    if not names:
        return None
    try:
        here = version(names[0])
    except PackageNotFoundError:
        return None
    return Provider(name=normal(names[0]), how=f"{names[0]} {here} provides it where mlrepro runs")


@functools.cache
def _top_levels() -> dict[str, list[str]]:
    from importlib.metadata import packages_distributions

    try:
        return {top: sorted(set(names)) for top, names in packages_distributions().items()}
    except Exception:  # noqa: BLE001 - of somebody's broken metadata there is all kind
        return {}


def _likely(case: Case, module: str, wanted: dict[str, Declared]) -> Provider:
    """Take the names that it may go by, and see in the index which of them has it."""
    names = list(_names(module))
    if module.partition(".")[0] == "cv2" and not any(
        _WINDOWS.search(cell.source) for cell in case.cells.values()
    ):
        names.insert(0, "opencv-python-headless")  # needs no libGL, which a server lacks
    # What the project asks for comes first, where it goes by a name that is close.
    top = module.partition(".")[0]
    asked = [w.name for w in wanted.values() if w.name in map(normal, names)]
    asked += [w.name for w in wanted.values() if _core(w.name) == _core(top)]
    names = list(dict.fromkeys([*asked, *names]))
    for name in names if case.asks else ():
        found = _in_index(name, module)
        if found is not None:
            return found
    if case.asks and not asked and not any(_listed(name) for name in names):
        return Provider(
            name=names[0], exists=False,
            how=f"the package index has no distribution {' or '.join(names)}",
        )  # fmt: skip
    named = DISTRIBUTIONS.get(module) or DISTRIBUTIONS.get(top)
    how = (
        f"{asked[0]} is what the project asks for" if asked
        else f"{top} is known to come from {named}" if named is not None
        else "the distribution is taken to have the module's name, which nothing confirms"
    )  # fmt: skip
    return Provider(name=names[0], how=how)


def _in_index(name: str, module: str) -> Provider | None:
    """See whether the newest wheel of a distribution has a module."""
    plain = re.split(r"[<>=!~\[]", name)[0]
    try:
        listed = releases.releases(plain)
        newest = releases.newest(listed or ())
        if newest is None:
            return None
        file = newest.wheel
        if file is None:
            # A placeholder, as `sklearn` is one: nothing shows that it has the module.
            return None
        if not releases.provides(file, module) and not releases.provides(
            file, module.partition(".")[0]
        ):
            return None
    except ToolError:
        return None
    return Provider(
        name=name, how=f"the wheel of {plain} {newest.version} in the package index has it"
    )


def _listed(name: str) -> bool:
    """Whether the index has a distribution; it is taken to where it does not answer."""
    try:
        return releases.files(re.split(r"[<>=!~\[]", name)[0]) is not None
    except ToolError:
        return True


def _names(module: str) -> Iterator[str]:
    """Yield the names that a module's distribution may go by, the likeliest first."""
    parts = module.split(".")
    for count in range(min(len(parts), 4), 0, -1):
        name = ".".join(parts[:count])
        if name in DISTRIBUTIONS:
            yield DISTRIBUTIONS[name]
    if parts[0] in _NAMESPACES:
        yield from _paths(module)
    yield parts[0].replace("_", "-")


def _paths(module: str) -> list[str]:
    """Return the names of distributions that are called after the path of a module."""
    parts = module.lower().replace("_", "-").split(".")
    return ["-".join(parts[:count]) for count in range(min(len(parts), 4), 1, -1)]


def _core(name: str) -> str:
    """Return a name without what names of Python packages begin or end with."""
    plain = re.sub(r"[-_.]", "", name.lower())
    return re.sub(r"^(?:python3?|py)(?=\w{3})|(?<=\w{3})(?:python3?|py)$", "", plain)
