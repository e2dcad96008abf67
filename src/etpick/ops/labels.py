"""Weak labels: small bodies painted around particle centres, made for each subtomogram on the fly."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etpick.types import FloatArray, Shape3

Shape = Literal["cubic", "ball", "truncated-ball"]


def label_diameters(
    particle_vx: FloatArray, constant_vx: float, fraction: float | None = None
) -> FloatArray:
    """Label diameters in voxels: constant, or a fraction of each particle's; never above the particle's."""
    wanted = np.full_like(particle_vx, constant_vx) if fraction is None else particle_vx * fraction
    return np.minimum(wanted, particle_vx)


def render_labels(
    positions: FloatArray,
    classes: NDArray[np.integer],
    diameters: FloatArray,
    shape: Shape3,
    *,
    kind: Shape = "truncated-ball",
    stride: int = 1,
) -> NDArray[np.uint8]:
    """Paint labels; each voxel takes the class of the nearest centre whose label covers it.

    positions: (n, 3) zyx in input voxels, sub-voxel, inside or outside. classes: (n,) from 1 (0 is
    background). diameters: (n,) d = 2r + 1 in input voxels, odd, even or broken. Output voxel j sits at
    input position stride·j + (stride − 1)/2. With (z, y, x) the offset from the centre (DeepETPicker,
    "Weak labels"): cubic |z|, |y|, |x| ≤ r; ball z² + y² + x² < r²; truncated ball < 2r² inside the cube.
    """
    labels = np.zeros(shape, dtype=np.uint8)
    nearest = np.full(shape, np.inf)
    for position, label, diameter in zip(positions, classes, diameters, strict=True):
        radius = (diameter - 1) / 2
        centre = (position - (stride - 1) / 2) / stride
        low = np.maximum(np.ceil(centre - radius / stride).astype(int), 0)
        high = np.minimum(np.floor(centre + radius / stride).astype(int) + 1, shape)
        if (high <= low).any():
            continue
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        offsets = [
            (np.arange(a, b) - c) * stride for a, b, c in zip(low, high, centre, strict=True)
        ]
        squared = (
            offsets[0][:, None, None] ** 2 + offsets[1][None, :, None] ** 2 + offsets[2][None, None, :] ** 2
        )
        limit = {"cubic": np.inf, "ball": radius**2, "truncated-ball": 2 * radius**2}[kind]
        wins = (squared < limit) & (squared < nearest[window])
        labels[window][wins] = label
        nearest[window][wins] = squared[wins]
    return labels
