"""What is drawn around each pick and each missed particle: where, how large, and whether it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etpick.evaluation.matching import radii_vx
from etpick.evaluation.metrics import match_particles
from etpick.types import FloatArray, ParticleClass, Particles

State = Literal["right", "other class", "wrong", "missed", "pick", "left out"]
STATES: tuple[State, ...] = ("right", "other class", "wrong", "missed", "pick", "left out")


@dataclass(frozen=True, eq=False)
class Marks:
    """Spheres to draw: positions (n, 3) zyx and radii (n,) in voxels, states (n,) and class names (n,).

    States: `right` and `other class` are picks paired with a particle, `wrong` picks without one,
    `missed` particles without a pick, `pick` a pick of which nothing is known, `left out` what would have
    been one if it did not lie in an excluded zone.
    """

    positions: FloatArray
    radii: FloatArray
    states: NDArray[np.str_]
    classes: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.states)

    def __add__(self, others: Marks) -> Marks:
        """These marks and others."""
        names = ("positions", "radii", "states", "classes")
        return Marks(*(np.concatenate([getattr(self, name), getattr(others, name)]) for name in names))


@dataclass(frozen=True)
class View:
    """A plane through a tomogram: the axis that it cuts (0 z, 1 y, 2 x), and the voxel at which it does."""

    axis: int
    index: int

    @property
    def shown(self) -> tuple[int, int]:
        """The axes that point up and to the right."""
        up, right = (axis for axis in range(3) if axis != self.axis)
        return up, right

    @property
    def name(self) -> str:
        """For a caption: `xy, z = 31`."""
        up, right = self.shown
        return f"{'zyx'[right]}{'zyx'[up]}, {'zyx'[self.axis]} = {self.index}"


def mark(picks: Particles, truth: Particles | None, classes: Sequence[ParticleClass], spacing_A: float) -> Marks:
    """Marks of one tomogram, paired as localisation does. A right pick is drawn at the pick's place."""
    states = np.full(len(picks), "pick", dtype="<U11")
    radii = radii_vx(picks, classes, spacing_A)
    if truth is None:
        return Marks(picks.positions, radii, states, picks.classes)
    pairs = match_particles(picks, truth, classes, spacing_A)
    same = picks.classes[pairs.predicted] == truth.classes[pairs.truth]
    states[:] = "wrong"
    states[pairs.predicted] = np.where(same, "right", "other class")
    missed = truth.select(np.delete(np.arange(len(truth)), pairs.truth))
    return Marks(
        np.concatenate([picks.positions, missed.positions]),
        np.concatenate([radii, radii_vx(missed, classes, spacing_A)]),
        np.concatenate([states, np.full(len(missed), "missed")]),
        np.concatenate([picks.classes, missed.classes]),
    )


def mark_left_out(particles: Particles, classes: Sequence[ParticleClass], spacing_A: float) -> Marks:
    """Marks of particles that lie in excluded zones."""
    marks = mark(particles, None, classes, spacing_A)
    return replace(marks, states=np.full(len(marks), "left out"))


def busiest_slices(marks: Marks, depth: int, count: int, axis: int = 0) -> list[int]:
    """At most `count` slices, ascending, that cut the most spheres and lie a diameter apart.

    Slices are perpendicular to an axis on which the volume has `depth` voxels, z unless said otherwise. The
    middle slice where there is nothing to cut.
    """
    z = np.arange(depth)
    cut = (np.abs(z[:, None] - marks.positions[:, axis]) < marks.radii).sum(axis=1)
    apart = 2 * float(marks.radii.max()) if len(marks) else 0.0
    chosen: list[int] = []
    while len(chosen) < count and cut.max() > 0:
        level = np.flatnonzero(cut == cut.max())
        best = int(level[len(level) // 2])
        chosen.append(best)
        cut = np.where(np.abs(z - best) < apart, 0, cut)
    return sorted(chosen) or [depth // 2]
