"""Put bodies into a volume, turned at random, without overlap, at sub-voxel centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, binary_dilation
from scipy.spatial.transform import Rotation

from etpick.simulate.rotation import zyx_matrix
from etpick.types import FloatArray, Shape3

# Codes in an occupancy volume; particles count from 1 (row number in the truth), water is 0.
MEMBRANE, GOLD, DISTRACTOR = 65535, 65534, 65533
MAX_PARTICLES = DISTRACTOR - 1

_SOLID = 0.3  # density from which a voxel belongs to a body
_ATTEMPTS = 400


@dataclass(frozen=True, eq=False)
class Body:
    """A density cut to a box, the voxels that are solid, the same with a margin of one, its centre (zyx)."""

    density: NDArray[np.float32]
    solid: NDArray[np.bool_]
    margin: NDArray[np.bool_]
    centre: FloatArray

    @classmethod
    def of(cls, density: NDArray[np.float32], centre: FloatArray) -> Self:
        """Trim a density [z, y, x] to what is not water; centre in its voxels."""
        solid = density > _SOLID
        margin = binary_dilation(solid, np.ones((3, 3, 3), dtype=np.bool_))
        where = np.argwhere(margin | (density > 0.01))
        low, high = where.min(axis=0), where.max(axis=0) + 1
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        return cls(density[box], solid[box], margin[box], centre - low)


def turned(reference: NDArray[np.float32], rotation: Rotation, shift: FloatArray) -> Body:
    """Turn a centred cube [z, y, x] by a rotation (of xyz vectors) and move it by a part of a voxel (zyx)."""
    side = len(reference)
    reach = int(np.ceil(np.sqrt(3) / 2 * side)) + 1
    centre = reach + shift
    back = zyx_matrix(rotation).T
    box = (2 * reach + 1,) * 3
    density = affine_transform(reference, back, side // 2 - back @ centre, output_shape=box, order=1)
    return Body.of(density, centre)


class Canvas:
    """A volume being filled: `density` float32 and `occupancy` uint16, both [z, y, x]."""

    def __init__(self, shape: Shape3) -> None:
        self.density = np.zeros(shape, dtype=np.float32)
        self.occupancy = np.zeros(shape, dtype=np.uint16)

    def place(self, body: Body, code: int, rng: np.random.Generator) -> FloatArray | None:
        """Put the whole body at a random free place; its centre (3,) zyx, or None where none was found."""
        room = np.array(self.density.shape) - body.density.shape
        if (room < 0).any():
            return None
        for low in rng.integers(0, room + 1, (_ATTEMPTS, 3)):
            box = tuple(slice(a, a + n) for a, n in zip(low, body.density.shape, strict=True))
            if not (self.occupancy[box] * body.margin).any():
                self.density[box] += body.density
                self.occupancy[box][body.solid] = code
                return np.asarray(low + body.centre, dtype=np.float64)
        return None

    def place_cut(self, body: Body, code: int, centre: NDArray[np.int_]) -> bool:
        """Put a body at a whole-voxel centre, cut by the volume's edges; False where it would overlap."""
        low = centre - np.round(body.centre).astype(int)
        start = np.maximum(low, 0)
        stop = np.minimum(low + body.density.shape, self.density.shape)
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        part = tuple(slice(a, b) for a, b in zip(start - low, stop - low, strict=True))
        if (self.occupancy[box] * body.margin[part]).any():
            return False
        self.density[box] += body.density[part]
        self.occupancy[box][body.solid[part]] = code
        return True
