"""How scores rank picks: precision–recall curves, thresholds, calibration, recall among the best picks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.evaluation.matching import (
    candidate_pairs,
    check_classes,
    check_pairs,
    match,
    per_tomogram,
    radii_vx,
)
from etpick.evaluation.metrics import f1_alpha
from etpick.types import FloatArray, ParticleClass, Particles


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall (k,) of the picks that score at least thresholds[i], descending.

    One point per distinct score; `truths` is the number of true particles.
    """

    thresholds: FloatArray
    precision: FloatArray
    recall: FloatArray
    truths: int

    def __len__(self) -> int:
        return len(self.thresholds)

    @property
    def average_precision(self) -> float:
        """Area under the steps, Σ (R_i − R_i−1)·P_i, without interpolation; NaN without true particles."""
        if self.truths == 0:
            return math.nan
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    def at(self, threshold: float) -> tuple[float, float] | None:
        """(precision, recall) of the picks that score at least `threshold`; None where none does."""
        kept = int(np.count_nonzero(self.thresholds >= threshold))
        return (float(self.precision[kept - 1]), float(self.recall[kept - 1])) if kept else None


@dataclass(frozen=True, eq=False)
class Curves:
    """A curve without regard to class, and one for each class."""

    localisation: Curve
    classification: Mapping[str, Curve]


def precision_recall(
    picks: Sequence[Particles],
    truths: Sequence[Particles],
    classes: Sequence[ParticleClass],
    spacing_A: float | Sequence[float],
) -> Curves:
    """Curves over descending score, pooled over the tomograms.

    Matching is one-to-one and greedy: from the highest score down, each pick takes the nearest true
    particle that is still free and nearer than its radius. So lowering the threshold never undoes a hit
    (the matching of `evaluate` may pair a few more). Raises InputError for picks without scores.
    """
    check_pairs(picks, truths)
    spacings = per_tomogram(spacing_A, len(picks))
    for found in picks:
        check_classes(found, classes)
    radii = [radii_vx(truth, classes, s) for truth, s in zip(truths, spacings, strict=True)]
    by_class = {}
    for c in classes:
        some = [found.of_class(c.name) for found in picks]
        true = [truth.of_class(c.name) for truth in truths]
        within = [r[truth.classes == c.name] for r, truth in zip(radii, truths, strict=True)]
        by_class[c.name] = _curve(some, true, within)
    return Curves(_curve(picks, truths, radii), by_class)


def best_threshold(curve: Curve, alpha: float = 3.0) -> float | None:
    """The score from which on picks should be kept for the best generalised F1 (`f1_alpha`).

    Of equally good thresholds the highest; None where no threshold keeps a right pick.
    """
    values = [f1_alpha(float(p), float(r), alpha) for p, r in zip(curve.precision, curve.recall, strict=True)]
    if not values or max(values) == 0:
        return None
    return float(curve.thresholds[int(np.argmax(values))])


def expected_calibration_error(scores: FloatArray, hits: NDArray[np.bool_], bins: int = 10) -> float:
    """Mean |share of hits − mean score| over equally wide bins of score, weighted by their picks.

    scores: (n,) in 0–1; hits: (n,) whether each pick is right. NaN without picks. Source: Naeini et al.,
    AAAI 2015.
    """
    scores, hits = np.asarray(scores, dtype=np.float64), np.asarray(hits, dtype=np.float64)
    if len(scores) == 0:
        return math.nan
    which = np.clip((scores * bins).astype(np.intp), 0, bins - 1)
    return float(np.abs(np.bincount(which, hits - scores, minlength=bins)).sum() / len(scores))


def recall_at(picks: Particles, truth: Particles, n: int, radius_vx: float) -> float:
    """Share of true particles found one-to-one within `radius_vx` by the `n` picks of highest score.

    For labels that are a sample of the particles, where precision cannot be known. NaN without truth.
    """
    if len(truth) == 0:
        return math.nan
    best = picks.select(_ranking(picks)[:n])
    return len(match(best.positions, truth.positions, radius_vx)) / len(truth)


def _curve(picks: Sequence[Particles], truths: Sequence[Particles], radii: Sequence[FloatArray]) -> Curve:
    total = sum(len(truth) for truth in truths)
    scores = np.concatenate([np.zeros(0), *(_scores(found) for found in picks)])
    hits = np.concatenate([np.zeros(0, bool), *map(greedy_hits, picks, truths, radii)])
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    last = np.flatnonzero(np.diff(scores, append=-np.inf))  # equal scores make one point
    right = np.cumsum(hits)[last].astype(np.float64)
    return Curve(scores[last], right / (last + 1), right / total if total else right, total)


def greedy_hits(picks: Particles, truth: Particles, radii: FloatArray) -> NDArray[np.bool_]:
    """(n,) whether each pick takes a free true particle, in descending order of score."""
    rows, columns, distances = candidate_pairs(picks.positions, truth.positions, radii)
    rank = np.empty(len(picks), dtype=np.intp)
    rank[_ranking(picks)] = np.arange(len(picks))
    hits = np.zeros(len(picks), dtype=bool)
    free = np.ones(len(truth), dtype=bool)
    for pair in np.lexsort((distances, rank[rows])):
        if free[columns[pair]] and not hits[rows[pair]]:
            hits[rows[pair]] = True
            free[columns[pair]] = False
    return hits


def _ranking(picks: Particles) -> NDArray[np.intp]:
    """Row numbers by descending score; equal scores by position, so that file order plays no part."""
    return np.lexsort((*picks.positions.T, -_scores(picks)))


def _scores(picks: Particles) -> FloatArray:
    if picks.scores is None and len(picks):
        raise InputError(f"the {len(picks)} picks carry no scores; a curve needs a score with each pick")
    return np.zeros(0) if picks.scores is None else picks.scores
