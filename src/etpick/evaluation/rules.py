"""The scoring rules of two public challenges: SHREC 2021 and CZII 2024."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.evaluation.matching import check_classes, check_pairs, match, per_tomogram, radii_vx
from etpick.evaluation.metrics import Score
from etpick.types import ParticleClass, Particles

FIRST_CODE = 65000  # from here up an occupancy label says membrane, gold … rather than which particle


@dataclass(frozen=True)
class ShrecScore:
    """SHREC's numbers. Precision and recall are 0 where their denominator is; AD is NaN without hits."""

    precision: float
    recall: float
    mean_distance_vx: float
    classification: Mapping[str, Score]

    @property
    def f1(self) -> float:
        """Harmonic mean of localisation precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def mean_class_f1(self) -> float:
        """Mean F1 over the classes that occur in the truth or among the hits."""
        values = [s.f1 for s in self.classification.values() if not math.isnan(s.f1)]
        return sum(values) / len(values) if values else math.nan


def shrec_rule(
    picks: Particles, truth: Particles, occupancy: NDArray[np.integer], classes: Sequence[ParticleClass]
) -> ShrecScore:
    """Score one tomogram as the script of SHREC 2021 does (METHOD.md §3).

    `occupancy` [z, y, x] holds at each voxel the row number in `truth`, counted from 1, of the particle
    there, 0 for background and codes from 65000 up for membrane, gold and the like. A pick hits the
    particle whose mask, dilated by one voxel (the 3×3×3 neighbourhood), holds the pick's rounded voxel; at
    a voxel that several masks reach, its own label first, then the nearest centre. Recall = distinct
    particles hit / particles, precision = distinct particles hit / picks. A particle's distance and class
    are those of the first pick that hits it, in the order of `picks`. A class's false positives are
    particles of other classes called so: picks on background count in localisation only, and more than one
    pick on a particle in precision only.
    """
    check_classes(picks, classes)
    check_classes(truth, classes)
    first = _first_hits(_hit_particles(picks, truth, occupancy))
    found = np.array(sorted(first), dtype=np.intp)
    by = np.array([first[i] for i in found], dtype=np.intp)
    offset = picks.positions[by] - truth.positions[found]
    names = [c.name for c in classes]
    return ShrecScore(
        precision=len(found) / len(picks) if len(picks) else 0.0,
        recall=len(found) / len(truth) if len(truth) else 0.0,
        mean_distance_vx=float(np.linalg.norm(offset, axis=1).mean()) if len(found) else math.nan,
        classification={
            name: _class_score(truth.classes, truth.classes[found], picks.classes[by], name) for name in names
        },
    )


def _class_score(truth: NDArray[np.str_], hit: NDArray[np.str_], called: NDArray[np.str_], name: str) -> Score:
    tp = int(np.count_nonzero((hit == name) & (called == name)))
    return Score(tp, int(np.count_nonzero(called == name)) - tp, int(np.count_nonzero(truth == name)) - tp)


def _hit_particles(picks: Particles, truth: Particles, occupancy: NDArray[np.integer]) -> list[int | None]:
    """For each pick the row of the true particle that it hits."""
    shape = np.array(occupancy.shape)
    voxels = np.rint(picks.positions).astype(np.intp)
    hits: list[int | None] = []
    for voxel, position in zip(voxels, picks.positions, strict=True):
        inside = bool((voxel >= 0).all() and (voxel < shape).all())
        hits.append(_particle_at(voxel, position, truth, occupancy) if inside else None)
    return hits


def _particle_at(
    voxel: NDArray[np.intp],
    position: NDArray[np.float64],
    truth: Particles,
    occupancy: NDArray[np.integer],
) -> int | None:
    """Row of the particle whose mask holds the voxel or touches it."""
    label = int(occupancy[tuple(voxel)])
    if 0 < label < FIRST_CODE:
        return _row(label, truth)
    window = tuple(slice(max(v - 1, 0), v + 2) for v in voxel)
    near = [_row(int(n), truth) for n in np.unique(occupancy[window]) if 0 < n < FIRST_CODE]
    if not near:
        return None
    return min(near, key=lambda row: float(np.linalg.norm(truth.positions[row] - position)))


def _row(label: int, truth: Particles) -> int:
    if not 1 <= label <= len(truth):
        raise InputError(
            f"the occupancy volume holds particle {label} but the truth has {len(truth)} rows; "
            "give the two files of the same tomogram"
        )
    return label - 1


def _first_hits(hits: Sequence[int | None]) -> dict[int, int]:
    """True row → row of the first pick that hits it."""
    first: dict[int, int] = {}
    for pick, particle in enumerate(hits):
        if particle is not None:
            first.setdefault(particle, pick)
    return first


@dataclass(frozen=True)
class CziiScore:
    """The weighted mean F-beta, that of each class (NaN: neither picks nor truth), and the counts."""

    f_beta: float
    by_class: Mapping[str, float]
    counts: Mapping[str, Score]


def czii_rule(
    picks: Sequence[Particles],
    truths: Sequence[Particles],
    classes: Sequence[ParticleClass],
    spacing_A: float | Sequence[float],
    beta: float = 4.0,
    weights: Mapping[str, float] | None = None,
) -> CziiScore:
    """Score tomograms as the CZII challenge does: a hit lies within half the radius of its class.

    Right, wrong and missed picks of each class are added up over the tomograms (METHOD.md §3);
    F_β = (1+β²)·TP / ((1+β²)·TP + β²·FN + FP); the result is the mean over classes weighted by `weights`
    (1 where not given, 0 leaves a class out), over the classes that occur in truth or picks.
    """
    check_pairs(picks, truths)
    weights = weights or {}
    if unknown := set(weights) - {c.name for c in classes}:
        raise InputError(f"weights are given for {', '.join(sorted(unknown))}, which are not among the classes")
    spacings = per_tomogram(spacing_A, len(picks))
    for found, truth in zip(picks, truths, strict=True):
        check_classes(found, classes)
        check_classes(truth, classes)
    counts = {c.name: _count_class(picks, truths, c, spacings) for c in classes}
    by_class = {name: _f_beta(score, beta) for name, score in counts.items()}
    weighted = [(weights.get(n, 1.0), f) for n, f in by_class.items() if not math.isnan(f)]
    total = sum(w for w, _ in weighted)
    mean = sum(w * f for w, f in weighted if w) / total if total else math.nan
    return CziiScore(mean, by_class, counts)


def _count_class(
    picks: Sequence[Particles], truths: Sequence[Particles], c: ParticleClass, spacings: Sequence[float]
) -> Score:
    tp = fp = fn = 0
    for found, truth, spacing in zip(picks, truths, spacings, strict=True):
        some, true = found.of_class(c.name), truth.of_class(c.name)
        hits = len(match(some.positions, true.positions, radii_vx(true, [c], spacing) / 2))
        tp, fp, fn = tp + hits, fp + len(some) - hits, fn + len(true) - hits
    return Score(tp, fp, fn)


def _f_beta(score: Score, beta: float) -> float:
    if score.tp + score.fp + score.fn == 0:
        return math.nan
    right = (1 + beta**2) * score.tp
    return right / (right + beta**2 * score.fn + score.fp)
