"""Slices as people look at them: filtered, with the tomogram's own contrast, as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etpick.types import Tomogram

PERCENTILES: Final = np.linspace(0, 100, 401)
_SAMPLES: Final = 12  # slices from which grey levels are measured
_THIN: Final = 3  # every third voxel of them
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
    return np.asarray(np.interp(image, table, PERCENTILES) * 2.55, dtype=np.uint8)


def _lowpass(image: NDArray[np.float32], period_vx: float) -> NDArray[np.float32]:
    """Take away waves shorter than a period in voxels, with a soft edge a fifth wide."""
    frequency = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None])
    edge = np.clip((1.1 - frequency * period_vx) / 0.2, 0, 1)
    mask = 0.5 - 0.5 * np.cos(np.pi * edge)
    return np.fft.irfft2(np.fft.rfft2(image) * mask, s=image.shape).astype(np.float32)
