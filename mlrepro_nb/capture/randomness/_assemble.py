"""Events about generators, seeds and entropy to a part of the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlrepro_nb.model import Entropy, GeneratorUse, Randomness, Seed

if TYPE_CHECKING:
    from mlrepro_nb.capture.cells._match import Cells
    from mlrepro_nb.capture.told import Told


def assembled(told: Told, cells: Cells) -> Randomness:
    """Return who was seeded, who drew, and whether each execution was seeded."""
    seeds: list[Seed] = []
    uses: list[GeneratorUse] = []
    entropy: list[Entropy] = []
    verdicts: dict[str, Literal["seeded", "unseeded", "none"]] = {}
    for order in sorted(told.begins):
        did = (told.ends.get(order) or {}).get("randomness") or {}
        index = cells.index(order)
        seeds += [Seed(**seed, cell=index, execution=order) for seed in did.get("seeds", ())]
        uses += [GeneratorUse(**use, cell=index, execution=order) for use in did.get("uses", ())]
        entropy += [
            Entropy(source=source, cell=index, execution=order)
            for source in dict.fromkeys(did.get("entropy", ()))
        ]
        used = did.get("uses", ())
        if did.get("entropy") or any(not use["seeded"] for use in used):
            verdicts[str(order)] = "unseeded"
        else:
            verdicts[str(order)] = "seeded" if used else "none"
    return Randomness(seeds=tuple(seeds), uses=tuple(uses), entropy=tuple(entropy), cells=verdicts)
