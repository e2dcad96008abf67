"""From picks and what is known about them to a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from etpick.evaluation.metrics import Score
from etpick.report.case import Case, make_case
from etpick.report.mistakes import distances_section, mistakes_section, tomograms_section
from etpick.report.page import Number, Report
from etpick.report.sections import (
    classes_section,
    confusion_section,
    curves_section,
    provenance_section,
    scores_section,
    share,
    slices_section,
    training_section,
)
from etpick.types import ParticleClass, Particles, Tomogram


def evaluation_report(
    title: str,
    tomograms: Sequence[Tomogram],
    picks: Sequence[Particles],
    classes: Sequence[ParticleClass],
    *,
    candidates: Sequence[Particles] | None = None,
    truths: Sequence[Particles] | None = None,
    baseline: Sequence[Particles] | None = None,
    history: Sequence[Mapping[str, Any]] | None = None,
    thresholds: Mapping[str, float] | None = None,
    provenance: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    why_empty: str = "",
    lead: str = "",
) -> Report:
    """A report on the picks of one or more tomograms, in voxels of those tomograms.

    `candidates` are the picks with those below the threshold, for curves and histogram; the picks stand in
    where there are none. `baseline` are the scored picks of a simple method; they are judged at the threshold
    that suits them best on this truth, which favours them. `history` holds one mapping for each validation:
    step, loss, validation_f1 (may be None or NaN), minutes. `why_empty` says why there are no picks.
    Raises InputError for classes without a diameter or lists of different lengths.
    """
    case = make_case(tomograms, picks, candidates, truths, classes, baseline, thresholds or {})
    sections = (
        slices_section(case, why_empty),
        curves_section(case),
        classes_section(case),
        tomograms_section(case),
        confusion_section(case),
        distances_section(case),
        mistakes_section(case),
        scores_section(case),
        training_section(history or ()),
        provenance_section(provenance or {}),
    )
    kept = tuple(section for section in sections if section is not None)
    return Report(title, lead or _lead(case), _numbers(case), tuple(notes), kept)


def _lead(case: Case) -> str:
    names = [t.name for t in case.tomograms]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    count = sum(map(len, case.picks))
    what = ", ".join(f"{c.name} ({c.diameter_A / 10:g} nm)" for c in case.classes)
    return f"{count} picks in {shown}. Looked for: {what}."


def _numbers(case: Case) -> tuple[Number, ...]:
    count = sum(map(len, case.picks))
    if case.evaluation is None:
        by_class = [(c.name, sum(int((p.classes == c.name).sum()) for p in case.picks)) for c in case.classes]
        each = [Number(name, str(n)) for name, n in by_class] if len(by_class) > 1 else []
        return (Number("picks", str(count)), *each)
    score = case.evaluation.localisation
    numbers = [
        Number("F1", share(score.f1), _beside(case)),
        Number("precision", share(score.precision), f"{score.tp} of {count} picks are right"),
        Number("recall", share(score.recall), f"{score.tp} of {score.tp + score.fn} particles found"),
        Number("distance to the truth", _voxels(score), _nanometres(case, score)),
    ]
    if len(case.classes) > 1:
        numbers.append(Number("mean class F1", share(case.evaluation.mean_class_f1), "place and class right"))
    return tuple(numbers)


def _beside(case: Case) -> str:
    if case.baseline is None:
        return "localisation, class ignored"
    return f"difference of Gaussians: {share(case.baseline.localisation.f1)}"


def _voxels(score: Score) -> str:
    return "–" if math.isnan(score.mean_distance_vx) else f"{score.mean_distance_vx:.2f} voxel"


def _nanometres(case: Case, score: Score) -> str:
    if math.isnan(score.mean_distance_vx) or len(set(case.spacings_A)) != 1:
        return "mean over right picks"
    return f"{score.mean_distance_vx * case.spacings_A[0] / 10:.2f} nm, mean over right picks"
