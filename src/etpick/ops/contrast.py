"""Do places in a volume stand out from their surroundings more than random places do?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etpick.types import FloatArray, Volume

_PLACES = 300
_RADII_VX = (2, 4, 7)


@dataclass(frozen=True)
class Contrast:
    """effect: mean difference from the surroundings, in σ of random places; strength: in standard errors."""

    effect: float
    strength: float


class ContrastProbe:
    """Judges places in a volume [z, y, x]: the mean of a ball minus that of the shell up to twice its radius.

    The difference leaves out slow changes such as vacuum above a lamella. Several radii are tried, as
    diameters need not be known. Grey levels beyond `low` and `high` are clipped, NaN stands for the middle.
    Only the neighbourhoods of at most 300 places, and of as many random ones, are read.
    """

    def __init__(self, volume: Volume, low: float, high: float) -> None:
        self._volume = volume
        self._low, self._high = low, high
        self._reach = 2 * max(_RADII_VX)
        self._weights = _weights(self._reach)

    def at(self, positions: FloatArray) -> Contrast:
        """The contrast of (n, 3) zyx places, n ≥ 1, at the radius where it is largest.

        Random places are drawn from the box that the places span: crowded into a corner, even random ones
        share few particles and would seem to stand out from the rest of the volume.
        """
        rng = np.random.default_rng(0)
        if len(positions) > _PLACES:
            positions = rng.choice(positions, _PLACES, replace=False)
        random = self._contrasts(rng.uniform(positions.min(axis=0), positions.max(axis=0), (_PLACES, 3)))
        differences = self._contrasts(positions).mean(axis=0) - random.mean(axis=0)
        effects = differences / (random.std(axis=0) + 1e-12)
        effect = float(effects[np.abs(effects).argmax()])
        return Contrast(effect, abs(effect) / float(np.sqrt(1 / len(positions) + 1 / _PLACES)))

    def _contrasts(self, positions: FloatArray) -> FloatArray:
        """(n, radii)."""
        return np.array([self._weights @ self._cut(c).ravel() for c in np.rint(positions).astype(int)])

    def _cut(self, centre: NDArray[Any]) -> FloatArray:
        """The box around a voxel, the volume's edge repeated beyond it."""
        start, stop = centre - self._reach, centre + self._reach + 1
        low = np.clip(start, 0, np.array(self._volume.shape) - 1)
        high = np.clip(stop, 1, self._volume.shape)
        box = np.asarray(self._volume[tuple(map(slice, low, high))], dtype=np.float64)
        box = np.pad(box, list(zip(low - start, stop - high, strict=True)), mode="edge")
        filled = np.nan_to_num(box, nan=(self._low + self._high) / 2)
        clipped: FloatArray = np.clip(filled, self._low, self._high)
        return clipped


def _weights(reach: int) -> FloatArray:
    """(radii, voxels of the box): ball minus shell, each with sum one."""
    axes = [np.arange(-reach, reach + 1)] * 3
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    balls = [distance <= radius for radius in _RADII_VX]
    shells = [(distance > radius) & (distance <= 2 * radius) for radius in _RADII_VX]
    return np.array([(b / b.sum() - s / s.sum()).ravel() for b, s in zip(balls, shells, strict=True)])
