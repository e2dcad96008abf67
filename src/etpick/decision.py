"""From candidates to picks: one per particle, a calibrated score, and the threshold that validation chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.evaluation.curves import greedy_hits
from etpick.evaluation.matching import radii_vx
from etpick.evaluation.metrics import Evaluation, evaluate, f1_alpha
from etpick.inference import Candidates
from etpick.ops.calibrate import Calibration, fit_calibration, identity
from etpick.ops.peaks import suppress
from etpick.types import FloatArray, ParticleClass, Particles

_LEAST_GAIN: Final = 0.003  # a class departs from the common threshold only for this much more


@dataclass(frozen=True)
class Decision:
    """How candidates become picks: classes, working spacing, calibration, and a threshold for each class."""

    classes: tuple[ParticleClass, ...]
    spacing_A: float
    calibration: Calibration
    thresholds: tuple[float, ...]

    def __call__(self, candidates: Candidates, min_score: float | None = None) -> Particles:
        """Picks in working voxels, best first. `min_score` stands in for the thresholds of all classes."""
        picks = self.all(candidates)
        index = self._index(picks)
        limits = np.array(self.thresholds) if min_score is None else np.full(len(self.classes), min_score)
        return picks.select(_scores(picks) >= limits[index])

    def all(self, candidates: Candidates) -> Particles:
        """One pick for each particle, with calibrated scores, before any threshold."""
        best = candidates.classes.argmax(axis=1)
        reach = np.array([c.diameter_A / 2 / self.spacing_A for c in self.classes])[best]
        kept = suppress(candidates.positions, candidates.raw, reach)
        best, chosen = best[kept], candidates.select(kept)
        scores = self.calibration(chosen.raw, best)
        chance = chosen.classes[np.arange(len(best)), best] / np.maximum(chosen.classes.sum(axis=1), 1e-9)
        names = np.array([c.name for c in self.classes], dtype=np.str_)[best]
        picks = Particles(chosen.positions, names, scores, np.minimum(chance, 1.0), spacing_A=self.spacing_A)
        return picks.select(np.argsort(-scores, kind="stable"))

    def _index(self, picks: Particles) -> NDArray[np.intp]:
        names = [c.name for c in self.classes]
        return np.array([names.index(str(name)) for name in picks.classes], dtype=np.intp)


@dataclass(frozen=True)
class Validation:
    """What validation picks say: the decision fitted to them, and how good it is."""

    decision: Decision
    value: float  # mean of the F1^α of localisation and, with several classes, of classification
    evaluation: Evaluation
    candidates: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"f1_alpha": self.value, "candidates": self.candidates, **self.evaluation.to_dict()}


def validate(
    found: Sequence[Candidates],
    truths: Sequence[Particles],
    classes: tuple[ParticleClass, ...],
    spacing_A: float,
    alpha: float,
) -> Validation:
    """Fit calibration and thresholds to the candidates of validation volumes, and score the picks.

    truths: in working voxels, like the candidates. A candidate is right where it takes a free particle, of
    whatever class, from the highest score down.
    """
    raw = Decision(classes, spacing_A, identity(len(classes)), (0.0,) * len(classes))
    picks = [raw.all(c) for c in found]
    scores, index = (
        np.concatenate([_scores(p) for p in picks]),
        np.concatenate([raw._index(p) for p in picks]),
    )
    located, classified = _hits(picks, truths, classes, spacing_A)
    labelled = np.array([sum((t.classes == c.name).sum() for t in truths) for c in classes])
    calibration = fit_calibration(scores, index, located, labelled > 0)
    thresholds = fit_thresholds(calibration(scores, index), index, located, classified, labelled)
    decision = Decision(classes, spacing_A, calibration, thresholds)
    evaluation = evaluate([decision(c) for c in found], truths, classes, spacing_A)
    return Validation(decision, _value(evaluation, alpha), evaluation, len(scores))


def _hits(
    picks: Sequence[Particles],
    truths: Sequence[Particles],
    classes: Sequence[ParticleClass],
    spacing_A: float,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) whether each pick finds a particle, and whether it finds one of its own class."""
    located, classified = [], []
    for found, truth in zip(picks, truths, strict=True):
        radii = radii_vx(truth, classes, spacing_A)
        located.append(greedy_hits(found, truth, radii))
        own = np.zeros(len(found), bool)
        for c in classes:
            mine, true = found.classes == c.name, truth.classes == c.name
            own[mine] = greedy_hits(found.select(mine), truth.select(true), radii[true])
        classified.append(own)
    return np.concatenate(located), np.concatenate(classified)


def fit_thresholds(
    scores: FloatArray,
    classes: NDArray[np.intp],
    located: NDArray[np.bool_],
    classified: NDArray[np.bool_],
    labelled: NDArray[np.integer],
) -> tuple[float, ...]:
    """One threshold a class, for the best F1 of localisation plus mean F1 over classes.

    scores, classes, located, classified: (n,) for the validation picks; labelled: (c,) true particles. A
    common threshold comes first; a class then leaves it only for a clear gain, since a class has few
    validation particles. Between two picks the threshold lies half-way.
    """
    if not located.any():
        return (0.5,) * len(labelled)

    def gain(limits: FloatArray) -> float:
        kept = scores >= limits[classes]
        place = 2 * (kept & located).sum() / (kept.sum() + labelled.sum())
        right = np.bincount(classes[kept & classified], minlength=len(labelled))
        f1 = 2 * right / np.maximum(np.bincount(classes[kept], minlength=len(labelled)) + labelled, 1)
        return float(place + f1[labelled > 0].mean())

    levels = _levels(scores, located)
    common = max(levels, key=lambda level: gain(np.full(len(labelled), level)))
    limits = np.full(len(labelled), common)
    for c in np.flatnonzero(labelled):
        own = _levels(scores[classes == c], located[classes == c])
        trials = [np.where(np.arange(len(limits)) == c, level, limits) for level in own]
        best = max(trials, key=gain, default=limits)
        if gain(best) > gain(limits) + _LEAST_GAIN / len(limits):
            limits = best
    return tuple(float(level) for level in limits)


def _levels(scores: FloatArray, hits: NDArray[np.bool_]) -> list[float]:
    """The thresholds worth trying: below each right pick, half-way to the next lower score; highest first."""
    distinct = np.unique(scores)
    lower = np.concatenate([distinct[:1], (distinct[1:] + distinct[:-1]) / 2])
    return [float(level) for level in lower[np.isin(distinct, scores[hits])][::-1]]


def _value(evaluation: Evaluation, alpha: float) -> float:
    place = evaluation.localisation
    value = f1_alpha(place.precision, place.recall, alpha)
    scores = [s for s in evaluation.classification.values() if s.tp + s.fp + s.fn]
    if len(evaluation.classification) == 1 or not scores:
        return value
    return (value + float(np.mean([f1_alpha(s.precision, s.recall, alpha) for s in scores]))) / 2


def _scores(picks: Particles) -> FloatArray:
    return np.zeros(0) if picks.scores is None else picks.scores
