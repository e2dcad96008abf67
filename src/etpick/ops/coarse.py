"""A coarse copy of a volume, small enough to be held and searched whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etpick.types import FloatArray, Volume

_READ_BYTES: Final = 64 << 20
_MOST_VOXELS: Final = 30_000_000  # of a coarse volume
_SMOOTH_VX: Final = 0.7


@dataclass(frozen=True, eq=False)
class Coarse:
    """Block means [z, y, x] of a volume, each of `binning`³ of its voxels; what is left over at the far ends is cut."""

    levels: NDArray[np.float32]
    binning: int

    def smoothed(self) -> NDArray[np.float32]:
        """The levels without the noise of single voxels, as a copy."""
        return np.asarray(ndimage.gaussian_filter(self.levels, _SMOOTH_VX))

    def to_fine(self, positions: FloatArray) -> FloatArray:
        """(n, 3) coarse voxels → voxels of the volume."""
        return np.asarray((positions + 0.5) * self.binning - 0.5)


def coarsen(volume: Volume, binning: int) -> Coarse:
    """Average blocks of `binning`³ voxels, reading 64 MiB of the volume at a time.

    The binning is lowered for a volume that has fewer than eight blocks on an axis, and raised where more than
    30 million would remain.
    """
    shape = np.array(volume.shape)
    binning = max(1, min(binning, int(shape.min()) // 8))
    while np.prod(shape // binning) > _MOST_VOXELS:
        binning += 1
    z, y, x = (shape // binning).tolist()
    levels = np.empty((z, y, x), np.float32)
    rows = max(1, _READ_BYTES // int(binning * np.prod(shape[1:]) * 4))
    for first in range(0, z, rows):
        stop = min(first + rows, z)
        cut = slice(first * binning, stop * binning), slice(y * binning), slice(x * binning)
        block = np.asarray(volume[cut]).reshape(stop - first, binning, y * binning, x * binning)
        block = block.mean(axis=1, dtype=np.float32).reshape(stop - first, y, binning, x * binning)
        levels[first:stop] = block.mean(axis=2).reshape(stop - first, y, x, binning).mean(axis=3)
    return Coarse(levels, binning)


def robust_sigma(levels: NDArray[np.float32]) -> float:
    """1.4826 × the median absolute deviation."""
    sample = sample_of(levels)
    return 1.4826 * float(np.median(np.abs(sample - np.median(sample))))


def sample_of(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """About two million voxels, evenly spread."""
    step = max(1, levels.size // 2_000_000) | 1  # odd, so that it does not fall in step with the rows
    return levels.reshape(-1)[::step]
