"""Orientations: which way rot, tilt and psi turn a reference.

Convention (RELION's): with R = Rz(rot) · Ry(tilt) · Rz(psi), that is scipy's intrinsic "ZYZ", a point r of
the reference, (x, y, z) from its centre, lies at  centre + R⁻¹ · r  in the tomogram. R turns the tomogram
onto the reference; its inverse puts the reference into the tomogram. So rot spins the particle about its own
z axis, tilt and psi say where that axis points. Source: RELION's Euler_angles2matrix gives R⁻¹, and its
projector takes reference points to image points with it.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from etpick.types import FloatArray


def random_rotation(rng: np.random.Generator) -> Rotation:
    """A rotation drawn uniformly from all rotations (a normalised Gaussian quaternion)."""
    return Rotation.from_quat(rng.standard_normal(4))


def rotation_of(angles: FloatArray) -> Rotation:
    """(3,) or (n, 3) rot, tilt, psi in degrees → the rotation from reference to tomogram, of xyz vectors."""
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv()


def angles_of(placing: Rotation) -> FloatArray:
    """Rotation from reference to tomogram → (3,) or (n, 3) rot, tilt, psi in degrees."""
    return np.asarray(placing.inv().as_euler("ZYZ", degrees=True), dtype=np.float64)


def zyx_matrix(rotation: Rotation) -> FloatArray:
    """(3, 3) matrix that does to zyx vectors what the rotation does to xyz vectors."""
    return np.asarray(rotation.as_matrix()[::-1, ::-1], dtype=np.float64)
