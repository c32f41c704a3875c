"""What a person sees: the tour in a real JupyterLab, its lineage, its container image."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb import lineage
from mlrepro_nb.connect import registry as door
from mlrepro_nb.store import Store
from tests.browser.conftest import PATIENCE, Lab, Notebook, html_text, with_cells
from tests.conftest import git

pytestmark = pytest.mark.browser
TOUR = "00-tour.ipynb"
SMALL = {
    "nbformat": 4, "nbformat_minor": 5, "cells": [],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}},
}  # fmt: skip


def node(page: Any, kind: str, text: str = "") -> Any:
    return page.locator(f".lg-node[data-type={kind}]").filter(has_text=text).first


@pytest.fixture
def small(lab: Lab, page: Any) -> Notebook:
    """A notebook that runs in a moment, open and run."""
    name = f"small-{uuid.uuid4().hex[:6]}.ipynb"
    path = lab.folder / name
    path.write_text(json.dumps(SMALL), encoding="utf-8")
    with_cells(
        path,
        "%load_ext mlrepro_nb",
        "import csv\nwines = list(csv.DictReader(open('data/wine.csv')))",
        "%%mlrepro record --name count\nopen('count.txt', 'w').write(str(len(wines)))",
        "%mlrepro lineage",
        "%mlrepro containerize",
    )
    git(lab.folder, "add", ".")
    git(lab.folder, "commit", "-qm", "small")
    notebook = Notebook(page, lab, name)
    notebook.open()
    notebook.run_all()
    page.wait_for_selector(".mlrepro-lineage .lg-node")
    page.wait_for_selector(".mlrepro-build")
    return notebook


def test_the_tour_is_run_drawn_and_containerized(
    lab: Lab, page: Any, artifacts: Path, engine: str, base_image: str, registry: str
) -> None:
    # An earlier run's tags would not be moved.
    reference = f"{registry}/browser/tour-{uuid.uuid4().hex[:8]}"
    with_cells(lab.folder / TOUR, "%mlrepro lineage", "%mlrepro containerize")
    git(lab.folder, "commit", "-qam", "Draw and containerize")
    tour = Notebook(page, lab, TOUR)
    tour.open()
    tour.run_all()

    # The chain, as the person who trained the model sees it.
    page.wait_for_selector(".mlrepro-lineage .lg-node")
    for kind, text in (
        ("commit", git(lab.folder, "rev-parse", "HEAD")[:12]), ("notebook", TOUR),
        ("data", "data/wine.csv"), ("cell", "train (cell 10)"), ("run", "MLflow"),
        ("model", "wine-classifier"), ("record", ""),
    ):  # fmt: skip
        assert node(page, kind, text).count() == 1, (kind, text)
    node(page, "cell", "train").click()
    side = page.locator(".lg-side")
    assert "LogisticRegression" in side.inner_text()
    assert "lg-kin" in (node(page, "commit").get_attribute("class") or "")
    tour.shot(".mlrepro-lineage", artifacts / "lab-tour-lineage.png")

    # The form, filled from the record, builds and pushes a real image.
    form = page.locator(".mlrepro-build")
    form.get_by_label("Base image").fill(base_image)
    form.get_by_label("Repository").fill(reference)
    form.get_by_label("Version tag").fill("1.0.0")
    form.get_by_label("Build from uncommitted changes").check()
    page.wait_for_function(
        "base => document.querySelector('.mb-panel').textContent.includes(base)", arg=base_image
    )
    tour.shot(".mlrepro-build", artifacts / "lab-tour-form.png")
    form.get_by_role("button", name="Build and push").click()
    page.wait_for_selector(".mb-status progress")
    assert form.get_by_role("button", name="Build", exact=True).is_disabled()
    tour.shot(".mlrepro-build", artifacts / "lab-tour-building.png")
    page.wait_for_selector(".mb-done, .mb-error", timeout=3 * PATIENCE)
    tour.shot(".mlrepro-build", artifacts / "lab-tour-built.png")
    assert form.locator(".mb-error").all_inner_texts() == []

    # From the digest of the pushed image alone, on this machine and on any other.
    tags = form.locator(".mb-status code").all_inner_texts()
    version = next(tag for tag in tags if tag.startswith(f"{reference}:1.0.0"))
    digest = door.resolve(version)
    assert digest in tags
    for store in (Store.find(lab.folder), Store(lab.folder.parent / "elsewhere")):
        found = lineage.trace(f"{reference}@{digest}", store=store)
        assert found.holds
        assert {"commit", "data", "run", "cell", "record"} <= {n.type for n in found.nodes}
    (artifacts / "tour-lineage.html").write_text(
        lineage.to_html(lineage.trace(digest, store=Store.find(lab.folder))), encoding="utf-8"
    )


def test_the_graph_answers_mouse_and_keyboard(small: Notebook, page: Any, artifacts: Path) -> None:
    assert node(page, "record").get_attribute("aria-pressed") == "true"
    node(page, "data", "wine.csv").click()
    assert page.locator(".lg-side h3").inner_text() == "data/wine.csv"
    made_of_it, beside_it = node(page, "data", "count.txt"), node(page, "agent")
    assert "lg-kin" in made_of_it.get_attribute("class")
    assert "lg-kin" not in beside_it.get_attribute("class")
    page.locator(".lg-copy").first.click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("blake3:")
    small.shot(".mlrepro-lineage", artifacts / "lab-lineage-light.png")

    node(page, "data", "wine.csv").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.type") == "cell"
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.lg-side .lg-kind').textContent === 'cell'")
    page.keyboard.press("Escape")
    page.wait_for_function("document.querySelector('.lg-picked') === null")
    assert page.locator(".jp-Notebook").count() == 1, "no shortcut of JupyterLab was meant"

    before = page.locator(".lg-svg > g").get_attribute("transform")
    page.get_by_role("button", name="Zoom in").click()
    assert page.locator(".lg-svg > g").get_attribute("transform") != before


def test_the_previews_follow_the_form_and_an_error_is_told(
    small: Notebook, page: Any, artifacts: Path
) -> None:
    form = page.locator(".mlrepro-build")
    assert form.get_by_label("Kind").locator("option[disabled]").inner_text().startswith("Service")
    form.get_by_label("Memory").fill("3Gi")
    form.get_by_label("Namespace").fill("wines")
    form.get_by_role("tab", name="manifests.yaml").click()
    page.wait_for_function(
        "['3Gi', 'namespace: wines'].every("
        "text => document.querySelector('.mb-panel').textContent.includes(text))"
    )
    tabs = form.get_by_role("tab").all_inner_texts()
    page.keyboard.press("ArrowLeft")
    before = tabs[tabs.index("manifests.yaml") - 1]
    assert form.get_by_role("tab", selected=True).inner_text() == before
    form.get_by_label("Repository").fill("NOT A NAME")
    page.wait_for_function("document.querySelector('.mb-warn').textContent.includes('NOT A NAME')")
    form.get_by_role("button", name="Build", exact=True).click()
    page.wait_for_selector(".mb-error")
    small.shot(".mlrepro-build", artifacts / "lab-form-error.png")
    for field in form.locator("input, select").all():
        assert field.evaluate("field => field.labels.length") == 1


def test_it_fits_dark_themes_and_narrow_windows(
    small: Notebook, page: Any, artifacts: Path
) -> None:
    page.evaluate(
        "window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    small.shot(".mlrepro-lineage", artifacts / "lab-lineage-dark.png")
    small.shot(".mlrepro-build", artifacts / "lab-form-dark.png")
    page.set_viewport_size({"width": 700, "height": 1000})
    page.wait_for_selector(".mlrepro-lineage.lg-narrow")
    page.wait_for_selector(".mlrepro-build.mb-narrow")
    small.shot(".mlrepro-lineage", artifacts / "lab-lineage-narrow.png")
    small.shot(".mlrepro-build", artifacts / "lab-form-narrow.png")
    for name in (".mlrepro-lineage", ".mlrepro-build"):
        assert page.locator(name).evaluate("e => e.scrollWidth <= e.clientWidth + 1")


def test_a_saved_notebook_shows_the_picture_without_a_kernel(
    small: Notebook, page: Any, artifacts: Path
) -> None:
    assert page.locator(".mlrepro-static:visible").count() == 0, "the live view stands alone"
    saved = small.save()
    outputs = [o for cell in saved["cells"] for o in cell.get("outputs", ())]
    types = [mime for o in outputs for mime in o.get("data", ())]
    ours = [mime for mime in types if mime.startswith("application/vnd.mlrepro.")]
    assert len(ours) >= 4

    page_html = html_text(saved)
    assert "data:image/svg+xml;base64," in page_html
    path = artifacts / "saved-notebook.html"
    path.write_text(page_html, encoding="utf-8")
    other = page.context.new_page()
    other.goto(path.as_uri())
    assert other.locator(".mlrepro-static img").is_visible()
    assert other.locator(".mlrepro-static summary", has_text="Containerfile").is_visible()
    other.screenshot(path=str(artifacts / "saved-notebook.png"), full_page=True)
    other.close()

    small.command("kernelmenu:shutdown")
    page.goto("about:blank")
    page.goto(f"{small.lab.url}/lab/tree/{small.path}?reset&token={small.lab.token}")
    page.wait_for_selector(".mlrepro-static img")
    assert page.locator(".mlrepro-static img").is_visible()
    page.screenshot(path=str(artifacts / "lab-reopened.png"))
