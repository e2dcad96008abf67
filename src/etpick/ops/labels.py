"""Weak labels: small bodies painted around particle centres, made for each subtomogram on the fly."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from etpick.types import FloatArray, Shape3

Shape = Literal["cubic", "ball", "truncated-ball"]
LEAST_RADIUS: Final = 0.9  # in output voxels; half a voxel's diagonal is 0.87


def label_diameters(
    particle_vx: FloatArray, *, fraction: float, most_vx: float | None = None, stride: int = 1
) -> FloatArray:
    """Label diameters in voxels: a fraction of each particle's, and at most `most_vx`.

    With fraction 1 labels are constant, except that none exceeds its particle. A label could fall between
    output voxels if it were smaller than one's diagonal, so none is.
    """
    wanted = particle_vx * fraction if most_vx is None else np.minimum(particle_vx * fraction, most_vx)
    return np.maximum(wanted, 2 * LEAST_RADIUS * stride + 1)


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
        offsets = [(np.arange(a, b) - c) * stride for a, b, c in zip(low, high, centre, strict=True)]
        squared = offsets[0][:, None, None] ** 2 + offsets[1][None, :, None] ** 2 + offsets[2][None, None, :] ** 2
        limit = {"cubic": np.inf, "ball": radius**2, "truncated-ball": 2 * radius**2}[kind]
        wins = (squared < limit) & (squared < nearest[window])
        labels[window][wins] = label
        nearest[window][wins] = squared[wins]
    return labels
