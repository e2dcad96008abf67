"""How good picks are: precision, recall, F1 and distance, with and without class, counted one-to-one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.evaluation.matching import Matches, check_classes, check_pairs, match, per_tomogram, radii_vx
from etpick.types import ParticleClass, Particles

BACKGROUND = "background"
MISSED = "missed"


@dataclass(frozen=True)
class Score:
    """Counts of right picks, wrong picks and missed particles, and what follows from them.

    Where there is neither a pick nor a particle nothing was measured: precision, recall and F1 are NaN.
    Otherwise an empty side counts as failure: no picks gives precision 0, no particles gives recall 0.
    `mean_distance_vx` (AD) is the mean distance of right picks to the truth; NaN without right picks.
    """

    tp: int
    fp: int
    fn: int
    mean_distance_vx: float = math.nan

    @property
    def precision(self) -> float:
        """Right picks / picks."""
        return self._share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Particles found / particles."""
        return self._share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self._share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def _share(self, part: int, whole: int) -> float:
        if self.tp + self.fp + self.fn == 0:
            return math.nan
        return part / whole if whole else 0.0

    def to_dict(self) -> dict[str, float | int | None]:
        """For JSON: NaN becomes None."""
        return {
            "precision": _or_none(self.precision),
            "recall": _or_none(self.recall),
            "f1": _or_none(self.f1),
            "mean_distance_vx": _or_none(self.mean_distance_vx),
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
        }


@dataclass(frozen=True, eq=False)
class Confusion:
    """Localisation pairs by class: counts[i, j] particles of rows[i] picked as columns[j].

    The last row, `background`, holds the false positives; the last column, `missed`, the particles that
    nothing was paired with.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"rows": list(self.rows), "columns": list(self.columns), "counts": self.counts.tolist()}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Picks against truth: `localisation` ignores class, `classification` holds one score per class."""

    localisation: Score
    classification: Mapping[str, Score]
    confusion: Confusion

    @property
    def mean_class_f1(self) -> float:
        """Mean F1 over the classes that occur in truth or picks; NaN where none does."""
        return self.mean_f1_of(self.classification)

    def mean_f1_of(self, names: Iterable[str]) -> float:
        """Mean F1 over these classes, leaving out those absent from both truth and picks."""
        values = [self.classification[name].f1 for name in names]
        values = [value for value in values if not math.isnan(value)]
        return sum(values) / len(values) if values else math.nan

    def to_dict(self) -> dict[str, Any]:
        """For JSON: NaN becomes None."""
        return {
            "localisation": self.localisation.to_dict(),
            "classification": {name: score.to_dict() for name, score in self.classification.items()},
            "mean_class_f1": _or_none(self.mean_class_f1),
            "confusion": self.confusion.to_dict(),
        }


def evaluate(
    picks: Sequence[Particles],
    truths: Sequence[Particles],
    classes: Sequence[ParticleClass],
    spacing_A: float | Sequence[float],
) -> Evaluation:
    """Score picks against truth, tomogram by tomogram; counts are pooled over the tomograms.

    A pick is right where it is paired one-to-one with a true particle nearer than that particle's radius,
    half its class's diameter (METHOD.md, the paper's rule). Localisation pairs without regard to class;
    a class's score pairs its own picks with its own particles. `spacing_A` is one number or one for
    each tomogram. Raises InputError for classes without a diameter or lists of different lengths.
    """
    check_pairs(picks, truths)
    spacings = per_tomogram(spacing_A, len(picks))
    localisation = _Tally()
    by_class = {c.name: _Tally() for c in classes}
    confusion = np.zeros((len(classes) + 1, len(classes) + 1), dtype=np.int64)
    for found, truth, spacing in zip(picks, truths, spacings, strict=True):
        matches = match_particles(found, truth, classes, spacing)
        localisation.add(matches, len(found), len(truth))
        confusion += _confuse(found, truth, matches, [c.name for c in classes])
        for name, tally in by_class.items():
            some, true = found.of_class(name), truth.of_class(name)
            tally.add(match_particles(some, true, classes, spacing), len(some), len(true))
    names = tuple(by_class)
    return Evaluation(
        localisation.score(),
        {name: tally.score() for name, tally in by_class.items()},
        Confusion((*names, BACKGROUND), (*names, MISSED), confusion),
    )


def match_particles(picks: Particles, truth: Particles, classes: Sequence[ParticleClass], spacing_A: float) -> Matches:
    """Pair picks with truth within each true particle's radius, whatever the picks' classes."""
    check_classes(picks, classes)
    return match(picks.positions, truth.positions, radii_vx(truth, classes, spacing_A))


def f1_alpha(precision: float, recall: float, alpha: float = 3.0) -> float:
    """The paper's generalised F1, 2·P·R^α / (P + R^α): α above 1 punishes missed particles more.

    Nothing found, or an undefined (NaN) precision or recall, gives 0, so that it can rank models.
    """
    if alpha <= 0:
        raise InputError(f"alpha {alpha} of the generalised F1 must be positive")
    if not (precision > 0 and recall > 0):
        return 0.0
    weighted = math.pow(recall, alpha)
    return 2 * precision * weighted / (precision + weighted)


class _Tally:
    """Counts that grow over tomograms."""

    def __init__(self) -> None:
        self.tp = self.fp = self.fn = 0
        self.distance = 0.0

    def add(self, matches: Matches, picks: int, truths: int) -> None:
        self.tp += len(matches)
        self.fp += picks - len(matches)
        self.fn += truths - len(matches)
        self.distance += float(matches.distances.sum())

    def score(self) -> Score:
        return Score(self.tp, self.fp, self.fn, self.distance / self.tp if self.tp else math.nan)


def _confuse(picks: Particles, truth: Particles, matches: Matches, names: list[str]) -> NDArray[np.int64]:
    """(classes + 1, classes + 1) counts of one tomogram."""
    number = {name: i for i, name in enumerate(names)}
    nothing = len(names)
    true = np.array([number[str(name)] for name in truth.classes], dtype=np.intp)
    found = np.array([number[str(name)] for name in picks.classes], dtype=np.intp)
    columns = np.full(len(true), nothing)
    columns[matches.truth] = found[matches.predicted]
    wrong = np.delete(found, matches.predicted)
    counts = np.zeros((nothing + 1, nothing + 1), dtype=np.int64)
    np.add.at(counts, (np.append(true, np.full(len(wrong), nothing)), np.append(columns, wrong)), 1)
    return counts


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
