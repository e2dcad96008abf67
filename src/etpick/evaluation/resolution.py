"""Resolution of an average from its two halves, and how it grows with the number of particles.

Curves are (s,) correlations in shells 0 … s − 1 of a cubic box; shell j holds waves of box / j.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import fft

from etpick.evaluation.density import fourier_shell_correlation, half_frequencies
from etpick.types import FloatArray

FIXED_THRESHOLD: Final = 0.143
"""Correlation of half-maps at which a map of all particles is right by half (Rosenthal & Henderson, 2003)."""
_RANDOM_BELOW: Final = (
    0.8  # phases are made random beyond the shell at which the curve falls below this, as RELION does
)
_BAND: Final = (2.5, 97.5)  # percentiles
_DRAWS: Final = 2000
_FLAT: Final = 1e-9  # 1/Å², a slope that is none
_FEWEST_POINTS: Final = 2


def last_shell_above(curve: FloatArray, threshold: float = FIXED_THRESHOLD) -> int:
    """The last shell before the curve first falls below a threshold; 0 where the first one does."""
    below = np.flatnonzero(curve[1:] < threshold)
    return int(below[0]) if len(below) else len(curve) - 1


def crossing_shell(curve: FloatArray, threshold: float = FIXED_THRESHOLD) -> float:
    """Where a curve first falls below a threshold, by a straight line between shells; its last shell if it does not."""
    last = last_shell_above(curve, threshold)
    if last + 1 >= len(curve) or last == 0:
        return float(last)
    above, under = curve[last], curve[last + 1]
    return float(last + (above - threshold) / (above - under))


def resolution_A(curve: FloatArray, box_A: float, threshold: float = FIXED_THRESHOLD) -> float:
    """Shortest wave in Å that halves of an average share; infinite where they share none."""
    shell = crossing_shell(curve, threshold)
    return box_A / shell if shell else float("inf")


@dataclass(frozen=True, eq=False)
class Halves:
    """Fourier shell correlation of two half-maps: as they are, masked, masked with random phases, and corrected.

    random_from: the shell from which on phases were made random. The corrected curve takes from the masked one what
    the mask alone explains (Chen et al. 2013, doi:10.1016/j.ultramic.2013.06.004).
    """

    unmasked: FloatArray
    masked: FloatArray
    randomised: FloatArray
    corrected: FloatArray
    random_from: int


def compare_halves(one: FloatArray, other: FloatArray, mask: FloatArray, seed: int = 0) -> Halves:
    """All four curves of two volumes [z, y, x] and a soft mask of the same shape."""
    rng = np.random.default_rng(seed)
    unmasked, _ = fourier_shell_correlation(one, other)
    masked, _ = fourier_shell_correlation(one * mask, other * mask)
    start = max(last_shell_above(unmasked, _RANDOM_BELOW), 1) + 1
    noise = [with_random_phases(volume, start, rng) * mask for volume in (one, other)]
    randomised, _ = fourier_shell_correlation(*noise)
    corrected = masked.copy()
    beyond = np.arange(len(masked)) > start  # the shell at the border still holds some of the signal
    explained = np.clip(randomised, None, 1 - 1e-6)
    corrected[beyond] = ((masked - explained) / (1 - explained))[beyond]
    return Halves(unmasked, masked, randomised, corrected, start)


def with_random_phases(volume: FloatArray, from_shell: int, rng: np.random.Generator) -> FloatArray:
    """A volume whose amplitudes are kept and whose phases from a shell on are another's, drawn at random."""
    n = volume.shape[0]
    radius = half_frequencies(n, 1 / n)
    transformed = fft.rfftn(volume)
    phases = np.angle(fft.rfftn(rng.standard_normal(volume.shape)))  # those of a real volume
    scrambled = np.abs(transformed) * np.exp(1j * phases)
    out = fft.irfftn(np.where(np.rint(radius) >= from_shell, scrambled, transformed), s=volume.shape)
    return np.asarray(out, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class BFactor:
    """A line through 1 / resolution² against ln N, and the lines (d, 2) of slope and intercept through points drawn
    anew."""

    slope: float
    intercept: float
    drawn: FloatArray

    @property
    def b_A2(self) -> float:
        """The B-factor in Å²; infinite where more particles do not help."""
        return _b(self.slope)

    @property
    def low_A2(self) -> float:
        """Lower end of its 95 % band."""
        return _b(float(np.percentile(self.drawn[:, 0], _BAND[1])))

    @property
    def high_A2(self) -> float:
        """Upper end of its 95 % band."""
        return _b(float(np.percentile(self.drawn[:, 0], _BAND[0])))

    def band(self, log_counts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """95 % band of 1 / resolution² at (m,) values of ln N."""
        lines = self.drawn[:, :1] * log_counts + self.drawn[:, 1:]
        low, high = np.percentile(lines, _BAND, axis=0)
        return low, high


def b_factor(counts: FloatArray, resolutions_A: FloatArray, seed: int = 0) -> BFactor | None:
    """B-factor of random subsets: (m,) numbers of particles and the resolution of each subset's average.

    1 / d² = 2 / B · ln N + constant (Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013). A small B-factor
    says that particles add up well. The band comes from drawing the subsets anew with replacement. None where
    fewer than two numbers of particles gave a resolution.
    """
    known = np.isfinite(resolutions_A) & (resolutions_A > 0)
    x, y = np.log(np.asarray(counts, dtype=np.float64)[known]), 1 / resolutions_A[known] ** 2
    if len(np.unique(x)) < _FEWEST_POINTS:
        return None
    draws = np.random.default_rng(seed).integers(len(x), size=(_DRAWS, len(x)))
    lines = _lines(x[draws], y[draws])
    ((slope, intercept),) = _lines(x[None], y[None])
    return BFactor(float(slope), float(intercept), lines[np.isfinite(lines).all(axis=1)])


def _lines(x: FloatArray, y: FloatArray) -> FloatArray:
    """(d, m) points → (d, 2) slope and intercept of the line through each row; NaN where x does not vary."""
    centred = x - x.mean(axis=1, keepdims=True)
    spread = np.where(np.ptp(x, axis=1) > 0, (centred**2).sum(axis=1), np.nan)
    slopes = (centred * (y - y.mean(axis=1, keepdims=True))).sum(axis=1) / spread
    return np.stack([slopes, y.mean(axis=1) - slopes * x.mean(axis=1)], axis=1)


def _b(slope: float) -> float:
    return 2 / slope if slope > _FLAT else float("inf")
