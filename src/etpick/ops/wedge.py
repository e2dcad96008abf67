"""What a tilt series measured of a subtomogram's Fourier transform: missing wedge and contrast transfer."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etpick.ops.ctf import Lens, contrast_transfer
from etpick.types import FloatArray

TiltAxis = Literal["x", "y"]


def wedge(tilts_deg: FloatArray, box_vx: int, axis: TiltAxis = "y") -> NDArray[np.float32]:
    """(n,) tilt angles → weights 0–1, [z, y, x] of shape (box, box, box // 2 + 1), the origin at [0, 0, 0].

    That is the layout of a real transform (FFTW, np.fft.rfftn). An image taken at tilt θ about y sees the voxel
    at (z, x) from the centre at x cos θ + z sin θ, and measures the plane k_z cos θ = k_x sin θ through the
    origin (projection-slice theorem); about x the same holds for y. A box of n voxels blurs the plane by one
    Fourier voxel, so a voxel at distance d from it has weight max(0, 1 − d); the tilts' weights are added and
    cut off at 1. Beyond the frequency where neighbouring images are more than a voxel apart (Crowther's), gaps
    appear, as they are in the data.
    """
    k = np.fft.fftfreq(box_vx, 1 / box_vx)
    across = np.fft.rfftfreq(box_vx, 1 / box_vx) if axis == "y" else k
    theta = np.deg2rad(np.asarray(tilts_deg, dtype=np.float64))[:, None, None]
    distance = np.abs(k[:, None] * np.cos(theta) - across[None, :] * np.sin(theta))  # (tilts, k_z, k across)
    plane = np.clip(1 - distance, 0, None).sum(axis=0).clip(max=1)
    spread = plane[:, None, :] if axis == "y" else plane[:, :, None]
    return np.broadcast_to(spread, (box_vx, box_vx, box_vx // 2 + 1)).astype(np.float32)


def transfer(
    box_vx: int, spacing_A: float, defocus_um: float, lens: Lens, *, phase_flipped: bool = False
) -> NDArray[np.float32]:
    """Contrast transfer in the same layout as `wedge`, the same in all directions.

    One defocus stands for the whole tomogram: neither the height of a particle nor the tilt's own defocus
    is known here. `phase_flipped`: the tomogram's phases are corrected already, its amplitudes are not.
    """
    k = np.fft.fftfreq(box_vx, spacing_A)
    half = np.fft.rfftfreq(box_vx, spacing_A)
    frequency = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + half[None, None, :] ** 2)
    values = contrast_transfer(frequency, 1e4 * defocus_um, lens)
    return np.asarray(np.abs(values) if phase_flipped else values, dtype=np.float32)
