"""Which GPUs the run could see, which it used, and how much of each: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlrepro_nb.capture.hardware.frameworks import Held

USUAL_OVERHEAD = 512 * 2**20
"""Bytes that a CUDA context and its libraries take, where it could not be measured."""
_MOST_OVERHEAD = 4 * 2**30
_GROWN = 64 * 2**20
"""Bytes by which a GPU's use must grow to be taken for ours where processes have no names."""

Facts = Sequence[Mapping[str, Any]]


def visible(facts: Facts, value: str | None) -> list[str]:
    """Return the uuids of the GPUs that CUDA numbers 0, 1… under ``CUDA_VISIBLE_DEVICES``.

    CUDA stops at the first entry that names no GPU. Its own order of different GPUs is
    "fastest first"; that of like ones is the machine's, as here.
    """
    if value is None:
        return [str(fact["uuid"]) for fact in facts]
    found: list[str] = []
    for entry in value.split(","):
        name = entry.strip()
        if name.isdecimal():
            match = [str(f["uuid"]) for f in facts if f["index"] == int(name)]
            match = match[:1]  # of a card that is cut into slices, the first
        else:
            match = [
                str(f["uuid"])
                for f in facts
                if name and name.startswith(("GPU-", "MIG-"))
                and (str(f["uuid"]).startswith(name) or f.get("parent") == name)
            ][:1]  # fmt: skip
        if not match or match[0] in found:
            break
        found += match
    return found


def located(facts: Facts, held: Held, seen: Sequence[str]) -> str | None:
    """Return the uuid of the GPU that a framework means."""
    if held.uuid:
        for fact in facts:
            uuid = str(fact["uuid"])
            if held.uuid in (uuid, uuid.partition("-")[2]):
                return uuid
    return seen[held.ordinal] if held.ordinal < len(seen) else None


def gpus(
    facts: Facts,
    *,
    held: Iterable[Held],
    most: Mapping[str, Mapping[str, float]],
    overhead: Mapping[str, int],
    value: str | None,
    late: bool,
) -> list[dict[str, Any]]:
    """Return every GPU with what the run used of it, JSON-able as `model.Gpu`.

    Parameters
    ----------
    facts : sequence
        The GPUs, as the driver told at the start.
    held : iterable of Held
        The most that frameworks held of each.
    most : mapping
        By uuid, the most that samples saw (`sampling.tally.Most.gpus`).
    overhead : mapping
        By uuid, bytes measured beside the allocators.
    value : str or None
        ``CUDA_VISIBLE_DEVICES`` at the time that CUDA read it.
    late : bool
        Whether the run used GPUs before the recording began.
    """
    seen = visible(facts, value)
    by_uuid: dict[str, list[Held]] = {}
    unknown: list[Held] = []
    for one in held:
        uuid = located(facts, one, seen)
        if uuid is None:
            unknown.append(one)
        else:
            by_uuid.setdefault(uuid, []).append(one)
    found = []
    for fact in facts:
        uuid = str(fact["uuid"])
        found.append(
            _gpu(
                fact,
                by_uuid.get(uuid, []),
                most.get(uuid, {}),
                overhead.get(uuid),
                is_visible=uuid in seen,
                late=late,
            )
        )
    return found + [_told(one) for one in unknown]


def beside(
    facts: Facts, held: Iterable[Held], now: Iterable[Mapping[str, Any]], value: str | None,
    *, late: bool,
) -> dict[str, int]:  # fmt: skip
    """Return, by uuid, what CUDA takes beside the pools of the allocators, where that is known."""
    seen, pools = visible(facts, value), dict[str, int]()
    blind = set()
    for one in held:
        uuid = located(facts, one, seen)
        if uuid is not None:
            pools[uuid] = pools.get(uuid, 0) + one.pool
            if not one.pool:
                blind.add(uuid)  # how much it reserved ahead is not known
    begun = {str(fact["uuid"]): fact.get("processes", 0) for fact in facts}
    found = {}
    for reading in now:
        uuid = str(reading["uuid"])
        if uuid not in pools or uuid in blind:
            continue
        taken = reading.get("own")
        if not taken:
            # Nobody else there, before or now: what has grown is ours.
            alone = not begun.get(uuid) and reading.get("processes", 0) <= 1 and not late
            taken = reading.get("grown") if alone else None
        if taken:
            found[uuid] = min(_MOST_OVERHEAD, max(0, taken - pools[uuid]))
    return found


def _gpu(
    fact: Mapping[str, Any], held: list[Held], most: Mapping[str, float], overhead: int | None,
    *, is_visible: bool, late: bool,
) -> dict[str, Any]:  # fmt: skip
    begun = 0 if late else fact.get("processes", 0)
    named = most.get("others") is not None or "own" in most
    others = most.get("others", 0) if named else begun
    own, children = int(most.get("own", 0)), int(most.get("children", 0))
    grown = int(most.get("grown", 0))
    came = most.get("processes", 0) > fact.get("processes", 0) and grown >= _GROWN
    used = bool(held or own or children or (is_visible and not named and came))
    shared = others > 0
    use = None
    if used:
        busy = most.get("busy_samples", 0)
        use = {
            **_memory(held, own, children, grown, overhead, named=named, shared=shared),
            "utilisation": round(most["busy"] / busy, 1) if busy else None,
        }
        use["figure"]["samples"] = int(busy) or use["figure"]["samples"]
    return {
        "product": fact["product"],
        "uuid": fact["uuid"],
        "memory": fact["memory"],
        "compute_capability": fact["compute_capability"],
        "mig": fact["mig"],
        "used": used,
        "index": fact["index"],
        "visible": is_visible,
        "shared": shared,
        "baseline": fact.get("baseline", 0),
        "use": use,
    }


def _memory(
    held: list[Held], own: int, children: int, grown: int, overhead: int | None,
    *, named: bool, shared: bool,
) -> dict[str, Any]:  # fmt: skip
    if held:
        reserved = sum(one.peak for one in held)
        source = "+".join(sorted({one.framework for one in held}))
        sure = overhead is not None and (named or not shared)
        beside = USUAL_OVERHEAD if overhead is None else overhead
        source += "+usual-overhead" if overhead is None else "+nvml"
        return {
            "memory": reserved + beside + children,
            "reserved": reserved,
            "overhead": beside,
            "children": children,
            "figure": _figure(source, "high" if sure else "medium"),
        }
    if own or children:
        return {
            "memory": own + children,
            "children": children,
            "figure": _figure("nvml", "medium"),
        }
    return {"memory": grown, "figure": _figure("nvml-growth", "low" if shared else "medium")}


def _figure(source: str, confidence: str) -> dict[str, Any]:
    return {"source": source, "samples": 1, "confidence": confidence}


def _told(held: Held) -> dict[str, Any]:
    """Return a GPU of which only a framework tells."""
    return {
        "product": held.product or f"{held.framework} device {held.ordinal}",
        "uuid": held.uuid or f"{held.framework}:{held.ordinal}",
        "memory": held.memory,
        "compute_capability": held.compute_capability,
        "used": True,
        "index": None,
        "use": {
            "memory": held.peak + USUAL_OVERHEAD,
            "reserved": held.peak,
            "overhead": USUAL_OVERHEAD,
            "figure": _figure(f"{held.framework}+usual-overhead", "medium"),
        },
    }
