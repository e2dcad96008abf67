"""Central slices of many picks as one picture, a tile each, for a page that shows them by the hundred."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Tile:
    """What a tile shows: the surroundings of a position (3,) zyx in a tomogram, `box_vx` wide."""

    tomogram: Tomogram
    position: FloatArray
    box_vx: int


def sprite_sheet(tiles: Sequence[Tile], *, plane: Plane = "xy", columns: int = 8, tile_px: int = 96) -> bytes:
    """A JPEG with the central slice of each tile, row by row; the plane's second letter points down, as in a viewer.

    Grey levels are stretched alike for all tiles of a tomogram. Only the slices shown are read.
    """
    from PIL import Image

    slices = [_slice(tile, plane) for tile in tiles]
    ranges = {id(t): _range([s for s, u in zip(slices, tiles, strict=True) if u.tomogram is t]) for t in _each(tiles)}
    sheet = Image.new("L", (columns * tile_px, max(1, -(-len(slices) // columns)) * tile_px), 255)
    for number, (picture, tile) in enumerate(zip(slices, tiles, strict=True)):
        low, high = ranges[id(tile.tomogram)]
        levels = np.clip((picture - low) / max(high - low, 1e-12), 0, 1)
        grey = np.rint(255 * np.nan_to_num(levels, nan=_EMPTY)).astype(np.uint8)
        shown = Image.fromarray(grey).resize((tile_px, tile_px), Image.Resampling.BICUBIC)
        sheet.paste(shown, (number % columns * tile_px, number // columns * tile_px))
    buffer = io.BytesIO()
    sheet.save(buffer, format="jpeg", quality=_QUALITY)
    return buffer.getvalue()


def _each(tiles: Sequence[Tile]) -> list[Tomogram]:
    return list({id(tile.tomogram): tile.tomogram for tile in tiles}.values())


def _range(slices: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Grey levels that are drawn black and white."""
    known = np.concatenate([s[np.isfinite(s)] for s in slices])
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(known, _PERCENTILES)
    return float(low), float(high)


def _slice(tile: Tile, plane: Plane) -> NDArray[np.float32]:
    """The mean over a tenth of the box about its middle plane, smoothed; NaN beyond the tomogram."""
    slab = _slab(tile.tomogram, tile.position, tile.box_vx, _AXIS[plane])
    known = np.isfinite(slab)
    count = known.sum(axis=_AXIS[plane])
    mean = np.where(known, slab, 0).sum(axis=_AXIS[plane]) / np.maximum(count, 1)
    if count.any():
        mean[count == 0] = mean[count > 0].mean()
    smooth = gaussian_filter(mean, tile.box_vx * _BLUR)
    return np.asarray(np.where(count > 0, smooth, np.nan), dtype=np.float32)


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
