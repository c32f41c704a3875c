"""Configuration and manifest of the image, as OCI writes them. Pure.

https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from mlrepro_nb.connect import oci
from mlrepro_nb.image._configuration import Configuration, configuration
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders.oci._base import Base
from mlrepro_nb.image.builders.oci._skeleton import FORMAT, Made
from mlrepro_nb.model import canonical, digest_bytes

_INHERITED = ("ExposedPorts", "Volumes", "StopSignal", "Shell")
_SECOND = 1_000_000_000


def compose(plan: Plan, base: Base, layers: Sequence[Made]) -> tuple[bytes, oci.Image]:
    """Return the image's configuration and the image."""
    setup = configuration(plan)
    return _composed(
        base, layers, _date(plan.created), _config(setup, base.configuration.get("config") or {}),
        {**setup.labels, "io.mlrepro.builder": builder(plan)},
    )  # fmt: skip


def compose_below(plan: Plan, base: Base, layers: Sequence[Made]) -> tuple[bytes, oci.Image]:
    """Return an image that is set up as the base image is, but for its folder.

    It says nothing of the record, so that it is the same for all with these dependencies.
    """
    config = {
        **(base.configuration.get("config") or {}), "WorkingDir": configuration(plan).workdir
    }  # fmt: skip
    return _composed(base, layers, _date(""), config, {})


def _composed(
    base: Base, layers: Sequence[Made], created: str, config: Mapping[str, Any],
    annotations: Mapping[str, str],
) -> tuple[bytes, oci.Image]:  # fmt: skip
    settings = canonical(_configuration(base, layers, created, config))
    configured = oci.Descriptor(
        media_type=oci.CONFIG, digest=digest_bytes(settings), size=len(settings)
    )
    descriptors = [oci.as_oci(layer) for layer in base.image.layers]
    descriptors += [
        oci.Descriptor(media_type=oci.GZIP, digest=m.layer.digest, size=m.layer.size)
        for m in layers
    ]
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": oci.MANIFEST,
            "config": msgspec.to_builtins(configured),
            "layers": msgspec.to_builtins(descriptors),
            **({"annotations": annotations} if annotations else {}),
        }
    )
    return settings, oci.Image(
        manifest=manifest, configuration=configured, layers=tuple(descriptors)
    )


def builder(plan: Plan) -> str:
    """Return what, besides the plan, the digests depend on."""
    compiled = f"; cpython {plan.python.rstrip('+')}" if plan.bytecode else ""
    return f"oci/{FORMAT}; {oci.COMPRESSOR}{compiled}"


def _configuration(
    base: Base, layers: Sequence[Made], created: str, config: Mapping[str, Any]
) -> dict[str, Any]:
    below = base.configuration
    found = {
        "architecture": below["architecture"],
        "os": below["os"],
        "created": created,
        "config": config,
        "rootfs": {
            "type": "layers",
            "diff_ids": [
                *below["rootfs"]["diff_ids"],
                *(made.layer.diff_id for made in layers),
            ],
        },
        "history": [
            *_history(below, len(base.image.layers)),
            *({"created": created, "created_by": f"mlrepro build: {m.title}"} for m in layers),
        ],
    }
    if variant := below.get("variant"):
        found["variant"] = variant
    return found


def _date(text: str) -> str:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        found = datetime.fromtimestamp(oci.EPOCH, timezone.utc)
    if found.tzinfo is None:
        found = found.replace(tzinfo=timezone.utc)
    return found.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _history(below: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the base's history; one entry a layer where it does not fit its layers."""
    found = list(below.get("history") or ())
    if sum(not entry.get("empty_layer") for entry in found) == count:
        return found
    return [{"created_by": "the base image"} for _ in range(count)]


def _config(setup: Configuration, below: Mapping[str, Any]) -> dict[str, Any]:
    variables = dict(entry.partition("=")[::2] for entry in below.get("Env") or ())
    path = [*setup.path, *([variables["PATH"]] if variables.get("PATH") else [])]
    variables["PATH"] = ":".join(path)
    variables |= setup.variables
    found: dict[str, Any] = {key: below[key] for key in _INHERITED if below.get(key)}
    found |= {
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Labels": {**(below.get("Labels") or {}), **setup.labels},
        "User": setup.user,
        "WorkingDir": setup.workdir,
        "Entrypoint": list(setup.entrypoint),
    }
    if setup.port:
        found["ExposedPorts"] = {**(found.get("ExposedPorts") or {}), f"{setup.port}/tcp": {}}
    # Docker's own; the specification has no probe, and other engines leave it out.
    found["Healthcheck"] = {"Test": ["NONE"]}
    if probe := setup.probe:
        found["Healthcheck"] = {
            "Test": ["CMD", *probe.command],
            "Interval": probe.interval * _SECOND,
            "Timeout": probe.timeout * _SECOND,
            "StartPeriod": probe.start * _SECOND,
            "Retries": probe.retries,
        }
    return found
