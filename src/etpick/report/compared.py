"""The report on sets of picks compared: counts, pictures, distances, scores, and curves against a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from etpick import __version__
from etpick.evaluation.comparison import Places, counts, region_name
from etpick.evaluation.matching import radii_vx
from etpick.report import charts, embed
from etpick.report.marks import Marks, View, busiest_slices
from etpick.report.page import Cell, Key, Number, Picture, Report, Section, Table
from etpick.report.sections import share
from etpick.report.slices import STATE_COLORS, draw_view
from etpick.types import Tomogram

if TYPE_CHECKING:
    from etpick.comparing import Compared

# apart in lightness as well as in hue, for at most as many regions as people can tell apart
_COLORS: Final = ("#37d67a", "#4db5ff", "#ffc533", "#ff4d4d", "#c77dff", "#ffffff", "#ff8fab")
_SLICES: Final = 2
_MOST_TOMOGRAMS: Final = 3


def comparison_report(compared: Compared, tomograms: Sequence[Tomogram]) -> Report:
    """A report on what sets of picks share; `tomograms` are those to draw, by the names of the compared ones."""
    colors = _region_colors(compared)
    sections = (
        _counts(compared, colors),
        _slices(compared, {t.name: t for t in tomograms}, colors),
        _pairs(compared),
        _scores(compared),
        _reference(compared),
        Section("Made by", tables=(Table((), ((Cell("etpick"), Cell(__version__)),), numeric=False),)),
    )
    lead = (
        f"{', '.join(compared.names)} in {len(compared.tomograms)} tomogram{'s' * (len(compared.tomograms) != 1)}. "
        "Picks within half a particle's diameter of each other are at one place. None of the sets is taken "
        "for the truth."
    )
    numbers = tuple(Number(name, str(n), "places") for name, n in _totals(compared).items())
    kept = tuple(section for section in sections if section is not None)
    return Report("Sets of picks compared", lead, numbers, compared.notes, kept)


def _totals(compared: Compared) -> dict[str, int]:
    return {region_name(region, compared.names): n for region, n in counts(compared.places).items()}


def _region_colors(compared: Compared) -> dict[str, str]:
    """Of the regions that hold most, the rest grey."""
    totals = _totals(compared)
    shown = sorted(totals, key=lambda name: -totals[name])[: len(_COLORS)]
    by_rank = dict(zip([name for name in totals if name in shown], _COLORS, strict=False))
    return {name: by_rank.get(name, "#888888") for name in totals}


def _counts(compared: Compared, colors: Mapping[str, str]) -> Section:
    totals = _totals(compared)
    rows = []
    for number, region in enumerate(counts(compared.places)):
        name = region_name(region, compared.names)
        each = [list(p.regions().values())[number] for p in compared.places]
        cells = [Cell(str(len(at))) for at in each] if len(each) > 1 else []
        by_class = [
            Cell(
                str(
                    sum(int((p.picks(at).classes == c.name).sum()) for p, at in zip(compared.places, each, strict=True))
                )
            )
            for c in compared.classes
        ]
        classes = by_class if len(by_class) > 1 else []
        rows.append((Cell(name, color=colors[name]), *cells, Cell(str(totals[name])), *classes))
    head = (
        "places with picks of",
        *(compared.tomograms if len(compared.tomograms) > 1 else ()),
        "all",
        *((c.name for c in compared.classes) if len(compared.classes) > 1 else ()),
    )
    caption = "A place has the class that the first of its sets gives it." if len(compared.classes) > 1 else ""
    return Section("What they share", tables=(Table(head, tuple(rows), caption),))


def _slices(compared: Compared, tomograms: Mapping[str, Tomogram], colors: Mapping[str, str]) -> Section | None:
    pictures = []
    for name, places in list(zip(compared.tomograms, compared.places, strict=True))[:_MOST_TOMOGRAMS]:
        if name not in tomograms or not len(places):
            continue
        marks = _marks(compared, places)
        for z in busiest_slices(marks, tomograms[name].shape[0], _SLICES):
            view = View(0, z)
            figure = draw_view(tomograms[name], marks, compared.classes, view, colors=colors)
            pictures.append(Picture(embed.png(figure, f"{view.name} of {name} with circles"), f"{name}, {view.name}"))
    if not pictures:
        return None
    keys = tuple(Key(name, color) for name, color in colors.items() if _totals(compared)[name])
    text = (
        "Each circle is a cut through a sphere of the particle's diameter, at the pick of the first set that has one."
    )
    return Section("In the tomogram", (text,), keys, tuple(pictures))


def _marks(compared: Compared, places: Places) -> Marks:
    """A sphere at each place, in the state of its region."""
    parts = []
    for region, at in places.regions().items():
        picks = places.picks(at)
        radii = radii_vx(picks, compared.classes, compared.spacing_A)
        state = np.full(len(picks), region_name(region, compared.names))
        parts.append(Marks(picks.positions, radii, state, picks.classes))
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def _pairs(compared: Compared) -> Section:
    rows, pictures = [], []
    for i, j in compared.pairs():
        pair, name = compared.pair(i, j), f"{compared.names[i]} and {compared.names[j]}"
        rows.append((
            Cell(name), Cell(str(int(pair["shared"]))), Cell(share(pair["jaccard"])),
            Cell(f"{pair['median_distance_vx']:.2f}" if pair["shared"] else "–"), Cell(share(pair["same_class"])),
        ))  # fmt: skip
        distances = np.concatenate([p.distances_vx(i, j) for p in compared.places])
        if len(distances):
            figure = charts.draw_distances(distances)
            pictures.append(Picture(embed.svg(figure, f"histogram of distances of {name}"), name))
    head = ("sets", "shared places", "shared of all", "median distance (voxel)", "same class")
    return Section("Pairs of sets", (), (), tuple(pictures), (Table(head, tuple(rows)),))


def _scores(compared: Compared) -> Section | None:
    pictures = []
    for number, name in enumerate(compared.names):
        shared, alone = (np.concatenate([p.scores(number, s) for p in compared.places]) for s in (True, False))
        scores = np.concatenate([shared, alone])
        if len(scores) and np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1:
            hits = np.arange(len(scores)) < len(shared)
            pictures.append(
                Picture(embed.svg(charts.draw_scores(scores, hits, {}, {}), f"scores of {name}"), name, wide=True)
            )
    if not pictures:
        return None
    keys = (
        Key("at places that others have too", STATE_COLORS["right"], "fill"),
        Key("at places of its own", STATE_COLORS["wrong"], "fill"),
    )
    return Section("Scores", (), keys, tuple(pictures), (_scores_by_tomogram(compared),))


def _scores_by_tomogram(compared: Compared) -> Table:
    """Median scores in each tomogram: one in which they differ from the others' is worth a look."""
    rows = []
    for tomogram, places in zip(compared.tomograms, compared.places, strict=True):
        for number, name in enumerate(compared.names):
            cells = []
            for where in (True, False):
                scores = places.scores(number, where)
                scores = scores[np.isfinite(scores)]
                cells += [Cell(str(len(scores))), Cell(share(float(np.median(scores))) if len(scores) else "–")]
            rows.append((Cell(f"{tomogram}, {name}"), *cells))
    head = ("", "scored at shared places", "median", "at places of its own", "median")
    return Table(head, tuple(rows))


def _reference(compared: Compared) -> Section | None:
    if not compared.against:
        return None
    rows, pictures = [], []
    for name, against in compared.against.items():
        s = against.evaluation.localisation
        area = share(against.curve.average_precision) if against.curve is not None else "–"
        numbers = (share(s.precision), share(s.recall), share(s.f1), area, f"{s.mean_distance_vx:.2f}" if s.tp else "–")
        rows.append((Cell(name), *map(Cell, numbers)))
        if against.curve is not None:
            figure = charts.draw_precision_recall(against.curve, (s.precision, s.recall))
            pictures.append(Picture(embed.svg(figure, f"precision against recall of {name}"), name))
    head = ("", "precision", "recall", "F1", "average precision", "distance (voxel)")
    text = (
        f"As if {compared.reference} were the truth, classes ignored. The curve goes from a set's highest score to its "
        "lowest, the dot is the whole set."
    )
    return Section(f"Against {compared.reference}", (text,), (), tuple(pictures), (Table(head, tuple(rows)),))
