"""Labels that heed what was said of picks: accepted ones become labels, rejected ones places to learn as background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from etpick.curation.review import Decisions
from etpick.types import NEGATIVE, FloatArray, Particles

_SAME_VX = 1.0


@dataclass(frozen=True, eq=False)
class Corrected:
    """The labels of a tomogram after a correction, and what became of what was said.

    added: labels from accepted picks. negatives: places from rejected ones. known: accepted picks that are labelled
    already, and rejected ones that are marked. replaced: marks that said the opposite, or another class. standing:
    rejected picks beside whose centre somebody marked a particle; its label stands.
    """

    particles: Particles
    added: int = 0
    negatives: int = 0
    known: int = 0
    replaced: int = 0
    standing: int = 0

    @property
    def changed(self) -> bool:
        """Whether the labels differ from what they were."""
        return bool(self.added or self.negatives or self.replaced)


class _Labels:
    """Positions and classes while they are being corrected."""

    def __init__(self, labels: Particles) -> None:
        self.positions, self.classes = labels.positions, labels.classes.astype(object)

    def nearest(self, position: FloatArray, negative: bool) -> tuple[int, float]:
        """Row and distance of the nearest mark that is a place without a particle, or a particle; −1 and ∞."""
        rows = np.flatnonzero((self.classes == NEGATIVE) == negative)
        if not len(rows):
            return -1, np.inf
        distances = np.linalg.norm(self.positions[rows] - position, axis=1)
        best = int(distances.argmin())
        return int(rows[best]), float(distances[best])

    def add(self, position: FloatArray, name: str) -> None:
        self.positions = np.concatenate([self.positions, position[None]])
        self.classes = np.append(self.classes, name)

    def remove_near(self, position: FloatArray, reach: float, negative: bool) -> int:
        """Take away the marks of that kind within reach; how many there were."""
        near = np.linalg.norm(self.positions - position, axis=1) < reach
        kept = ~(near & ((self.classes == NEGATIVE) == negative))
        self.positions, self.classes = self.positions[kept], self.classes[kept]
        return int((~kept).sum())


def correct_labels(labels: Particles, said: Decisions, radii_vx: Mapping[str, float]) -> Corrected:
    """Join what was said to the labels of a tomogram, in its voxels; saying it again changes nothing.

    An accepted pick within its class's radius of a label is that particle; one with another class than it was picked
    as gives the label that class. It takes away places marked as none there. A rejected pick becomes such a place,
    except within the radius of a label. A label at the pick's own place, within a voxel, was made from it, and goes.
    """
    marks, counts = _Labels(labels), {"added": 0, "negatives": 0, "known": 0, "replaced": 0, "standing": 0}
    widest = max(radii_vx.values(), default=0.0)
    for position, verdict, was in zip(said.particles.positions, said.particles.classes, said.picked_as, strict=True):
        if verdict == NEGATIVE:
            _reject(marks, position, radii_vx.get(str(was), widest), counts)
        else:
            _accept(marks, position, str(verdict), str(was), radii_vx.get(str(verdict), widest), counts)
    particles = Particles(
        marks.positions, marks.classes.astype(np.str_), spacing_A=labels.spacing_A, tomogram=labels.tomogram
    )
    return Corrected(particles, **counts)


def _accept(marks: _Labels, position: FloatArray, verdict: str, was: str, reach: float, counts: dict[str, int]) -> None:
    counts["replaced"] += marks.remove_near(position, reach, negative=True)
    row, distance = marks.nearest(position, negative=False)
    if distance >= reach:
        marks.add(position, verdict)
        counts["added"] += 1
    elif verdict != was and marks.classes[row] != verdict:
        marks.classes[row] = verdict
        counts["replaced"] += 1
    else:
        counts["known"] += 1


def _reject(marks: _Labels, position: FloatArray, reach: float, counts: dict[str, int]) -> None:
    counts["replaced"] += marks.remove_near(position, _SAME_VX, negative=False)
    if marks.nearest(position, negative=False)[1] < reach:
        counts["standing"] += 1
    elif marks.nearest(position, negative=True)[1] < reach:
        counts["known"] += 1
    else:
        marks.add(position, NEGATIVE)
        counts["negatives"] += 1
