"""Rotations drawn at random, and rotations of arrays; for what rot, tilt and psi mean see `etpick.orientation`."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from etpick.types import FloatArray


def random_rotation(rng: np.random.Generator) -> Rotation:
    """A rotation drawn uniformly from all rotations (a normalised Gaussian quaternion)."""
    return Rotation.from_quat(rng.standard_normal(4))


def zyx_matrix(rotation: Rotation) -> FloatArray:
    """(3, 3) matrix that does to zyx vectors what the rotation does to xyz vectors."""
    return np.asarray(rotation.as_matrix()[::-1, ::-1], dtype=np.float64)
