"""How well one density agrees with another: voxel by voxel, shell by shell of frequencies, and at which shift.

Volumes are cubes [z, y, x] of one shape and spacing.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from etpick.types import FloatArray

_FINER = 8  # the offset is found to an eighth of a voxel


def half_frequencies(n: int, spacing: float) -> FloatArray:
    """(n, n, n // 2 + 1) spatial frequency of each value of a real transform; waves per box where spacing is 1 / n."""
    k, half = fft.fftfreq(n, spacing), fft.rfftfreq(n, spacing)
    return np.asarray(np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + half[None, None, :] ** 2))


def band_pass(volume: FloatArray, spacing_A: float, longest_A: float, shortest_A: float) -> FloatArray:
    """Only the waves between two lengths, with mean 0."""
    frequency = half_frequencies(volume.shape[0], spacing_A)
    inside = (frequency >= 1 / longest_A) & (frequency <= 1 / shortest_A)
    return np.asarray(fft.irfftn(fft.rfftn(volume) * inside, s=volume.shape), dtype=np.float64)


def correlation(one: FloatArray, other: FloatArray) -> float:
    """Pearson's correlation of the voxels, −1 to 1."""
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def fourier_shell_correlation(one: FloatArray, other: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Correlation of the transforms in shells one Fourier voxel wide, (n // 2,), and the number of voxels in each.

    Shell s holds waves of n · spacing / s. Blind to how strong each shell is: blurring one volume changes
    nothing (Harauz & van Heel, 1986).
    """
    n = one.shape[0]
    k = fft.fftfreq(n, 1 / n)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    shells = np.rint(radius).astype(np.intp).reshape(-1)

    def total(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(shells, values.reshape(-1))[: n // 2], dtype=np.float64)

    a, b = fft.fftn(one), fft.fftn(other)
    power = np.sqrt(total(np.abs(a) ** 2) * total(np.abs(b) ** 2))
    return total((a * np.conj(b)).real) / np.maximum(power, 1e-300), total(np.ones_like(radius))


def agreement(one: FloatArray, other: FloatArray, spacing_A: float, shortest_A: float) -> float:
    """Mean Fourier shell correlation over all waves down to a length, without the constant; 1 is perfect."""
    curve, counts = fourier_shell_correlation(one, other)
    last = min(len(curve) - 1, int(one.shape[0] * spacing_A / shortest_A))
    return float(np.average(curve[1 : last + 1], weights=counts[1 : last + 1]))


def best_offset(one: FloatArray, other: FloatArray, reach_vx: int) -> tuple[float, FloatArray]:
    """The largest correlation over shifts of `other` by up to `reach_vx`, and that shift (3,) zyx in voxels.

    Shifts wrap around. The correlation is evaluated at whole voxels, and around its maximum at eighths.
    """
    a, b = one - one.mean(), other - other.mean()
    cross = fft.fftn(a) * np.conj(fft.fftn(b)) / np.sqrt((a**2).sum() * (b**2).sum())
    whole = np.arange(-reach_vx, reach_vx + 1.0)
    shift = np.zeros(3)
    for offsets in (whole, np.linspace(-1, 1, 2 * _FINER + 1)):
        values = _at_shifts(cross, shift, offsets)
        best = np.unravel_index(values.argmax(), values.shape)
        shift = shift + offsets[list(best)]
    return float(values.max()), shift


def _at_shifts(cross: FloatArray, shift: FloatArray, offsets: FloatArray) -> FloatArray:
    """The inverse transform at shift + offsets along each axis, (m, m, m), by matrix products."""
    n = cross.shape[0]
    k = fft.fftfreq(n)
    waves = [np.exp(2j * np.pi * (s + offsets)[:, None] * k) for s in shift]  # (m, n) each
    values = np.einsum("az,by,cx,zyx->abc", *waves, cross, optimize=True)
    return np.asarray(values.real / n**3, dtype=np.float64)
