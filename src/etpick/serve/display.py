"""Slices as people look at them: filtered, with the tomogram's own contrast, as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from etpick.types import Tomogram

PERCENTILES: Final = np.linspace(0, 100, 401)
_SAMPLES: Final = 12  # slices from which grey levels are measured
_THIN: Final = 3  # every third voxel of them
_STEPS: Final = 4096
MOST_SLICES: Final = 25  # on either side, in an averaged slab


@dataclass(frozen=True)
class Display:
    """How slices are shown: percentiles of the grey levels that are black and white, and filters.

    slab: slices averaged on either side. sigma_vx: Gaussian, in voxels. lowpass_A: details finer than this are taken
    away. equalise: each grey level as often as any other.
    """

    black: float = 0.5
    white: float = 99.5
    slab: int = 0
    sigma_vx: float = 0.0
    lowpass_A: float = 0.0
    equalise: bool = False
    invert: bool = False


def grey_table(tomogram: Tomogram) -> NDArray[np.float32]:
    """Grey levels at PERCENTILES, from slices throughout the tomogram, so that contrast holds still in scrolling."""
    rows = np.unique(np.linspace(0, tomogram.shape[0] - 1, _SAMPLES + 2).astype(int)[1:-1])
    parts = [np.asarray(tomogram.data[int(z)])[::_THIN, ::_THIN].ravel() for z in rows]
    levels = np.concatenate(parts).astype(np.float32)
    levels = levels[np.isfinite(levels)]
    return np.percentile(levels if len(levels) else np.zeros(1), PERCENTILES).astype(np.float32)


def show_slice(
    tomogram: Tomogram, axis: int, index: int, display: Display, table: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The slice across an axis (0 z, 1 y, 2 x) as bytes, rows and columns in the order of the other axes.

    `table` is the tomogram's `grey_table`.
    """
    half = min(display.slab, MOST_SLICES)
    start, stop = max(0, index - half), min(tomogram.shape[axis], index + half + 1)
    block = np.asarray(tomogram.data[tuple(slice(start, stop) if a == axis else slice(None) for a in range(3))])
    image = block.mean(axis=axis, dtype=np.float32)
    if display.lowpass_A > 0:
        image = _lowpass(image, display.lowpass_A / tomogram.spacing_A)
    if display.sigma_vx > 0:
        image = ndimage.gaussian_filter(image, display.sigma_vx, mode="nearest")
    grey = _equalised(image, table) if display.equalise else _scaled(image, display, table, stop - start)
    return 255 - grey if display.invert else grey


def _scaled(image: NDArray[np.float32], display: Display, table: NDArray[np.float32], slices: int) -> NDArray[np.uint8]:
    """Black to white between two percentiles; averaging narrows the noise, and contrast follows it."""
    white = max(display.white, display.black + 0.1)
    low, high = np.interp([display.black, white], PERCENTILES, table).tolist()
    if slices > 1 or display.sigma_vx > 0 or display.lowpass_A > 0:
        own = np.percentile(image[::_THIN, ::_THIN], [display.black, white]).tolist()
        low, high = max(low, own[0]), min(high, own[1])
    scale = 255 / max(high - low, 1e-12)
    return np.asarray(np.clip((image - low) * scale, 0, 255), dtype=np.uint8)


def _equalised(image: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Each grey level by its rank, looked up in steps of a 4096th of the range."""
    levels = np.linspace(table[0], table[-1], _STEPS)
    ranks = (np.interp(levels, table, PERCENTILES) * 2.55).astype(np.uint8)
    index = (image - table[0]) * ((_STEPS - 1) / max(float(table[-1] - table[0]), 1e-12))
    return np.asarray(ranks[np.clip(index, 0, _STEPS - 1).astype(np.intp)])


def _lowpass(image: NDArray[np.float32], period_vx: float) -> NDArray[np.float32]:
    """Take away waves shorter than a period in voxels."""
    rows, columns = image.shape
    spectrum = fft.rfft2(image) * _lowpass_mask(rows, columns, period_vx)
    return np.asarray(fft.irfft2(spectrum, s=image.shape), dtype=np.float32)


@lru_cache(maxsize=8)
def _lowpass_mask(rows: int, columns: int, period_vx: float) -> NDArray[np.float32]:
    """1 for long waves, 0 for short ones, with a soft edge a fifth of the limit wide."""
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    edge = np.clip((1.1 - frequency * period_vx) / 0.2, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * edge), dtype=np.float32)
