"""From candidates to picks: one per particle, a calibrated score, and the threshold that validation chose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.evaluation.curves import greedy_hits
from etpick.evaluation.matching import radii_vx
from etpick.evaluation.metrics import Evaluation, evaluate, f1_alpha
from etpick.inference import Candidates, join
from etpick.ops.calibrate import Calibration, fit_calibration, identity, labelled_share
from etpick.ops.suppression import suppress
from etpick.types import FloatArray, ParticleClass, Particles

_FEW_LABELLED: Final = 0.8  # below this share of labelled particles, labels declared complete look partial …
_EVIDENCE: Final = 8  # … where at least so many sure picks have no label


@dataclass(frozen=True)
class Decision:
    """How candidates become picks: classes, working spacing, calibration, and a threshold for each class."""

    classes: tuple[ParticleClass, ...]
    spacing_A: float
    calibration: Calibration
    thresholds: tuple[float, ...]

    def __call__(self, candidates: Candidates) -> Particles:
        """Picks in working voxels, best first: those that reach their class's threshold."""
        return self.keep(self.all(candidates))

    def keep(self, picks: Particles) -> Particles:
        """Those of the picks of `all` that reach their class's threshold."""
        return picks.select(self.reached(picks))

    def reached(self, picks: Particles) -> NDArray[np.bool_]:
        """(n,) whether each pick reaches its class's threshold."""
        return np.asarray(_scores(picks) >= np.array(self.thresholds)[self.index_of(picks)])

    @property
    def reach(self) -> FloatArray:
        """(c,) radius of each class in working voxels: no two picks are nearer."""
        return np.array([c.diameter_A / 2 / self.spacing_A for c in self.classes])

    def all(self, candidates: Candidates) -> Particles:
        """One pick for each particle, with calibrated scores, before any threshold."""
        return self.named(self.one_each(candidates))

    def one_each(self, candidates: Candidates) -> Candidates:
        """One candidate for each particle, best first."""
        best = candidates.classes.argmax(axis=1)
        kept = candidates.select(suppress(candidates.positions, candidates.raw, self.reach[best]))
        return kept.select(np.argsort(-self.scores(kept), kind="stable"))

    def scores(self, candidates: Candidates) -> FloatArray:
        """(n,) calibrated scores."""
        return self.calibration(candidates.raw, candidates.classes.argmax(axis=1), candidates.evidence)

    def named(self, chosen: Candidates) -> Particles:
        """The candidates of `one_each` as picks: each of its likeliest class, with a calibrated score."""
        best = chosen.classes.argmax(axis=1)
        chance = chosen.classes[np.arange(len(best)), best] / np.maximum(chosen.classes.sum(axis=1), 1e-9)
        names = np.array([c.name for c in self.classes], dtype=np.str_)[best]
        scores, chance = self.scores(chosen), np.minimum(chance, 1.0)
        return Particles(chosen.positions, names, scores, chance, spacing_A=self.spacing_A)

    def index_of(self, picks: Particles) -> NDArray[np.intp]:
        """(n,) class indices of picks, from 0."""
        names = [c.name for c in self.classes]
        return np.array([names.index(str(name)) for name in picks.classes], dtype=np.intp)


def uncalibrated(classes: tuple[ParticleClass, ...], spacing_A: float) -> Decision:
    """A decision that keeps every candidate, with its raw score."""
    return Decision(classes, spacing_A, identity(len(classes)), (0.0,) * len(classes))


@dataclass(frozen=True, eq=False)
class Validation:
    """What validation picks say: the decision fitted to them, and how good it is.

    `value` ranks models: the mean of the F1^α of localisation and, with several classes, of classification.
    With partial labels precision is beyond reach, and the geometric mean of precision and recall, both
    against the labels, takes the place of F1^α: left-out labels change it by a constant factor (Lee and Liu,
    ICML 2003). `labelled_share` is the share of particles that were labelled, to judge by the `sure` picks.
    `scores`, `index` and `hits` (n,) are the raw score of each candidate, its class from 0, and whether it took
    a labelled particle.
    """

    decision: Decision
    value: float
    evaluation: Evaluation
    labelled_share: float = 1.0
    sure: int = 0
    scores: FloatArray = field(default_factory=lambda: np.zeros(0))
    index: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    hits: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def looks_partial(self) -> bool:
        """Whether many picks that look like particles were not labelled, beyond doubt."""
        return self.labelled_share < _FEW_LABELLED and (1 - self.labelled_share) * self.sure >= _EVIDENCE

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "f1_alpha": self.value, "candidates": len(self.scores), "labelled_share": self.labelled_share,
            "looks_partial": self.looks_partial,
            **self.evaluation.to_dict(),
        }  # fmt: skip


def validate(
    found: Sequence[Candidates],
    truths: Sequence[Particles],
    classes: tuple[ParticleClass, ...],
    spacing_A: float,
    alpha: float,
    *,
    partial: bool = False,
    chosen: bool = False,
) -> Validation:
    """Fit calibration and thresholds to the candidates of validation volumes, and score the picks.

    truths: in working voxels, like the candidates. A candidate is right where it takes a free particle, of
    whatever class, from the highest raw score down. With `partial` labels one that takes none may be right too.
    chosen: whether there is but one candidate for each particle already, as `Decision.one_each` leaves them.
    """
    raw = uncalibrated(classes, spacing_A)
    found = found if chosen else [raw.one_each(c) for c in found]
    picks = [raw.named(c) for c in found]
    every = join(found)
    scores, index, evidence = every.raw, every.classes.argmax(axis=1), every.evidence
    located = _hits(picks, truths, classes, spacing_A)
    labelled = np.array([sum((t.classes == c.name).sum() for t in truths) for c in classes])
    share, sure = labelled_share(scores, located)
    share_of = share if partial else 1.0
    calibration = fit_calibration(scores, index, located, labelled > 0, share=share_of, evidence=evidence)
    calibrated = calibration(scores, index, evidence)
    threshold = expected_f1_threshold(calibrated) if partial else _fit_threshold(calibrated, located)
    decision = Decision(classes, spacing_A, calibration, (threshold,) * len(classes))
    evaluation = evaluate([decision.keep(decision.named(c)) for c in found], truths, classes, spacing_A)
    value = _value(evaluation, partial_value if partial else lambda p, r: f1_alpha(p, r, alpha))
    return Validation(decision, value, evaluation, share, sure, scores, index, located)


def partial_value(precision: float, recall: float) -> float:
    """√(P·R), which left-out labels lower by a constant factor; NaN counts as 0."""
    return math.sqrt(precision * recall) if precision > 0 and recall > 0 else 0.0


def _hits(
    picks: Sequence[Particles], truths: Sequence[Particles], classes: Sequence[ParticleClass], spacing_A: float
) -> NDArray[np.bool_]:
    """(n,) whether each pick finds a particle, of whatever class."""
    pairs = zip(picks, truths, strict=True)
    return np.concatenate([greedy_hits(found, truth, radii_vx(truth, classes, spacing_A)) for found, truth in pairs])


def _fit_threshold(scores: FloatArray, located: NDArray[np.bool_]) -> float:
    """One for all classes, since scores are chances whose curve each class has for itself.

    Thresholds fitted to what was right, one for all or one for each class, hold less well on other tomograms: a class
    has few validation particles (benchmarks/threshold_rules.py). Where all or none of the picks (n,) are right, scores
    are no chances, and what is right is kept, or a half asked for.
    """
    if not located.any():
        return 0.5
    return float(scores.min()) if located.all() else expected_f1_threshold(scores)


def expected_f1_threshold(scores: FloatArray) -> float:
    """The threshold whose picks have the best F1 to be expected, from scores (n,) that are chances alone.

    With the k highest kept, F1 = 2·Σ_k s / (k + Σ s): expected right picks, picks, expected particles. The best
    threshold is half the F1 reached (Lipton, Elkan and Naryanaswamy, ECML 2014).
    """
    ordered, kept, right = _cuts(scores)
    f1 = 2 * right / np.maximum(kept + right.max(initial=0), 1e-9)
    return _below(ordered, int(kept[f1.argmax()]) if len(f1) else 0)


def precision_threshold(scores: FloatArray, precision: float) -> float:
    """The lowest threshold whose picks are right in `precision` of cases, from scores (n,) that are chances."""
    ordered, kept, right = _cuts(scores)
    return _below(ordered, int(kept[right >= precision * kept].max(initial=0)))


def false_positives_threshold(scores: FloatArray, count: float) -> float:
    """The lowest threshold whose picks hold no more than `count` wrong ones, from scores (n,) that are chances."""
    ordered, kept, right = _cuts(scores)
    return _below(ordered, int(kept[kept - right <= count].max(initial=0)))


def _cuts(scores: FloatArray) -> tuple[FloatArray, NDArray[np.intp], FloatArray]:
    """Scores in descending order; how many a threshold may keep, equal ones together; expected right ones."""
    ordered = np.sort(scores)[::-1]
    kept = np.flatnonzero(np.diff(ordered, append=-np.inf)) + 1
    return ordered, kept, np.cumsum(ordered)[kept - 1]


def _below(ordered: FloatArray, kept: int) -> float:
    """A threshold between the last score kept, of scores in descending order, and the next."""
    if kept == 0:
        return 1.0 if not len(ordered) else float(np.nextafter(ordered[0], 2.0))
    return float(ordered[kept - 1] if kept == len(ordered) else (ordered[kept - 1] + ordered[kept]) / 2)


def _value(evaluation: Evaluation, measure: Callable[[float, float], float]) -> float:
    place = evaluation.localisation
    value = measure(place.precision, place.recall)
    scores = [s for s in evaluation.classification.values() if s.tp + s.fp + s.fn]
    if len(evaluation.classification) == 1 or not scores:
        return value
    return (value + float(np.mean([measure(s.precision, s.recall) for s in scores]))) / 2


def _scores(picks: Particles) -> FloatArray:
    return np.zeros(0) if picks.scores is None else picks.scores
