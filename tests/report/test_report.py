import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from etpick.errors import InputError, OutputError
from etpick.evaluation.curves import precision_recall
from etpick.evaluation.metrics import evaluate
from etpick.report import charts, embed
from etpick.report.build import evaluation_report
from etpick.report.page import Report, Section, render, write_report
from etpick.types import ParticleClass, Particles, Tomogram

CLASSES = [ParticleClass("big", 160), ParticleClass("<b>small</b>", 80, "#377eb8")]
HISTORY = [
    {"step": 100, "minutes": 0.5, "loss": 0.7, "validation_f1": None},
    {"step": 200, "minutes": 1.0, "loss": 0.4, "validation_f1": 0.6},
]


class Reader(HTMLParser):
    """Tags with their attributes, open tags, headings and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def some(rng: np.random.Generator, n: int, scored: bool = True) -> Particles:
    names = rng.choice([c.name for c in CLASSES], n)
    return Particles(rng.uniform(4, 40, (n, 3)), names, rng.uniform(size=n) if scored else None)


@pytest.fixture(scope="module")
def material() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    truth = some(rng, 12, scored=False)
    near = Particles(truth.positions + rng.normal(0, 0.8, (12, 3)), truth.classes, rng.uniform(0.5, 1, 12))
    far = some(rng, 8)
    candidates = Particles(
        np.concatenate([near.positions, far.positions]),
        np.concatenate([near.classes, far.classes]),
        np.concatenate([near.scores, 0.7 * far.scores]),  # type: ignore[arg-type,operator]
    )
    return {
        "tomograms": [Tomogram(rng.normal(size=(24, 44, 48)).astype(np.float32), 10.0, "t<1>")],
        "picks": [candidates.select(candidates.scores >= 0.5)],  # type: ignore[operator]
        "candidates": [candidates],
        "truths": [truth],
        "baseline": [some(rng, 30)],
    }


def report_of(material: dict[str, Any], *known: str, **others: Any) -> Report:
    given = {name: material[name] for name in known}
    return evaluation_report(
        "Demo & more",
        material["tomograms"],
        others.pop("picks", material["picks"]),
        CLASSES,
        **given,
        **others,
    )


@pytest.fixture(scope="module")
def full(material: dict[str, Any]) -> str:
    report = report_of(
        material, "candidates", "truths", "baseline", history=HISTORY, thresholds={"big": 0.5},
        provenance={"seed": "7", "<i>model": "a&b"}, notes=["mind <script>alert(1)</script>"],
    )  # fmt: skip
    return render(report)


def test_a_full_report_has_every_section_and_is_well_formed(full: str) -> None:
    page = Reader(full)
    assert page.open == []
    assert page.headings == [
        "Picks in the tomogram", "Precision and recall", "Scores", "What was taken for what",
        "Distance to the truth", "The worst mistakes", "Scores of the candidates", "Training", "How this was made",
    ]  # fmt: skip


def test_the_page_needs_nothing_from_elsewhere(full: str) -> None:
    page = Reader(full)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base"}
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:image/png;base64,", "#"))
    assert re.findall(r"url\((?!#)", full) == []
    assert "@import" not in full
    addresses = re.sub(r'xmlns(:xlink)?="[^"]*"', "", full)
    assert "http:" not in addresses
    assert "https:" not in addresses


def test_names_are_escaped_everywhere(full: str) -> None:
    page = Reader(full)
    assert not {tag for tag, _ in page.tags} & {"b", "i", "script"}
    for text in ("<b>small</b>", "t<1>", "Demo & more", "<i>model", "mind <script>alert(1)</script>"):
        assert text in page.text


def test_the_numbers_shown_are_those_of_the_evaluation(material: dict[str, Any], full: str) -> None:
    result = evaluate(material["picks"], material["truths"], CLASSES, 10.0)
    text = Reader(full).text
    for value in (result.localisation.f1, result.localisation.recall, result.mean_class_f1):
        assert f"{value:.3f}" in text
    assert f"{result.localisation.mean_distance_vx:.2f} voxel" in text


def test_the_baseline_is_judged_at_its_best_threshold(material: dict[str, Any], full: str) -> None:
    baseline, truth = material["baseline"][0], material["truths"]
    kept = [baseline.select(baseline.scores >= t) for t in baseline.scores]
    best = max(evaluate([k], truth, CLASSES, 10.0).localisation.f1 for k in kept)
    assert f"difference of Gaussians: {best:.3f}" in Reader(full).text


def test_without_truth_nothing_is_called_right_or_wrong(material: dict[str, Any]) -> None:
    page = Reader(render(report_of(material, "candidates", thresholds={"big": 0.5})))
    assert page.headings == ["Picks in the tomogram", "Scores of the candidates"]
    for word in ("right", "wrong", "missed", "precision"):
        assert word not in page.text


def test_picks_without_scores_have_no_curve(material: dict[str, Any]) -> None:
    picks = [some(np.random.default_rng(1), 5, scored=False)]
    page = Reader(render(report_of(material, "truths", picks=picks)))
    assert "Precision and recall" not in page.headings
    assert "The worst mistakes" in page.headings


def test_an_empty_result_says_why(material: dict[str, Any]) -> None:
    report = report_of(material, "truths", picks=[Particles.empty()], why_empty="Nothing reached 0.50.")
    page = Reader(render(report))
    assert "Nothing reached 0.50." in page.text
    assert "0 of 12 particles found" in page.text
    alone = evaluation_report("No", [], [], CLASSES)
    assert alone.sections[0].text == ("No particle was picked.",)


def test_lists_of_different_lengths_are_refused(material: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="1 tomograms but 0 lists of truth"):
        report_of(material, truths=[])


def test_writing_refuses_to_replace(tmp_path: Path) -> None:
    report = Report("t", sections=(Section("s"),))
    path = write_report(tmp_path / "new" / "report.html", report)
    assert path.read_text(encoding="utf-8") == render(report)
    with pytest.raises(OutputError, match="exists"):
        write_report(path, report)
    write_report(path, Report("other"), overwrite=True)
    assert "other" in path.read_text(encoding="utf-8")


def test_charts_are_valid_svg_in_the_inks_of_the_page(material: dict[str, Any]) -> None:
    curve = precision_recall(material["candidates"], material["truths"], CLASSES, 10.0).localisation
    nothing = precision_recall([Particles.empty()], material["truths"], CLASSES, 10.0).localisation
    figures = [
        charts.draw_precision_recall(curve, (0.5, 0.5), curve),
        charts.draw_precision_recall(nothing),
        charts.draw_scores(np.array([0.1, 1.0]), None, {"a": 0.5}, {}),
        charts.draw_history(HISTORY),
        charts.draw_history([{"step": 1, "loss": float("nan"), "validation_f1": None}]),
    ]
    for figure in figures:
        text = embed.svg(figure, 'a "chart" <of>')
        root = ElementTree.fromstring(text)
        assert root.attrib["aria-label"] == 'a "chart" <of>'
        assert "width" not in root.attrib
        assert charts.INK not in text
        assert charts.MUTED not in text
        assert "currentColor" in text
        assert "font-family" not in text
        assert "DejaVu" not in text


def test_a_crowd_of_low_scores_does_not_hide_the_others() -> None:
    scores = np.concatenate([np.full(10_000, 0.01), np.full(20, 0.9)])
    axes = charts.draw_scores(scores, None, {}, {}).axes[0]
    assert 20 < axes.get_ylim()[1] < 40
    assert [t.get_text() for t in axes.texts] == ["up to 10000"]


def test_drawing_leaves_no_global_state_and_importing_loads_no_matplotlib() -> None:
    code = (
        "import sys, numpy as np, etpick.report.build as b\n"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules\n"
        "from etpick.report.slices import draw_slices\n"
        "from etpick.types import *\n"
        "draw_slices(Tomogram(np.zeros((8, 8, 8)), 1.0), Particles.empty(), None, [])\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
