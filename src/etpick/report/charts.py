"""Charts of scores and training as matplotlib figures that take on the colours of the page they stand in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etpick.evaluation.curves import Curve
from etpick.report.slices import STATE_COLORS
from etpick.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Placeholders that `embed.svg` turns into the page's own ink, so that one chart serves light and dark.
INK = "#010203"
MUTED = "#040506"
ACCENT = "#2f86d6"
_MOST_POINTS = 400


def draw_precision_recall(
    curve: Curve,
    working_point: tuple[float, float] | None = None,
    baseline: Curve | None = None,
    color: str = ACCENT,
) -> Figure:
    """One curve, with (precision, recall) of the working point as a dot and a baseline's curve dashed."""
    figure, axes = chart(3.3, 2.9)
    if baseline is not None and len(baseline):
        axes.plot(*_thinned(baseline), color=MUTED, linewidth=1.4, linestyle=(0, (4, 2)))
    if len(curve):
        recall, precision = _thinned(curve)
        axes.plot(recall, precision, color=color, linewidth=2.2, solid_capstyle="round")
        axes.fill_between(recall, precision, color=color, alpha=0.10, linewidth=0)
    if working_point is not None and all(map(math.isfinite, working_point)):
        precision_at, recall_at = working_point
        axes.plot(recall_at, precision_at, "o", color=color, markersize=9, markeredgecolor=INK, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.grid(color=MUTED, alpha=0.18, linewidth=0.8)
    return figure


def draw_scores(
    scores: FloatArray,
    hits: NDArray[np.bool_] | None,
    thresholds: Mapping[str, float],
    colors: Mapping[str, str],
) -> Figure:
    """Histogram of scores in 0–1, right over wrong where `hits` are known, a line at each threshold."""
    figure, axes = chart(6.4, 2.7)
    bins = np.linspace(0, 1, 41).tolist()
    if hits is None:
        axes.hist(scores, bins, color=ACCENT, alpha=0.85)
    else:
        colors_of_hits = [STATE_COLORS["right"], STATE_COLORS["wrong"]]
        axes.hist([scores[hits], scores[~hits]], bins, stacked=True, color=colors_of_hits, alpha=0.85)
    _cut_tallest(axes, np.histogram(scores, bins)[0])
    for name, threshold in thresholds.items():
        one = len(thresholds) == 1
        axes.axvline(threshold, color=INK if one else colors.get(name, INK), linewidth=1.6, linestyle=(0, (4, 2)))
    axes.set(xlim=(0, 1), xlabel="score", ylabel="picks")
    return figure


def draw_distances(distances_vx: FloatArray) -> Figure:
    """Histogram of distances in voxels."""
    figure, axes = chart(3.3, 2.4)
    axes.hist(distances_vx, 30, range=(0, max(float(distances_vx.max()), 1e-6)), color=ACCENT, alpha=0.85)
    axes.set(xlabel="distance (voxel)", ylabel="places")
    return figure


def draw_history(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss, and F1 of the validation picks below it, against the training step."""
    from matplotlib.ticker import MaxNLocator

    loss, f1 = _series(history, "loss"), _series(history, "validation_f1")
    series = [(name, *data) for name, data in (("loss", loss), ("validation F1", f1)) if len(data[0])]
    figure, all_axes = _charts(6.4, 1.9 * max(len(series), 1) + 0.3, max(len(series), 1))
    for axes, (name, steps, values) in zip(all_axes, series, strict=False):
        axes.plot(steps, values, color=ACCENT, linewidth=2, marker="o", markersize=4 if len(steps) < 60 else 0)
        axes.set_ylabel(name)
        axes.grid(color=MUTED, alpha=0.18, linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        if name == "validation F1":
            best = int(np.argmax(values))
            axes.plot(steps[best], values[best], "o", color=ACCENT, markersize=9, markeredgecolor=INK)
            axes.set_ylim(min(0.0, *values), 1.02)
    all_axes[-1].set_xlabel("step")
    return figure


def chart(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure in the style of all, sizes in inches, and its axes."""
    figure, (axes,) = _charts(width, height, 1)
    return figure, axes


def _charts(width: float, height: float, rows: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="none", layout="constrained")
    every: list[Axes] = list(np.ravel(figure.subplots(rows, 1, sharex=True)))
    for axes in every:
        axes.set_facecolor("none")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(MUTED)
        axes.tick_params(color=MUTED, labelcolor=MUTED, labelsize=9)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set(color=INK, fontsize=10)
    return figure, every


def _cut_tallest(axes: Axes, counts: NDArray[np.integer]) -> None:
    """Let the many candidates of almost no score run out of the frame, so that the others can be seen."""
    tallest, others = int(counts.max()), int(counts[len(counts) // 8 :].max())
    if tallest > 3 * others > 0:
        axes.set_ylim(0, 1.4 * others)
        at = (int(np.argmax(counts)) + 1.2) / len(counts)
        axes.text(at, 1.38 * others, f"up to {tallest}", color=MUTED, fontsize=9, va="top")


def _thinned(curve: Curve) -> tuple[FloatArray, FloatArray]:
    """(recall, precision) at no more points than the eye can tell apart, from recall 0 on."""
    keep = np.unique(np.linspace(0, len(curve) - 1, _MOST_POINTS).astype(np.intp))
    recall, precision = curve.recall[keep], curve.precision[keep]
    return np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision])


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of the entries that hold a number there."""
    known = [(e["step"], e[key]) for e in history if e.get(key) is not None and math.isfinite(e[key])]
    return [float(step) for step, _ in known], [float(value) for _, value in known]
