"""Resolution from place to place of an average: the correlation of its halves within a small window that moves."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import binary_dilation, generate_binary_structure

from etpick.evaluation.density import fourier_shell_correlation
from etpick.evaluation.resolution import resolution_A
from etpick.types import FloatArray

THRESHOLD: Final = 0.5
"""Correlation at which a place is resolved; higher than over the whole map, because a window holds few voxels."""

_WINDOW: Final = 0.5  # of the box
_LEAST_WINDOW_VX: Final = 12
_STEPS: Final = 12  # places along an axis, at most


def local_resolution_A(
    one: FloatArray, other: FloatArray, spacing_A: float, mask: FloatArray, threshold: float = THRESHOLD
) -> FloatArray:
    """[z, y, x] shortest wave in Å that two half-maps share around each voxel; window-long where they share none.

    Windows of half the box, fading to their rim as a Hann window does, on a lattice over the mask; linear in
    between (Cardone, Heymann & Steven 2013, doi:10.1016/j.jsb.2013.08.002).
    """
    n = one.shape[0]
    window = min(n, max(_LEAST_WINDOW_VX, 2 * round(_WINDOW * n / 2)))
    fade = _hann(window)
    places = np.unique(np.linspace(0, n - 1, min(_STEPS, n)).round().astype(int))
    halves = [np.pad(volume, window // 2) for volume in (one, other)]
    longest = window * spacing_A
    step = int(np.diff(places).max())
    near = binary_dilation(mask > 0, generate_binary_structure(3, 3), iterations=step)  # all that voxels lie between
    found = np.full((len(places),) * 3, longest)
    for i, z in enumerate(places):
        for j, y in enumerate(places):
            for k, x in enumerate(places):
                if not near[z, y, x]:
                    continue
                around = (slice(z, z + window), slice(y, y + window), slice(x, x + window))
                curve, _ = fourier_shell_correlation(halves[0][around] * fade, halves[1][around] * fade)
                found[i, j, k] = min(resolution_A(curve, longest, threshold), longest)
    grid = np.stack(np.meshgrid(*(np.arange(n),) * 3, indexing="ij"), axis=-1)
    return np.asarray(RegularGridInterpolator((places,) * 3, found)(grid), dtype=np.float64)


def _hann(size: int) -> FloatArray:
    axis = np.arange(size) - size // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    return np.asarray(np.where(radius < size / 2, 0.5 + 0.5 * np.cos(2 * np.pi * radius / size), 0.0))
