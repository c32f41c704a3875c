"""Where the nodes of a picture go: layers from left to right, causes before effects.

The usual four steps (Sugiyama): break cycles, layer by longest path, order each
layer to cross few edges, then set the heights. An edge that only repeats what a
longer path says is not drawn. Pure, and the same for the same lineage.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import msgspec

from mlrepro_nb.lineage.graph import Lineage

NODE_WIDTH = 186
NODE_HEIGHT = 54
COLUMN_GAP = 52
ROW_GAP = 16
MARGIN = 20
_SWEEPS = 12


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A node's left upper corner."""

    id: str
    x: float
    y: float


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """An edge as an SVG path, from the cause on the left to the effect on the right."""

    source: str
    target: str
    relation: str
    path: str


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A picture without its paint."""

    width: float
    height: float
    node_width: float = NODE_WIDTH
    node_height: float = NODE_HEIGHT
    nodes: tuple[Placed, ...]
    edges: tuple[Drawn, ...]


Links = dict[str, set[str]]


def layout(lineage: Lineage) -> Layout:
    """Place the nodes of a lineage and route its edges."""
    names = [node.id for node in lineage.nodes]
    after = essential(lineage)
    rank = _ranks(names, after)
    # Long edges get a place in each layer that they pass, so that they go around nodes.
    chains: dict[tuple[str, str], list[str]] = {}
    neighbours: dict[str, list[str]] = defaultdict(list)
    before: dict[str, list[str]] = defaultdict(list)
    layers: list[list[str]] = [[] for _ in range(max(rank.values(), default=0) + 1)]
    for name in names:
        layers[rank[name]].append(name)
    for left in names:
        for right in sorted(after[left]):
            chain = [left]
            for step in range(rank[left] + 1, rank[right]):
                chain.append(f"\0{left}\0{right}\0{step}")
                layers[step].append(chain[-1])
            chain.append(right)
            chains[left, right] = chain
            for one, next_one in pairwise(chain):
                neighbours[one].append(next_one)
                before[next_one].append(one)
    layers = _ordered(layers, before, neighbours)
    y = _heights(layers, before, neighbours)
    x = [MARGIN + step * (NODE_WIDTH + COLUMN_GAP) for step in range(len(layers))]
    column = {name: x[step] for step, layer in enumerate(layers) for name in layer}
    relation = {}
    for edge in lineage.edges:
        relation[edge.target, edge.source] = relation[edge.source, edge.target] = edge
    drawn = []
    for (left, right), chain in chains.items():
        edge = relation[left, right]
        drawn.append(
            Drawn(
                source=edge.source,
                target=edge.target,
                relation=edge.relation,
                path=_path([(column[name], y[name]) for name in chain]),
            )
        )
    return Layout(
        width=x[-1] + NODE_WIDTH + MARGIN,
        height=max(y.values(), default=0) + NODE_HEIGHT / 2 + MARGIN,
        nodes=tuple(
            Placed(id=name, x=column[name], y=round(y[name] - NODE_HEIGHT / 2, 1)) for name in names
        ),
        edges=tuple(drawn),
    )


def essential(lineage: Lineage) -> Links:
    """Return what follows each node, without the edges that a longer path already says."""
    names = [node.id for node in lineage.nodes]
    return _reduced(_acyclic(names, [(e.target, e.source) for e in lineage.edges]))


def _acyclic(names: list[str], edges: list[tuple[str, str]]) -> Links:
    """Return the edges as links, those that would close a cycle turned round."""
    after: Links = {name: set() for name in names}
    for left, right in edges:
        after[left].add(right)
    state: dict[str, int] = {}
    turned: list[tuple[str, str]] = []
    for start in names:
        if start in state:
            continue
        state[start] = 1
        waiting = [(start, iter(sorted(after[start])))]
        while waiting:
            name, rest = waiting[-1]
            following = next(rest, None)
            if following is None:
                state[name] = 2
                waiting.pop()
            elif state.get(following) == 1:
                turned.append((name, following))
            elif following not in state:
                state[following] = 1
                waiting.append((following, iter(sorted(after[following]))))
    for left, right in turned:
        after[left].discard(right)
    for left, right in turned:
        if not _reaches(after, left, right):
            after[right].add(left)
    return after


def _reaches(after: Links, start: str, end: str) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        for name in after[waiting.pop()]:
            if name == end:
                return True
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return False


def _reduced(after: Links) -> Links:
    """Leave out each edge whose ends a longer path connects as well."""
    kept: Links = {name: set() for name in after}
    for left, rights in after.items():
        for right in rights:
            others = [name for name in rights if name != right]
            if not any(_reaches(after, other, right) for other in others):
                kept[left].add(right)
    return kept


def _ranks(names: list[str], after: Links) -> dict[str, int]:
    """Layer by longest path; what has no cause stands right before its first effect."""
    missing = dict.fromkeys(names, 0)
    for name in names:
        for right in after[name]:
            missing[right] += 1
    causeless = [name for name in names if not missing[name]]
    rank = dict.fromkeys(names, 0)
    waiting = list(causeless)
    while waiting:
        name = waiting.pop(0)
        for right in sorted(after[name]):
            rank[right] = max(rank[right], rank[name] + 1)
            missing[right] -= 1
            if not missing[right]:
                waiting.append(right)
    for name in causeless:
        if after[name]:
            rank[name] = min(rank[right] for right in after[name]) - 1
    lowest = min(rank.values(), default=0)
    return {name: value - lowest for name, value in rank.items()}


def _ordered(
    layers: list[list[str]], before: dict[str, list[str]], after: dict[str, list[str]]
) -> list[list[str]]:
    """Order each layer by where its neighbours are, and keep the best of some sweeps."""
    best, fewest = layers, _crossings(layers, after)
    current = layers
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        forth = sweep % 2 == 0
        current = [list(layer) for layer in current]
        steps = range(1, len(current)) if forth else range(len(current) - 2, -1, -1)
        for step in steps:
            fixed = current[step - 1] if forth else current[step + 1]
            place = {name: n for n, name in enumerate(fixed)}
            links = before if forth else after
            own = {name: n for n, name in enumerate(current[step])}

            def middle(name: str, links=links, place=place, own=own) -> tuple[float, int]:  # type: ignore[no-untyped-def]
                beside = [place[other] for other in links.get(name, ()) if other in place]
                return (sum(beside) / len(beside) if beside else own[name], own[name])

            current[step].sort(key=middle)
        crossings = _crossings(current, after)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in current], crossings
    return best


def _crossings(layers: list[list[str]], after: dict[str, list[str]]) -> int:
    count = 0
    for layer, following in pairwise(layers):
        place = {name: n for n, name in enumerate(following)}
        ends: list[int] = []
        for name in layer:
            own = sorted(place[other] for other in after.get(name, ()) if other in place)
            count += sum(1 for end in own for earlier in ends if earlier > end)
            ends += own
    return count


def _heights(
    layers: list[list[str]], before: dict[str, list[str]], after: dict[str, list[str]]
) -> dict[str, float]:
    """Set heights (of centres) near those of the neighbours, in order and apart."""
    y: dict[str, float] = {}
    for layer in layers:
        y.update(zip(layer, _apart(layer, [0.0] * len(layer)), strict=True))
    for sweep in range(_SWEEPS):
        both = sweep >= _SWEEPS - 4
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = []
            for name in layer:
                links = list(before.get(name, ())) if both or sweep % 2 == 0 else []
                links += list(after.get(name, ())) if both or sweep % 2 else []
                heights = [y[other] for other in links]
                wanted.append(sum(heights) / len(heights) if heights else y[name])
            y.update(zip(layer, _apart(layer, wanted), strict=True))
    top = min(y.values(), default=0) - NODE_HEIGHT / 2
    return {name: round(height - top + MARGIN, 1) for name, height in y.items()}


def _apart(layer: list[str], wanted: list[float]) -> list[float]:
    """Return heights in order, far enough apart, nearest to those wanted (least squares)."""
    offsets, total = [], 0.0
    for number, name in enumerate(layer):
        if number:
            total += (_room(layer[number - 1]) + _room(name)) / 2
        offsets.append(total)
    # Pool adjacent violators: blocks of (sum, count) whose means must not fall.
    blocks: list[tuple[float, int]] = []
    for height, offset in zip(wanted, offsets, strict=True):
        blocks.append((height - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            summed, count = blocks.pop()
            blocks[-1] = (blocks[-1][0] + summed, blocks[-1][1] + count)
    means = [summed / count for summed, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _room(name: str) -> float:
    return 14 if name.startswith("\0") else NODE_HEIGHT + ROW_GAP


def _path(points: list[tuple[float, float]]) -> str:
    """Route an edge through its places: curves between columns, straight across them."""
    (x, y), *rest = points
    x += NODE_WIDTH
    parts = [f"M{x:g},{y:g}"]
    for next_x, next_y in rest:
        bend = (next_x - x) / 2
        parts.append(f"C{x + bend:g},{y:g} {next_x - bend:g},{next_y:g} {next_x:g},{next_y:g}")
        x, y = next_x, next_y
        if (next_x, next_y) != rest[-1]:
            x += NODE_WIDTH
            parts.append(f"H{x:g}")
    return " ".join(parts)
