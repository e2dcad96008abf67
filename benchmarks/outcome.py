"""What compare.py keeps of one method in one tomogram, how thresholds are chosen, and how it is scored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common import REPORTED, phantom_classes
from etpick.evaluation.curves import Curves, best_threshold, precision_recall
from etpick.evaluation.metrics import Evaluation, evaluate
from etpick.types import ParticleClass, Particles

SPACING_A = 10.0
CLASSES = phantom_classes()


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a method found in one tomogram, and what that took.

    found: every candidate, with a score. limits: for each class sought, the score from which a candidate is a
    pick; empty while nobody has chosen it. seconds, cpu_seconds: from an open tomogram to candidates; the second
    counts the processor's time, whatever else the machine was doing. memory_gb: peak of the process, Python
    included. command: how pick_once.py was called, so that a changed call is run again.
    """

    found: Particles
    limits: Mapping[str, float]
    seconds: float
    cpu_seconds: float
    memory_gb: float
    command: Sequence[str] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def picks(self) -> Particles:
        """The candidates that reach the limit of their class."""
        return self.found.select(scores_of(self.found) >= [self.limits[str(name)] for name in self.found.classes])

    @property
    def classes(self) -> tuple[ParticleClass, ...]:
        """The classes that were sought."""
        return tuple(c for c in CLASSES if c.name in self.limits)

    def evaluation(self, truth: Particles) -> Evaluation:
        """Of the picks, against the true particles of the classes sought."""
        return evaluate([self.picks], [self._sought(truth)], self.classes, SPACING_A)

    def curves(self, truth: Particles) -> Curves:
        """Of the candidates, against the true particles of the classes sought."""
        return precision_recall([self.found], [self._sought(truth)], self.classes, SPACING_A)

    def _sought(self, truth: Particles) -> Particles:
        return truth.select(np.isin(truth.classes, list(self.limits)))

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        costs = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "memory_gb": self.memory_gb}
        meta = costs | {"limits": self.limits, "command": list(self.command), "machine": self.machine}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path, positions=self.found.positions, classes=self.found.classes, scores=scores_of(self.found),
            meta=json.dumps(meta),
        )  # fmt: skip


def load(path: Path) -> Outcome:
    """Read what `Outcome.save` wrote."""
    with np.load(path) as file:
        found = Particles(file["positions"], file["classes"], file["scores"], spacing_A=SPACING_A)
        return Outcome(found, **json.loads(str(file["meta"])))


def merge(parts: Sequence[Outcome]) -> Outcome:
    """One outcome from several that sought different classes: times add up, memory does not."""
    found = Particles(
        np.concatenate([p.found.positions for p in parts]),
        np.concatenate([p.found.classes for p in parts]),
        np.concatenate([scores_of(p.found) for p in parts]),
    )
    limits = {name: limit for p in parts for name, limit in p.limits.items()}
    seconds, cpu = sum(p.seconds for p in parts), sum(p.cpu_seconds for p in parts)
    return Outcome(found, limits, seconds, cpu, max(p.memory_gb for p in parts), (), parts[0].machine)


def fit_limits(found: Particles, truth: Particles, classes: Sequence[ParticleClass]) -> dict[str, float]:
    """One threshold for all classes, as etpick has, with the best localisation F1; for scores that are no chances."""
    names = [c.name for c in classes]
    truth = truth.select(np.isin(truth.classes, names))
    limit = best_threshold(precision_recall([found], [truth], classes, SPACING_A).localisation, alpha=1.0)
    return dict.fromkeys(names, 0.0 if limit is None else limit)


def figures(outcome: Outcome, truth: Particles) -> dict[str, Any]:
    """What is reported. Figures over all classes are None where not all were sought."""
    result, curves = outcome.evaluation(truth), outcome.curves(truth)
    place = result.localisation
    whole: dict[str, float | None] = {
        "precision": place.precision, "recall": place.recall, "localisation_f1": place.f1,
        "distance_vx": place.mean_distance_vx, "average_precision": curves.localisation.average_precision,
        "mean_class_f1": result.mean_f1_of(n for n in REPORTED if n in result.classification),
    }  # fmt: skip
    if len(outcome.classes) < len(CLASSES):
        whole = dict.fromkeys(whole)
    return whole | {
        "picking_seconds": outcome.seconds, "picking_cpu_seconds": outcome.cpu_seconds,
        "peak_memory_gb": outcome.memory_gb,
        "class_f1": {name: score.f1 for name, score in result.classification.items()},
        "class_average_precision": {n: c.average_precision for n, c in curves.classification.items()},
        "class_distance_vx": {n: s.mean_distance_vx if s.tp else None for n, s in result.classification.items()},
        "machine": outcome.machine,
    }  # fmt: skip


def scores_of(found: Particles) -> np.ndarray:
    """(n,) scores; none where there are no candidates."""
    return np.zeros(0) if found.scores is None else found.scores
