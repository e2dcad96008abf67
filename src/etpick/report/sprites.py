"""Central slices of many picks as one picture, a tile each, for a page that shows them by the hundred."""

from __future__ import annotations

import io
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from etpick.types import FloatArray, Tomogram

Plane = Literal["xy", "xz", "yz"]
_AXIS: Final = {"xy": 0, "xz": 1, "yz": 2}
_THICKNESS: Final = 1 / 10  # of the box, averaged: a single plane is mostly noise
_BLUR: Final = 1 / 40  # of the box: σ of the Gaussian
_PERCENTILES: Final = (0.5, 99.5)
_QUALITY: Final = 88
_EMPTY: Final = 0.5  # grey of what lies beyond the tomogram


def box_vx(diameter_A: float, spacing_A: float) -> int:
    """Edge of a tile for particles of a diameter: twice that, so that the neighbourhood shows; even, at least 8."""
    return max(8, 2 * round(diameter_A / spacing_A))


def sprite_sheet(
    tomogram: Tomogram, positions: FloatArray, box_vx: int, *, plane: Plane = "xy", columns: int = 8, tile_px: int = 96
) -> bytes:
    """A JPEG with the central slice of each of (n, 3) zyx positions, row by row; the plane's second letter points up.

    Grey levels are stretched alike for all tiles. Only the slices shown are read.
    """
    from PIL import Image

    slices = [_slice(tomogram, position, box_vx, plane) for position in positions]
    rows = max(1, -(-len(slices) // columns))
    sheet = Image.new("L", (columns * tile_px, rows * tile_px), 255)
    if slices:
        known = np.concatenate([s.reshape(-1) for s in slices])
        known = known[np.isfinite(known)]
        low, high = np.percentile(known, _PERCENTILES) if len(known) else (0.0, 1.0)
        for number, picture in enumerate(slices):
            levels = np.clip((picture - low) / max(float(high - low), 1e-12), 0, 1)
            grey = np.rint(255 * np.nan_to_num(levels, nan=_EMPTY)).astype(np.uint8)
            tile = Image.fromarray(grey).resize((tile_px, tile_px), Image.Resampling.BICUBIC)
            sheet.paste(tile, (number % columns * tile_px, number // columns * tile_px))
    buffer = io.BytesIO()
    sheet.save(buffer, format="jpeg", quality=_QUALITY)
    return buffer.getvalue()


def _slice(tomogram: Tomogram, position: FloatArray, box_vx: int, plane: Plane) -> NDArray[np.float32]:
    """The mean over a tenth of the box about its middle plane, smoothed; NaN beyond the tomogram."""
    slab = _slab(tomogram, position, box_vx, _AXIS[plane])
    known = np.isfinite(slab)
    count = known.sum(axis=_AXIS[plane])
    mean = np.where(known, slab, 0).sum(axis=_AXIS[plane]) / np.maximum(count, 1)
    if count.any():
        mean[count == 0] = mean[count > 0].mean()
    smooth = gaussian_filter(mean, box_vx * _BLUR)
    return np.asarray(np.where(count > 0, smooth, np.nan)[::-1], dtype=np.float32)


def _slab(tomogram: Tomogram, position: FloatArray, box_vx: int, axis: int) -> NDArray[np.float32]:
    """[z, y, x] the middle of the box about a position, thin along an axis; NaN beyond the tomogram."""
    half = max(1, round(box_vx * _THICKNESS / 2))
    size = np.where(np.arange(3) == axis, 2 * half + 1, box_vx)
    corner = np.rint(position).astype(np.int64) - size // 2
    low = np.clip(corner, 0, tomogram.shape)
    high = np.clip(corner + size, low, tomogram.shape)
    slab = np.full(tuple(size.tolist()), np.nan, dtype=np.float32)
    there = tuple(slice(a, b) for a, b in zip(low - corner, high - corner, strict=True))
    slab[there] = tomogram.data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return slab
