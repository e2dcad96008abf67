"""Voxels of one grid ↔ voxels of another ↔ Å."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from etpick.types import FloatArray, Shape3

SMALLEST_WIDTH_VX: Final = 7.0
LARGEST_WIDTH_VX: Final = 25.0
TOLERANCE: Final = 0.2  # a grid this close to the wanted width is not worth the blur of resampling it


def working_spacing_A(diameters_A: Sequence[float], native_A: float) -> float:
    """The spacing in Å at which a model works, given the tomograms' own.

    Particles should be 7–25 voxels wide (DeepETPicker, "Weak labels"). The smallest class decides: below
    7 voxels the grid is refined for it; a grid on which even it exceeds 25 is coarsened. The tomograms'
    own spacing is kept where it fits within 20 %.
    """
    width = min(diameters_A) / native_A
    if width < SMALLEST_WIDTH_VX * (1 - TOLERANCE):
        return min(diameters_A) / SMALLEST_WIDTH_VX
    if width > LARGEST_WIDTH_VX * (1 + TOLERANCE):
        return min(diameters_A) / LARGEST_WIDTH_VX
    return native_A


def rescale(positions: FloatArray, scale: float) -> FloatArray:
    """Voxel indices on a grid whose voxels are `scale` times as many per length.

    Grids share their outer corner, so index p, the centre of a voxel, lies p + ½ voxels from it.
    """
    return np.asarray((positions + 0.5) * scale - 0.5, dtype=np.float64)


def rescaled_shape(shape: Shape3, scale: float) -> Shape3:
    """Sizes of the grid that covers the same volume; at least one voxel each."""
    z, y, x = (max(1, round(n * scale)) for n in shape)
    return z, y, x
