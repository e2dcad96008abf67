"""The worst mistakes, each cut out of its tomogram, and how the picks fare from tomogram to tomogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.evaluation.metrics import evaluate, match_particles
from etpick.report import charts, embed
from etpick.report.case import Case
from etpick.report.page import Cell, Key, Picture, Section, Table
from etpick.report.sections import share
from etpick.report.slices import DASHES, STATE_COLORS, slab
from etpick.types import FloatArray, Particles, Tomogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST: Final = 12
_COLUMNS: Final = 6
_INCHES: Final = 1.5
_CUT: Final = 2.5  # edge of a cut, in diameters of the particle
_LEAST_CUT_VX: Final = 24


@dataclass(frozen=True)
class _Mistake:
    """A place to look at; `weight` says how bad it is."""

    tomogram: Tomogram
    position: FloatArray
    radius_vx: float
    caption: str
    weight: float


def tomograms_section(case: Case) -> Section | None:
    """Scores of each tomogram, where there are several."""
    if case.truths is None or len(case.tomograms) < 2:
        return None
    rows = []
    for tomogram, picks, truth in zip(case.tomograms, case.picks, case.truths, strict=True):
        e = evaluate([picks], [truth], case.classes, tomogram.spacing_A)
        s = e.localisation
        by_class = [e.classification[c.name].f1 for c in case.classes] if len(case.classes) > 1 else []
        distance = f"{s.mean_distance_vx:.2f}" if s.tp else "–"
        values = (str(len(truth)), str(len(picks)), share(s.precision), share(s.recall), share(s.f1), distance)
        rows.append((Cell(tomogram.name), *map(Cell, values), *(Cell(share(f1)) for f1 in by_class)))
    names = tuple(f"F1 {c.name}" for c in case.classes) if len(case.classes) > 1 else ()
    head = ("", "particles", "picks", "precision", "recall", "F1", "distance (voxel)", *names)
    return Section("Tomogram by tomogram", tables=(Table(head, tuple(rows)),))


def distances_section(case: Case) -> Section | None:
    """How far right picks lie from the truth."""
    if case.truths is None:
        return None
    distances = np.concatenate([
        match_particles(p, t, case.classes, s).distances
        for p, t, s in zip(case.picks, case.truths, case.spacings_A, strict=True)
    ])  # fmt: skip
    if not len(distances):
        return None
    half, most = np.quantile(distances, [0.5, 0.9])
    text = f"Half of the right picks lie within {half:.2f} voxels of the true centre, nine in ten within {most:.2f}."
    picture = Picture(embed.svg(charts.draw_distances(distances), "histogram of distances to the truth"))
    return Section("Distance to the truth", (text,), pictures=(picture,))


def mistakes_section(case: Case) -> Section | None:
    """Montages of the wrong picks of highest score and of the largest particles missed."""
    if case.truths is None:
        return None
    wrong, missed = _wrong(case), _missed(case)
    pictures = [
        Picture(embed.png(_montage(worst, state), f"montage: {what}"), what, wide=True)
        for found, state, what in (
            (wrong, "wrong", "wrong picks, the most confident first"),
            (missed, "missed", "missed particles, the largest first"),
        )
        if (worst := sorted(found, key=lambda m: -m.weight)[:_MOST])
    ]
    if not pictures:
        return None
    keys = (Key("wrong pick", STATE_COLORS["wrong"]), Key("missed particle", STATE_COLORS["missed"], "dashed"))
    text = (
        f"Wrong picks: {len(wrong)}; missed particles: {len(missed)}. At most {_MOST} of each are shown, in xy and "
        "below it in xz, averaged over a few slices. A confident wrong pick is often a particle that the truth lacks."
    )
    return Section("The worst mistakes", (text,), keys, tuple(pictures))


def _wrong(case: Case) -> list[_Mistake]:
    found: list[_Mistake] = []
    for tomogram, picks, truth in zip(case.tomograms, case.picks, case.truths or (), strict=True):
        pairs = match_particles(picks, truth, case.classes, tomogram.spacing_A)
        found += _mistakes(case, tomogram, picks.select(np.delete(np.arange(len(picks)), pairs.predicted)))
    return found


def _missed(case: Case) -> list[_Mistake]:
    found: list[_Mistake] = []
    for tomogram, picks, truth in zip(case.tomograms, case.picks, case.truths or (), strict=True):
        pairs = match_particles(picks, truth, case.classes, tomogram.spacing_A)
        missed = truth.select(np.delete(np.arange(len(truth)), pairs.truth))
        found += _mistakes(case, tomogram, missed, by_size=True)
    return found


def _mistakes(case: Case, tomogram: Tomogram, particles: Particles, by_size: bool = False) -> list[_Mistake]:
    diameters_A = {c.name: c.diameter_A for c in case.classes}
    scores = None if by_size else particles.scores
    found = []
    for row, (position, name) in enumerate(zip(particles.positions, particles.classes.tolist(), strict=True)):
        z, y, x = position
        what = name if scores is None else f"{name} {scores[row]:.2f}"
        weight = diameters_A[name] if scores is None else float(scores[row])
        place = f"{x:.0f}, {y:.0f}, {z:.0f}" + (f"\n{tomogram.name}" if len(case.tomograms) > 1 else "")
        radius = diameters_A[name] / 2 / tomogram.spacing_A
        found.append(_Mistake(tomogram, position, radius, f"{what}\n{place}", weight))
    return found


def _montage(mistakes: Sequence[_Mistake], state: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    rows = -(-len(mistakes) // _COLUMNS)
    lines = max(m.caption.count("\n") for m in mistakes) + 1
    size = (_INCHES * _COLUMNS, (2 * _INCHES + 0.3 * lines) * rows)
    figure = Figure(figsize=size, facecolor="white", layout="tight")
    panels: Any = figure.subplots(2 * rows, _COLUMNS, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for number, mistake in enumerate(mistakes):
        row, column = divmod(number, _COLUMNS)
        for axis in (0, 1):  # xy, and xz below it
            axes = panels[2 * row + axis, column]
            image, (up, x) = _cut(mistake, axis)
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="lanczos")
            axes.add_patch(
                Circle(
                    (x, up), mistake.radius_vx, fill=False, color=STATE_COLORS[state], linewidth=1.4,
                    linestyle=DASHES if state == "missed" else "-",
                )
            )  # fmt: skip
        panels[2 * row, column].set_title(mistake.caption.replace("$", r"\$"), fontsize=7, pad=2)
    return figure


def _cut(mistake: _Mistake, axis: int) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """A cut across an axis around a mistake, as large as the tomogram allows, and the mistake's place (up, x) in it."""
    centre = np.round(mistake.position).astype(int)
    half = max(round(_CUT * mistake.radius_vx), _LEAST_CUT_VX // 2)
    shape = mistake.tomogram.shape
    low = [int(np.clip(c - half, 0, max(n - 2, 0))) for c, n in zip(centre, shape, strict=True)]
    high = [int(np.clip(c + half + 1, a + 2, n)) for c, a, n in zip(centre, low, shape, strict=True)]
    thick = max(1, round(mistake.radius_vx / 3))
    middle = int(np.clip(centre[axis], 0, shape[axis] - 1))
    low[axis], high[axis] = max(middle - thick, 0), min(middle + thick + 1, shape[axis])
    around = mistake.tomogram.data[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    cut = Tomogram(np.moveaxis(np.asarray(around), axis, 0), mistake.tomogram.spacing_A)
    up = 1 - axis
    place = mistake.position[up] - low[up], mistake.position[2] - low[2]
    return slab(cut, cut.shape[0] // 2, cut.shape[0]), place
