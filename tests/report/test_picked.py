import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from etpick.config import ExclusionConfig, recipe
from etpick.decision import Decision
from etpick.exclusion import AVOID, EDGE, GOLD, MASK, SLAB, Excluded, Masks, Zones
from etpick.ops.calibrate import identity
from etpick.ops.gold import Beads
from etpick.ops.lamella import Plane, Slab
from etpick.picking import Found
from etpick.report.marks import View, busiest_slices, mark, mark_left_out
from etpick.report.page import Report, render
from etpick.report.picked import picking_report
from etpick.report.shading import ZONE_COLORS, zone_map
from etpick.report.slices import draw_view, slab
from etpick.types import ParticleClass, Particles, Tomogram

SHAPE = (30, 40, 50)
CLASSES = (ParticleClass("<b>big</b>", 100, "#e41a1c"), ParticleClass("small", 60, "#377eb8"))
TOMOGRAM = Tomogram(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), 10.0, "t & 1")
CANDIDATES = Particles(
    np.array([[15.0, 20, 10], [15, 12, 30], [16, 30, 40], [2, 20, 25], [15, 20, 25], [15, 20, 27]]),
    np.array(["<b>big</b>", "small", "small", "small", "<b>big</b>", "small"]),
    np.array([0.9, 0.8, 0.1, 0.7, 0.6, 0.05]),
)


def zones(**options: Any) -> Zones:
    avoided = np.zeros(SHAPE, bool)
    avoided[:, 30:, 40:] = True
    return Zones(
        SHAPE, 10.0, ExclusionConfig(edge_A=20, gold_margin_A=30, **options),
        Slab(Plane(5.0, 0.0, 0.0), Plane(26.0, 0.0, 0.0)), Beads(np.array([[15.0, 20, 25]]), np.array([3.0])),
        Masks(avoided=avoided),
    )  # fmt: skip


def found(where: Zones | None, threshold: float = 0.5, **others: Any) -> Found:
    decision = Decision(CLASSES, 10.0, identity(2), (threshold, threshold))
    barred = where.holding(CANDIDATES) if where else Excluded()
    free = CANDIDATES.select(where.of(CANDIDATES.positions) == "") if where else CANDIDATES
    left_out = where.holding(decision.keep(barred.particles)) if where else Excluded()
    return Found(
        decision.keep(free), free, decision, "thresholds of a test", zones=where, excluded=barred, left_out=left_out,
        **others,
    )  # fmt: skip


def report_of(result: Found, **options: Any) -> Report:
    trained_on = {"tomograms": ["t0"], "validation_tomograms": ["t0"]}
    model: Any = SimpleNamespace(classes=CLASSES, config=recipe("fast"), spacing_A=10.0, trained_on=trained_on)
    return picking_report(TOMOGRAM, result, model, {"gold": "True"}, **options)


def test_the_report_shows_what_was_left_out_and_where() -> None:
    report = report_of(found(zones()))
    titles = [s.title for s in report.sections]
    assert titles == [
        "Picks in the tomogram", "Where nothing was picked", "Picks of each class", "Scores of the candidates",
        "How this was made",
    ]  # fmt: skip
    table = report.sections[1].tables[0]
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows == {
        EDGE: ["20 Å", "0", "0"],
        SLAB: ["z 5–26", "1", "1"],
        GOLD: ["1 bead, 30 Å around", "2", "1"],
        AVOID: ["", "1", "0"],
        "all": ["", "4", "2"],
    }
    by_class = [[cell.text for cell in row] for row in report.sections[2].tables[0].rows]
    assert by_class == [["<b>big</b>", "1", "1", "1", "0.50", "100"], ["small", "1", "1", "1", "0.50", "60"]]
    assert [(n.label, n.value) for n in report.numbers if n.label in ("picks", "left out")] == [
        ("picks", "2"), ("left out", "2"),
    ]  # fmt: skip
    assert "Thresholds of a test." in report.sections[3].text[0]


def test_side_views_pass_through_what_was_left_out() -> None:
    report = report_of(found(zones()))
    captions = [picture.caption for picture in report.sections[0].pictures]
    assert captions[-2:] == ["xz, y = 20", "yz, x = 25"]
    assert all(caption.startswith("xy, z = ") for caption in captions[:-2])
    assert {key.label for key in report.sections[0].keys} >= {"left out", EDGE, SLAB, GOLD, AVOID, "small"}


def test_without_zones_nothing_is_said_about_them() -> None:
    report = report_of(found(None), threshold_note="chosen by hand")
    assert [s.title for s in report.sections] == [
        "Picks in the tomogram", "Picks of each class", "Scores of the candidates", "How this was made",
    ]  # fmt: skip
    assert "Chosen by hand." in report.sections[2].text[0]
    assert "left out" not in {number.label for number in report.numbers} | {k.label for k in report.sections[0].keys}


def test_an_empty_result_says_why_and_warnings_stand_on_top() -> None:
    report = report_of(found(zones(), 0.99, why_empty="all lie elsewhere", warning="it looks inverted"))
    assert report.sections[0].text[0] == "all lie elsewhere"
    assert report.notes == ("it looks inverted",)
    assert "every class 0.99" in report.sections[3].pictures[0].caption


def test_the_page_is_whole_escaped_and_needs_nothing_from_elsewhere() -> None:
    page = render(report_of(found(zones())))
    assert "<b>big" not in page
    assert "t &amp; 1" in page
    addresses = re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)
    assert "http:" not in addresses
    assert "https:" not in addresses
    assert page.count("data:image/png;base64,") >= 3
    assert "<script" not in page


@pytest.mark.parametrize("view", [View(0, 15), View(1, 20), View(2, 25)])
def test_the_zones_shaded_are_those_that_exclude(view: View) -> None:
    up, right, names = zone_map(zones(), view)
    assert names.shape == tuple(SHAPE[axis] for axis in view.shown)
    for i, j in np.random.default_rng(0).integers(0, names.shape, (40, 2)):
        place = np.zeros((1, 3))
        place[0, view.axis], place[0, view.shown[0]], place[0, view.shown[1]] = view.index, up[i], right[j]
        assert zones().of(place)[0] == names[i, j]
    assert {EDGE, GOLD} <= set(names.ravel())
    assert (MASK in names) is False


def test_every_zone_has_a_colour_of_its_own() -> None:
    assert set(ZONE_COLORS) == {EDGE, SLAB, GOLD, MASK, AVOID}
    assert len(set(ZONE_COLORS.values())) == 5


@pytest.mark.parametrize(("axis", "shape"), [(0, (40, 50)), (1, (30, 50)), (2, (30, 40))])
def test_sections_are_cut_along_any_axis(axis: int, shape: tuple[int, int]) -> None:
    image = slab(TOMOGRAM, 20, 0, axis)
    assert image.shape == shape
    plane = np.take(TOMOGRAM.data, 20, axis=axis)
    assert np.corrcoef(np.clip(plane, *np.percentile(plane, [1, 99])).ravel(), image.ravel())[0, 1] > 0.999


def test_circles_of_a_side_view_lie_where_the_particles_are() -> None:
    marks = mark(CANDIDATES, None, CLASSES, 10.0) + mark_left_out(CANDIDATES.select([3]), CLASSES, 10.0)
    figure = draw_view(TOMOGRAM, marks, CLASSES, View(1, 20), zones())
    circles = {
        (float(x), float(y)): float(width)
        for collection in figure.axes[0].collections
        if hasattr(collection, "get_widths")
        for (x, y), width in zip(np.asarray(collection.get_offsets()), collection.get_widths(), strict=True)
    }
    assert circles == pytest.approx({(10.0, 15.0): 10, (25.0, 15.0): 10, (27.0, 15.0): 6, (25.0, 2.0): 6})
    assert busiest_slices(marks, SHAPE[1], 1, axis=1) == [20]


def test_drawing_a_report_needs_no_torch() -> None:
    code = "import sys, etpick.report.picked; assert not {'torch', 'matplotlib', 'jinja2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
