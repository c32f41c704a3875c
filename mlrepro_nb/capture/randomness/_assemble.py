"""Events about generators, seeds and entropy to a part of the record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from mlrepro_nb.capture.randomness.replay import document
from mlrepro_nb.model import Entropy, GeneratorUse, Randomness, Seed

if TYPE_CHECKING:
    from mlrepro_nb.capture.cells._match import Cells
    from mlrepro_nb.capture.told import Told


def assembled(
    told: Told, cells: Cells, put_blob: Callable[[bytes], str] | None = None
) -> Randomness:
    """Return who was seeded, who drew, and whether each execution was seeded."""
    seeds: list[Seed] = []
    uses: list[GeneratorUse] = []
    entropy: list[Entropy] = []
    verdicts: dict[str, Literal["seeded", "unseeded", "none"]] = {}
    sections: list[dict[str, Any]] = []
    for order in sorted(told.begins):
        did = (told.ends.get(order) or {}).get("randomness") or {}
        index = cells.index(order)
        where: dict[str, Any] = {"cell": index, "execution": order}
        sown = [Seed(**seed, **where) for seed in did.get("seeds", ())]
        seeds += sown
        own = [GeneratorUse(**use, **where) for use in did.get("uses", ())]
        drawn = [Entropy(**_drawn(draw), **where) for draw in did.get("entropy", ())]
        uses += own
        entropy += drawn
        verdicts[str(order)] = _verdict(sown, own, drawn)
        sections.append(
            {
                "digest": told.begins[order]["digest"],
                "cell": index,
                "feed": list(did.get("feed") or ()),
                "states": dict(did.get("states") or {}),
            }
        )
    replay = document(sections)
    return Randomness(
        seeds=tuple(seeds),
        uses=tuple(uses),
        entropy=tuple(entropy),
        cells=verdicts,
        replay=(put_blob(replay) or None) if replay and put_blob else None,
    )


def _drawn(draw: Any) -> dict[str, Any]:
    # Journals of earlier versions hold the source alone.
    return {"source": draw} if isinstance(draw, str) else draw


def _verdict(
    seeds: list[Seed], uses: list[GeneratorUse], entropy: list[Entropy]
) -> Literal["seeded", "unseeded", "none"]:
    if any(seed.source in ("clock", "entropy") for seed in seeds):
        return "unseeded"  # another in each run, whatever is drawn from it later
    own = [use for use in uses if use.by is None and not use.outside]
    if any(not draw.outside for draw in entropy) or any(not use.seeded for use in own):
        return "unseeded"
    return "seeded" if own else "none"
