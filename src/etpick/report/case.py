"""What a report draws upon: tomograms, picks, and how they compare with the truth and with a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from etpick.errors import InputError
from etpick.evaluation.curves import Curves, best_threshold, precision_recall
from etpick.evaluation.metrics import Evaluation, evaluate
from etpick.types import ParticleClass, Particles, Tomogram


@dataclass(frozen=True, eq=False)
class Case:
    """One of each per tomogram; evaluation, curves, baseline and its curves are None where unknown.

    `scored` are the candidates, or the picks; empty where some carry no scores.
    """

    tomograms: Sequence[Tomogram]
    picks: Sequence[Particles]
    scored: Sequence[Particles]
    truths: Sequence[Particles] | None
    classes: Sequence[ParticleClass]
    evaluation: Evaluation | None
    curves: Curves | None
    baseline: Evaluation | None
    baseline_curves: Curves | None
    thresholds: Mapping[str, float]

    @property
    def spacings_A(self) -> list[float]:
        """Of each tomogram."""
        return [t.spacing_A for t in self.tomograms]


def make_case(
    tomograms: Sequence[Tomogram], picks: Sequence[Particles], candidates: Sequence[Particles] | None,
    truths: Sequence[Particles] | None, classes: Sequence[ParticleClass],
    baseline: Sequence[Particles] | None, thresholds: Mapping[str, float],
) -> Case:  # fmt: skip
    """Score what can be scored. Raises InputError for lists of different lengths."""
    for given, what in (
        (picks, "picks"),
        (candidates, "candidates"),
        (truths, "truth"),
        (baseline, "baseline"),
    ):
        if given is not None and len(given) != len(tomograms):
            raise InputError(f"{len(tomograms)} tomograms but {len(given)} lists of {what}; give one for each")
    spacings = [t.spacing_A for t in tomograms]
    scored = picks if candidates is None else candidates
    ranked = all(len(p) == 0 or p.scores is not None for p in scored)
    evaluation = curves = floor = floor_curves = None
    if truths is not None:
        evaluation = evaluate(picks, truths, classes, spacings)
        curves = precision_recall(scored, truths, classes, spacings) if ranked else None
        if baseline is not None:
            floor_curves = precision_recall(baseline, truths, classes, spacings)
            limit = best_threshold(floor_curves.localisation, alpha=1.0)
            kept = [p.select(_at_least(p, math.inf if limit is None else limit)) for p in baseline]
            floor = evaluate(kept, truths, classes, spacings)
    return Case(
        tomograms, picks, scored if ranked else [], truths, classes, evaluation, curves, floor, floor_curves,
        thresholds,
    )  # fmt: skip


def _at_least(picks: Particles, score: float) -> list[int]:
    scores = np.zeros(0) if picks.scores is None else picks.scores
    return [int(i) for i in np.flatnonzero(scores >= score)]
