"""Orientations: which way rot, tilt and psi turn a reference, and what other programs call the same turn.

Convention (RELION's): with R = Rz(rot) · Ry(tilt) · Rz(psi), that is scipy's intrinsic "ZYZ", a point r of
the reference, (x, y, z) from its centre, lies at  centre + R⁻¹ · r  in the tomogram. R turns the tomogram
onto the reference; its inverse puts the reference into the tomogram. So rot spins the particle about its own
z axis, tilt and psi say where that axis points. Source: RELION's Euler_angles2matrix gives R⁻¹, and its
projector takes reference points to image points with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from etpick.types import FloatArray

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation


def rotation_of(angles: FloatArray) -> Rotation:
    """(3,) or (n, 3) rot, tilt, psi in degrees → the rotation from reference to tomogram, of xyz vectors."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("ZYZ", angles, degrees=True).inv()


def angles_of(placing: Rotation) -> FloatArray:
    """Rotation from reference to tomogram → (3,) or (n, 3) rot, tilt, psi in degrees."""
    return _eulers(placing.inv(), "ZYZ")


def matrices_of(angles: FloatArray) -> FloatArray:
    """(n, 3) rot, tilt, psi → (n, 3, 3) matrices that put xyz vectors of the reference into the tomogram."""
    return np.asarray(rotation_of(angles.reshape(-1, 3)).as_matrix(), dtype=np.float64)


def angles_of_matrices(matrices: FloatArray) -> FloatArray:
    """The inverse of `matrices_of`; what is not quite a rotation is taken for the nearest one."""
    from scipy.spatial.transform import Rotation

    return angles_of(Rotation.from_matrix(matrices.reshape(-1, 3, 3)))


def to_tom(angles: FloatArray) -> FloatArray:
    """(n, 3) rot, tilt, psi → phi, theta, psi of TOM, Artiatomi, ArtiaX and PEET, in degrees.

    Rz(psi) · Rx(theta) · Rz(phi) puts the reference into the tomogram: scipy's extrinsic "zxz" of
    phi, theta, psi (in that order, although their files list phi, psi, theta).
    """
    return _eulers(rotation_of(angles.reshape(-1, 3)), "zxz")


def from_tom(phi_theta_psi: FloatArray) -> FloatArray:
    """The inverse of `to_tom`."""
    from scipy.spatial.transform import Rotation

    return angles_of(Rotation.from_euler("zxz", phi_theta_psi.reshape(-1, 3), degrees=True))


def to_dynamo(angles: FloatArray) -> FloatArray:
    """(n, 3) rot, tilt, psi → Dynamo's tdrot, tilt, narot in degrees.

    Rz(narot) · Rx(tilt) · Rz(tdrot) turns the tomogram onto the reference, as R does above (so the package
    eulerangles, which dynamo2m and copick agree with): tdrot = -psi, narot = -phi, tilt = -theta of `to_tom`.
    """
    return _eulers(rotation_of(angles.reshape(-1, 3)).inv(), "zxz")


def from_dynamo(tdrot_tilt_narot: FloatArray) -> FloatArray:
    """The inverse of `to_dynamo`."""
    from scipy.spatial.transform import Rotation

    return angles_of(Rotation.from_euler("zxz", tdrot_tilt_narot.reshape(-1, 3), degrees=True).inv())


def _eulers(rotation: Rotation, sequence: Literal["ZYZ", "zxz"]) -> FloatArray:
    """Euler angles in degrees; of the many where the second is 0 or 180, those whose third is 0."""
    return np.asarray(rotation.as_euler(sequence, degrees=True, suppress_warnings=True), dtype=np.float64)
