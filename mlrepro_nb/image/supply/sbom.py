"""The bill of materials: CycloneDX 1.6 JSON, made from the plan, not by a scanner.

Pure but for the licences, which are those that the metadata of the distributions
installed here names, in the recorded version. The same plan and image give the
same bytes: its serial number is made of its content, its date is the plan's.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from mlrepro_nb.capture import secrets
from mlrepro_nb.errors import ToolError
from mlrepro_nb.image import _lock
from mlrepro_nb.image._closure import normal
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.supply.origin import base_purl, plain_url, record_of
from mlrepro_nb.image.supply.packages import Package, System
from mlrepro_nb.model import Distribution, Environment, canonical, digest_bytes

if TYPE_CHECKING:
    from cyclonedx.model import HashType, Property
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://mlrepro.io/sbom/v1")
_ALGORITHMS = {"sha256": "SHA_256", "sha512": "SHA_512", "blake3": "BLAKE3", "md5": "MD5"}

Licence = Callable[[Distribution], str | None]
"""Returns what a distribution's metadata says of its licence."""


def installed_licence(distribution: Distribution) -> str | None:
    """Return the licence that the metadata names, where that version is installed here."""
    from importlib import metadata

    try:
        found = metadata.distribution(distribution.name)
        # An email message, whatever the type says that importlib gives it.
        told: Any = found.metadata if found.version == distribution.version else None
    except (metadata.PackageNotFoundError, KeyError, ValueError):
        return None
    if told is None:
        return None
    named = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier") or ()
             if c.startswith("License ::") and c != "License :: OSI Approved"]  # fmt: skip
    free = str(told.get("License") or "").strip()
    # Some put the licence's whole text there.
    short = free if free and "\n" not in free and len(free) < 100 and free != "UNKNOWN" else None
    return told.get("License-Expression") or short or (" AND ".join(named) or None)


def sbom(
    plan: Plan, system: System | None = None, *, licence: Licence = installed_licence
) -> bytes:
    """Return the bill of materials of a plan's image.

    Parameters
    ----------
    system
        What of the operating system's packages, and of Python in the base image, the image has,
        once it was built.
        Without, those are listed that owned a shared library of the recorded run,
        and marked so.

    Raises
    ------
    ToolError
        cyclonedx-python-lib is not installed.
    """
    try:
        from cyclonedx.model.bom import Bom, BomMetaData
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError as error:
        raise ToolError(
            "A bill of materials needs cyclonedx-python-lib, which is not installed.",
            "pip install 'mlrepro-nb[containers]' brings it.",
            tool="cyclonedx",
        ) from error
    environment = record_of(plan).environment
    main = _notebook(plan)
    python = list(_distributions(plan, environment, licence))
    beside = [
        *_base(plan),
        *_model(plan),
        *_data(plan),
        *_system(environment, _with_packages(plan, system)),
    ]
    made = Bom(
        components=[*python, *beside],
        metadata=BomMetaData(component=main, timestamp=_date(plan.created), tools=_tools()),
        serial_number=_SPACE,
    )
    made.register_dependency(main, [*python, *beside])
    document = json.loads(JsonV1Dot6(made).output_as_string())
    document = secrets.scrub(_ordered(document))
    # Its own number, of all the rest.
    del document["serialNumber"]
    number = uuid.uuid5(_SPACE, digest_bytes(canonical(document)))
    return canonical({**document, "serialNumber": f"urn:uuid:{number}"})


def _ordered(value: Any) -> Any:
    """Return a document whose lists do not depend on the order in which they were made."""
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((_ordered(item) for item in value), key=lambda item: json.dumps(
            item, sort_keys=True
        ))  # fmt: skip
    return value


def _tools() -> Any:
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository

    from mlrepro_nb import __version__

    own = Component(type=ComponentType.APPLICATION, name="mlrepro-nb", version=__version__)
    return ToolRepository(components=[own])


def _date(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        found = datetime.fromtimestamp(0, timezone.utc)
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _hash(digest: str) -> HashType:
    from cyclonedx.model import HashAlgorithm, HashType

    algorithm, _, content = digest.partition(":")
    return HashType(alg=HashAlgorithm[_ALGORITHMS[algorithm]], content=content)


def _hashes(digests: Iterable[str | None]) -> list[HashType]:
    known = {d for d in digests if d and d.partition(":")[0] in _ALGORITHMS}
    return [_hash(digest) for digest in sorted(known)]


def _properties(values: Mapping[str, str | None]) -> list[Property]:
    from cyclonedx.model import Property

    return [Property(name=f"mlrepro:{name}", value=v) for name, v in sorted(values.items()) if v]


def _notebook(plan: Plan) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    record = record_of(plan)
    return Component(
        type=ComponentType.APPLICATION,
        name=plan.notebook,
        version=plan.version,
        bom_ref=f"notebook:{plan.notebook}",
        hashes=_hashes([record.results.notebook]),
        properties=_properties(
            {
                "commit": plan.commit,
                "dirty": "true" if plan.dirty else None,
                "kind": plan.kind,
                "lock": digest_bytes(plan.lock.encode()) if plan.lock is not None else None,
                "record": plan.record,
                "run": plan.run,
                "source": plain_url(plan.source) if plan.source else None,
            }
        ),
    )


def _distributions(plan: Plan, environment: Environment, licence: Licence) -> Iterable[Component]:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    recorded = {normal(d.name): d for d in environment.distributions}
    locked = {pin.name: pin.hashes for pin in _lock.parse(plan.lock or "")[1]}
    names = {normal(re.split(r"==| @ ", pin)[0]): pin for pin in plan.pins}
    chosen = {name: recorded[name] for name in names if name in recorded}
    # A pin that the record does not name was put into the plan by other means.
    chosen |= {
        name: Distribution(name=name, version=pin.partition("==")[2])
        for name, pin in names.items()
        if name not in recorded
        or ("==" in pin and recorded[name].version != pin.partition("==")[2])
    }
    chosen |= {normal(d.name): d for d in plan.local}
    for name, found in sorted(chosen.items()):
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=found.version,
            bom_ref=f"pypi:{name}",
            purl=PackageURL("pypi", None, name, found.version, qualifiers=_origin(found)),
            hashes=_hashes(f"sha256:{h}" for h in locked.get(name, ())),
            licenses=_licences(licence(found)),
            properties=_properties(
                {
                    "imported": "true" if found.imported else None,
                    "origin": found.origin,
                    "commit": found.commit,
                }
            ),
        )
    for pin in _lock.parse(plan.lab or "")[1]:
        # A notebook image's second environment, JupyterLab's own.
        yield Component(
            type=ComponentType.LIBRARY,
            name=pin.name,
            version=pin.version,
            bom_ref=f"pypi:{pin.name}#jupyterlab",
            purl=PackageURL("pypi", None, pin.name, pin.version),
            hashes=_hashes(f"sha256:{h}" for h in pin.hashes),
            properties=_properties({"environment": "jupyterlab"}),
        )


def _origin(distribution: Distribution) -> dict[str, str]:
    """Return where a distribution comes from, for its package URL; never a path of a machine."""
    source = distribution.source or ""
    if distribution.origin == "git" and "://" in source:
        at = f"@{distribution.commit}" if distribution.commit else ""
        return {"vcs_url": f"git+{plain_url(source)}{at}"}
    if source.startswith(("https://", "http://")):
        return {"download_url": plain_url(source)}
    return {}


def _licences(text: str | None) -> list[License]:
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(secrets.mask(text))] if text else []


def _base(plan: Plan) -> Iterable[Component]:
    from cyclonedx.model.component import Component, ComponentType

    yield Component(
        type=ComponentType.CONTAINER,
        name=plan.base.partition("@")[0],
        version=plan.base_digest,
        bom_ref="base",
        purl=base_purl(plan),
        hashes=_hashes([plan.base_digest]),
    )


def _model(plan: Plan) -> Iterable[Component]:
    from cyclonedx.model.component import Component, ComponentType

    for model in record_of(plan).results.models:
        if model.digest and model.digest == plan.model:
            yield Component(
                type=ComponentType.MACHINE_LEARNING_MODEL,
                name=model.name,
                version=model.version or model.model_id,
                bom_ref=f"model:{model.uri}",
                hashes=_hashes([model.digest]),
                properties=_properties({"uri": plain_url(model.uri), "flavor": model.flavor}),
            )
            return


def _data(plan: Plan) -> Iterable[Component]:
    from cyclonedx.model.component import Component, ComponentType

    for path, digest in sorted(plan.data.items()):
        name = plain_url(path)
        yield Component(
            type=ComponentType.DATA, name=name, bom_ref=f"data:{name}", hashes=_hashes([digest])
        )


def _with_packages(plan: Plan, system: System | None) -> System | None:
    """Return what an image has; what the plan puts in it is in, wherever its lists are read."""
    if system is None or system.kind != "deb":
        return system
    added = {Package(name=p.name, version=p.version, architecture=p.architecture)
             for p in plan.packages}  # fmt: skip
    return msgspec.structs.replace(system, packages=tuple(sorted({*system.packages, *added})))


def _system(environment: Environment, system: System | None) -> Iterable[Component]:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    if system is None:
        kinds = {"debian": "deb", "ubuntu": "deb", "alpine": "apk"}
        recorded = environment.system
        owners = {(lib.package, lib.version or "") for lib in environment.libraries if lib.package}
        for name, version in sorted(owners):
            kind = kinds.get(recorded.name.lower(), "generic")
            yield Component(
                type=ComponentType.LIBRARY,
                name=name,
                version=version or None,
                bom_ref=f"{kind}:{name}",
                purl=PackageURL(kind, recorded.name.lower() if kind != "generic" else None, name,
                                version or None),
                properties=_properties({"seen": "owned a library of the recorded run"}),
            )  # fmt: skip
        return
    distro = f"{system.name}-{system.version}" if system.version else system.name
    yield Component(
        type=ComponentType.OPERATING_SYSTEM,
        name=system.name,
        version=system.version or None,
        bom_ref="system",
    )
    for package in system.packages:
        qualifiers = {"distro": distro}
        if package.architecture:
            qualifiers["arch"] = package.architecture
        yield Component(
            type=ComponentType.LIBRARY,
            name=package.name,
            version=package.version,
            bom_ref=f"{system.kind}:{package.name}:{package.architecture}",
            purl=PackageURL(
                system.kind, system.name, package.name, package.version, qualifiers=qualifiers
            ),
            properties=_properties({"seen": "listed by the image"}),
        )
    for package in system.python:
        yield Component(
            type=ComponentType.LIBRARY,
            name=package.name,
            version=package.version,
            bom_ref=f"pypi:{package.name}#base",
            purl=PackageURL("pypi", None, package.name, package.version),
            properties=_properties({"environment": "the base image's Python"}),
        )
