"""The sections of a report; each is None where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from etpick.evaluation.curves import expected_calibration_error, greedy_hits
from etpick.evaluation.matching import radii_vx
from etpick.evaluation.metrics import Score
from etpick.report import charts, embed
from etpick.report.case import Case
from etpick.report.marks import busiest_slices, mark
from etpick.report.page import Cell, Key, Picture, Section, Table
from etpick.report.slices import STATE_COLORS, colors_of, draw_marks

NO_PICKS = "No particle was picked."
_MOST_TOMOGRAMS = 3
_SLICES = 3
_KEY_STYLES = {"right": "solid", "other class": "solid", "wrong": "cross", "missed": "dashed"}
_KEY_LABELS = {
    "right": "right pick",
    "other class": "right place, other class",
    "wrong": "wrong pick",
    "missed": "missed particle",
}


def slices_section(case: Case, why_empty: str) -> Section | None:
    """Slices with picks drawn in, or why there are no picks."""
    text = [] if any(map(len, case.picks)) else [why_empty or NO_PICKS]
    pictures: list[Picture] = []
    states: set[str] = set()
    for i, tomogram in enumerate(case.tomograms[:_MOST_TOMOGRAMS]):
        truth = None if case.truths is None else case.truths[i]
        marks = mark(case.picks[i], truth, case.classes, tomogram.spacing_A)
        states |= set(marks.states.tolist())
        for z in busiest_slices(marks, tomogram.shape[0], _SLICES):
            figure = draw_marks(tomogram, marks, case.classes, [z])
            alt = f"slice {z} of {tomogram.name} with circles around particles"
            pictures.append(Picture(embed.png(figure, alt), f"{tomogram.name}, slice z = {z}"))
    if not pictures:
        return Section("Picks", tuple(text)) if text else None
    text.append(
        "Each circle is a cut through a sphere of the particle's diameter, so it is largest where the slice "
        "passes through the centre. Slices are averaged over a few voxels; y points up."
    )
    if len(case.tomograms) > _MOST_TOMOGRAMS:
        text.append(f"The first {_MOST_TOMOGRAMS} of {len(case.tomograms)} tomograms are shown.")
    return Section("Picks in the tomogram", tuple(text), _slice_keys(case, states), tuple(pictures))


def _slice_keys(case: Case, states: set[str]) -> tuple[Key, ...]:
    if case.truths is None:
        return tuple(Key(name, color) for name, color in colors_of(case.classes).items())
    return tuple(Key(_KEY_LABELS[s], STATE_COLORS[s], _KEY_STYLES[s]) for s in STATE_COLORS if s in states)


def curves_section(case: Case) -> Section | None:
    """Precision against recall: without class beside the baseline, then each class."""
    if case.curves is None or case.evaluation is None:
        return None
    floor = None if case.baseline_curves is None else case.baseline_curves.localisation
    place = case.evaluation.localisation
    figure = charts.draw_precision_recall(case.curves.localisation, (place.precision, place.recall), floor)
    pictures = [
        Picture(
            embed.svg(figure, "precision against recall, class ignored"),
            f"class ignored: average precision {share(case.curves.localisation.average_precision)}"
            + (f", baseline {share(floor.average_precision)}" if floor else ""),
        )
    ]
    colors = colors_of(case.classes)
    for name, curve in case.curves.classification.items() if len(case.classes) > 1 else ():
        score = case.evaluation.classification[name]
        if not (curve.truths or len(curve)):
            continue
        figure = charts.draw_precision_recall(curve, (score.precision, score.recall), color=colors[name])
        area = f": average precision {share(curve.average_precision)}" if curve.truths else ": none in the truth"
        pictures.append(Picture(embed.svg(figure, f"precision against recall of {name}"), name + area))
    keys = [Key("the picks, from the highest score to the lowest", charts.ACCENT, "line")]
    keys += [Key("difference of Gaussians", "var(--muted)", "dashline")] if floor else []
    text = "The dot is the working point, the picks that were kept. Further right finds more, higher errs less."
    return Section("Precision and recall", (text,), tuple(keys), tuple(pictures))


def classes_section(case: Case) -> Section | None:
    """The table of scores, class by class, over all, and the baseline."""
    if case.evaluation is None:
        return None
    colors = colors_of(case.classes)
    head = ("", "particles", "picks", "precision", "recall", "F1", "average precision", "distance (voxel)")
    rows = []
    for name, score in case.evaluation.classification.items():
        area = math.nan if case.curves is None else case.curves.classification[name].average_precision
        rows.append(_score_row(name, score, area, colors[name]))
    area = math.nan if case.curves is None else case.curves.localisation.average_precision
    rows.append(_score_row("all, class ignored", case.evaluation.localisation, area))
    if case.baseline is not None and case.baseline_curves is not None:
        area = case.baseline_curves.localisation.average_precision
        rows.append(_score_row("difference of Gaussians", case.baseline.localisation, area))
    caption = "A pick is right when it lies within the particle's radius; each particle counts once."
    if case.baseline is not None:
        caption += (
            " The difference-of-Gaussians baseline ignores class and stands at the threshold that suits it"
            " best on this very truth, which favours it."
        )
    return Section("Scores", tables=(Table(head, tuple(rows), caption),))


def _score_row(name: str, score: Score, area: float, color: str = "") -> tuple[Cell, ...]:
    counts = (Cell(str(score.tp + score.fn)), Cell(str(score.tp + score.fp)))
    shares = (score.precision, score.recall, score.f1, area)
    distance = Cell("–" if math.isnan(score.mean_distance_vx) else f"{score.mean_distance_vx:.2f}")
    return (Cell(name, color=color), *counts, *(Cell(share(v)) for v in shares), distance)


def confusion_section(case: Case) -> Section | None:
    """The confusion matrix."""
    if case.evaluation is None:
        return None
    confusion = case.evaluation.confusion
    # Each row is tinted by its own total, so that a rare class is as visible as a common one.
    share = confusion.counts / np.maximum(confusion.counts.sum(axis=1, keepdims=True), 1)
    last = len(confusion.rows) - 1
    rows = tuple(
        (
            Cell("nothing there" if i == last else name),
            *(
                Cell(str(n) if (i, j) != (last, last) else "", 0.75 * float(share[i, j]), good=i == j)
                for j, n in enumerate(confusion.counts[i])
            ),
        )
        for i, name in enumerate(confusion.rows)
    )
    table = Table(("truth ↓   picked as →", *confusion.columns), rows, "Paired by place alone, class ignored.")
    return Section("What was taken for what", tables=(table,))


def scores_section(case: Case, note: str = "") -> Section | None:
    """The histogram of scores; `note` says how the thresholds were chosen."""
    scored = [p for p in case.scored if len(p) and p.scores is not None]
    if not scored:
        return None
    scores = np.concatenate([p.scores for p in scored if p.scores is not None])
    hits, text = (
        None,
        "How sure the picker was of each candidate.",
    )
    if case.thresholds:
        text += " What scores less than the dashed line of its class is not kept."
    if note:
        text += f" {note[0].upper()}{note[1:]}."
    if case.truths is not None:
        pairs = zip(case.scored, case.truths, case.spacings_A, strict=True)
        hits = np.concatenate([greedy_hits(p, t, radii_vx(t, case.classes, s)) for p, t, s in pairs])
        error = expected_calibration_error(scores, hits)
        text += (
            " Of candidates with a calibrated score of 0.8, 8 in 10 are right: here scores and hits differ by"
            f" {error:.2f} on average."
        )
    figure = charts.draw_scores(scores, hits, case.thresholds, colors_of(case.classes))
    limits = ", ".join(f"{name} {value:.2f}" for name, value in case.thresholds.items())
    keys = (
        Key("right", STATE_COLORS["right"], "fill"), Key("wrong", STATE_COLORS["wrong"], "fill"),
    ) if hits is not None else ()  # fmt: skip
    picture = Picture(embed.svg(figure, "histogram of scores"), f"Thresholds: {limits}" if limits else "", wide=True)
    return Section("Scores of the candidates", (text,), keys, (picture,))


def training_section(history: Sequence[Mapping[str, Any]]) -> Section | None:
    """Loss and validation F1."""
    if not history:
        return None
    minutes = history[-1].get("minutes")
    took = f" in {minutes:.1f} minutes" if minutes is not None else ""
    text = f"{history[-1]['step']} steps{took}. F1 is that of the picks in what was held out for validation."
    figure = charts.draw_history(history)
    picture = Picture(embed.svg(figure, "loss and validation F1 against training step"), wide=True)
    return Section("Training", (text,), pictures=(picture,))


def provenance_section(provenance: Mapping[str, str]) -> Section | None:
    """Versions, model, parameters."""
    if not provenance:
        return None
    rows = tuple((Cell(name), Cell(str(value))) for name, value in provenance.items())
    return Section("How this was made", tables=(Table((), rows, numeric=False),))


def share(value: float) -> str:
    """Three decimals; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.3f}"
