"""A lineage is drawn as text, SVG and a page: readable, escaped, and from values alone."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro_nb import lineage
from mlrepro_nb.lineage import Edge, Lineage, Node
from mlrepro_nb.lineage.svg import elided
from mlrepro_nb.store import Store
from tests.lineage.chain import MANIFEST, put_chain

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg></title><script>alert(1)</script>\"'&\x00\x1b[31m‮\ud800" + "x" * 300


def graph(count: int, edges: list[tuple[int, int]], label: str = "node") -> Lineage:
    """Return a lineage of so many nodes; edges lead from effect to cause."""
    return Lineage(
        target=label,
        focus="n0",
        holds=True,
        nodes=tuple(
            Node(id=f"n{n}", prov="entity", type="data", label=f"{label} {n}", summary=label,
                 detail={"digest": f"sha256:{n:064x}", label: [label, {label: 1.5}]})
            for n in range(count)
        ),
        edges=tuple(
            Edge(source=f"n{a}", target=f"n{b}", relation="used") for a, b in edges if a != b
        ),
        notes=(label,),
    )  # fmt: skip


@pytest.fixture
def chain(store: Store) -> Lineage:
    put_chain(store)
    return lineage.trace(MANIFEST, store=store)


graphs = st.integers(1, 25).flatmap(
    lambda n: st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=60).map(
        lambda pairs: graph(n, pairs)
    )
)


@given(graphs)
@settings(deadline=None, max_examples=150)
def test_no_two_nodes_overlap_and_all_are_in_the_picture(found: Lineage) -> None:
    plan = lineage.layout(found)
    assert [place.id for place in plan.nodes] == [node.id for node in found.nodes]
    for one, two in itertools.combinations(plan.nodes, 2):
        apart_x = abs(one.x - two.x) >= plan.node_width
        apart_y = abs(one.y - two.y) >= plan.node_height
        assert apart_x or apart_y, (one, two)
    for place in plan.nodes:
        assert 0 <= place.x <= plan.width - plan.node_width
        assert 0 <= place.y <= plan.height - plan.node_height
    assert plan == lineage.layout(found)


@given(graphs)
@settings(deadline=None, max_examples=60)
def test_whatever_the_graph_it_is_drawn_and_every_node_is_named(found: Lineage) -> None:
    text = lineage.to_text(found)
    page = lineage.to_html(found)
    drawn = {node.get("data-number") for node in ET.fromstring(lineage.to_svg(found)).iter()}
    assert drawn >= {str(n) for n in range(len(found.nodes))}
    assert found.nodes[0].label in text
    assert all(node.label in page for node in found.nodes)


def test_causes_stand_left_of_effects(chain: Lineage) -> None:
    place = {node.id: node for node in lineage.layout(chain).nodes}
    for edge in chain.edges:
        assert place[edge.target].x < place[edge.source].x, edge


def test_an_edge_that_a_longer_path_implies_is_not_drawn(chain: Lineage) -> None:
    drawn = {(edge.source, edge.target) for edge in lineage.layout(chain).edges}
    (execution, *_) = (n.id for n in chain.of_type("execution"))
    notebooks = {n.id for n in chain.of_type("notebook")}
    assert any((execution, notebook) in {(e.source, e.target) for e in chain.edges}
               for notebook in notebooks)  # fmt: skip
    assert not any((execution, notebook) in drawn for notebook in notebooks)


def test_sixty_nodes_are_still_drawn_apart() -> None:
    found = graph(60, [(n, n // 3) for n in range(1, 60)])
    plan = lineage.layout(found)
    assert len({(place.x, place.y) for place in plan.nodes}) == 60


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.outside: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "srcset") and not (
                value or ""
            ).startswith("#"):
                self.outside.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.handlers.append(name)


@pytest.mark.parametrize("label", ["node", HOSTILE])
def test_the_page_stands_alone_and_names_cannot_break_out_of_it(label: str) -> None:
    page = lineage.to_html(graph(5, [(1, 0), (2, 1), (3, 1), (4, 3)], label))
    page.encode("utf-8", "replace")
    tags = Tags()
    tags.feed(page)
    assert (tags.scripts, tags.outside, tags.handlers) == (1, [], [])
    assert "alert(1)</script>" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_hostile_names_leave_the_svg_and_the_terminal_whole() -> None:
    found = graph(3, [(1, 0), (2, 0)], HOSTILE)
    root = ET.fromstring(lineage.to_svg(found).encode("utf-8", "replace"))
    assert {element.tag for element in root.iter()} <= {
        f"{SVG}{name}" for name in ("svg", "style", "rect", "g", "title", "path", "text")
    }
    text = lineage.to_text(found)
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "‮" not in text


def test_digests_are_whole_in_the_page_and_in_the_terminal(chain: Lineage) -> None:
    page, text = lineage.to_html(chain), lineage.to_text(chain)
    for node in (*chain.of_type("image"), *chain.of_type("record"), *chain.of_type("data")):
        assert f'<code class="copy">{node.detail["digest"]}</code>' in page
        assert node.detail["digest"] in text


def test_every_link_of_the_page_leads_to_a_row(chain: Lineage) -> None:
    page = lineage.to_html(chain)
    wanted = set(re.findall(r'href="#(n\d+)"', page))
    assert wanted == set(re.findall(r'<tr id="(n\d+)"', page))


def test_the_tree_names_each_node_once_and_starts_at_the_target(chain: Lineage) -> None:
    text = lineage.to_text(chain)
    lines = text.splitlines()
    assert lines[0].startswith("image wine:1.2.0")
    assert len(lines) == len(chain.nodes)
    assert "├─ derived from record" in text
    assert "train (cell 3)" in text


def test_what_is_missing_is_dashed_and_said() -> None:
    found = graph(2, [(1, 0)])
    missing = Lineage(
        target="x", focus="n0", holds=True, edges=found.edges,
        nodes=(found.nodes[0], Node(id="n1", prov="entity", type="record", label="r",
                                    present=False)),
    )  # fmt: skip
    assert "stroke-dasharray" in lineage.to_svg(missing)
    assert "(not in this store)" in lineage.to_text(missing)
    assert "not in this store</span>" in lineage.to_html(missing)


@given(st.text(), st.integers(4, 40))
def test_a_cut_label_keeps_its_ends(text: str, room: int) -> None:
    cut = elided(text, room)
    assert len(cut) <= room
    words = " ".join(text.split())
    if len(cut) < len(words) and "…" not in text:
        head, tail = cut.split("…")
        assert words.startswith(head)
        assert words.endswith(tail)
