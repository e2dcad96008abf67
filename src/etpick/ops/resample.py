"""Linear interpolation of a volume onto a finer or coarser grid, a box at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def axis_weights(start: int, stop: int, scale: float, size: int) -> tuple[int, NDArray[np.float32]]:
    """How output voxels [start, stop) of one axis draw on the input: (first input voxel, weights).

    `scale` is output voxels per input voxel and `size` the input's length; weights are
    (stop − start, inputs), rows summing to 1. The kernel is a triangle as wide as the coarser of the two
    voxels, so coarsening averages rather than skips. The answer of a voxel does not depend on the box.
    """
    centres = (np.arange(start, stop) + 0.5) / scale - 0.5
    reach = max(1.0, 1.0 / scale)
    first = max(0, math.ceil(centres[0] - reach))
    last = min(size - 1, math.floor(centres[-1] + reach))
    inputs = np.arange(first, last + 1)
    weights = np.clip(1 - np.abs(centres[:, None] - inputs[None, :]) / reach, 0, None)
    return first, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def apply_weights(
    block: NDArray[np.float32], weights: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """(z, y, x) input block and one weight matrix per axis → the output box."""
    z, y, x = weights
    block = np.tensordot(block, x, axes=(2, 1))
    block = np.matmul(y, block)
    return np.asarray(np.tensordot(z, block, axes=(1, 0)), dtype=np.float32)
