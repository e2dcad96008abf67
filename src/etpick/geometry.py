"""Voxels of one grid ↔ voxels of another ↔ Å."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from etpick.types import FloatArray, Shape3

SMALLEST_WIDTH_VX: Final = 7.0
LARGEST_WIDTH_VX: Final = 25.0
WIDE_VX: Final = 14.0  # 7 voxels of a network that answers at half the resolution
TOLERANCE: Final = 0.2  # a grid this close to the wanted width is not worth the blur of resampling it


def working_spacing_A(diameters_A: Sequence[float], native_A: float) -> float:
    """The spacing in Å at which a model works, given the tomograms' own.

    Particles should be 7–25 voxels wide (DeepETPicker, "Weak labels"), and the smallest class decides: below
    7 voxels the grid is refined for it; a grid on which even it exceeds 25 is coarsened. Where even the
    largest class spans less than 14, neighbours melt together at half resolution, and the grid is refined
    for that class. The tomograms' own spacing is kept where it fits within 20 %.
    """
    smallest, largest = min(diameters_A) / native_A, max(diameters_A) / native_A
    if smallest > LARGEST_WIDTH_VX * (1 + TOLERANCE):
        return native_A * smallest / LARGEST_WIDTH_VX
    finer = max(SMALLEST_WIDTH_VX / smallest, WIDE_VX / largest)
    return native_A / finer if finer * (1 - TOLERANCE) > 1 else native_A


def rescale(positions: FloatArray, scale: float) -> FloatArray:
    """Voxel indices on a grid whose voxels are `scale` times as many per length.

    Grids share their outer corner, so index p, the centre of a voxel, lies p + ½ voxels from it.
    """
    return np.asarray((positions + 0.5) * scale - 0.5, dtype=np.float64)


def rescaled_shape(shape: Shape3, scale: float) -> Shape3:
    """Sizes of the grid that covers the same volume; at least one voxel each."""
    z, y, x = (max(1, round(n * scale)) for n in shape)
    return z, y, x
