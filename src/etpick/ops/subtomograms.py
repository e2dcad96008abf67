"""Boxes around particles: where they lie, cut out, brought to RELION's grey levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etpick.types import FloatArray, Shape3, Volume

Edge = Literal["drop", "pad"]


@dataclass(frozen=True, eq=False)
class Cuts:
    """Boxes to cut from one tomogram.

    kept: (k,) rows of the positions that get a box. corners: (k, 3) first voxel zyx, which may lie outside.
    remainders: (k, 3) voxels zyx from the middle voxel of the box, box // 2, to the particle's centre, −½ to ½.
    over_edge: (k,) whether the box reaches beyond the tomogram. dropped: how many got none.
    """

    kept: NDArray[np.intp]
    corners: NDArray[np.int64]
    remainders: FloatArray
    over_edge: NDArray[np.bool_]
    dropped: int

    def __len__(self) -> int:
        return len(self.kept)


def plan_cuts(positions: FloatArray, shape: Shape3, box_vx: int, edge: Edge) -> Cuts:
    """Boxes around the voxels nearest to (n, 3) zyx positions; nothing is interpolated.

    `drop` leaves out particles whose box reaches beyond the tomogram, `pad` only those whose centre does.
    """
    nearest = np.rint(positions).astype(np.int64)
    corners = nearest - box_vx // 2
    over = _any_axis((corners < 0) | (corners + box_vx > np.array(shape)))
    outside = _any_axis((nearest < 0) | (nearest >= np.array(shape)))
    kept = np.flatnonzero(~(over if edge == "drop" else outside))
    return Cuts(kept, corners[kept], positions[kept] - nearest[kept], over[kept], len(positions) - len(kept))


def _any_axis(beyond: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, 3) → (n,)."""
    return np.asarray(beyond.any(axis=1))


def cut(volume: Volume, corner: NDArray[np.int64], box_vx: int) -> NDArray[np.float32]:
    """The box [z, y, x] at a corner as float32; NaN where it lies outside the volume or a voxel is not finite."""
    box = np.full((box_vx,) * 3, np.nan, dtype=np.float32)
    low = np.maximum(corner, 0)
    high = np.minimum(corner + box_vx, volume.shape)
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    there = tuple(slice(a, b) for a, b in zip(low - corner, high - corner, strict=True))
    box[there] = volume[inside]
    box[~np.isfinite(box)] = np.nan
    return box


def level(box: NDArray[np.float32], background: NDArray[np.bool_] | None, *, invert: bool) -> NDArray[np.float32]:
    """Exchange dark and bright, and bring the background to mean 0 and σ 1, as RELION's normalisation does.

    Without `background` grey levels stay as they are. Unknown voxels (NaN) count for nothing and become the
    background's mean, without one the mean of what is known.
    """
    out = -box if invert else box.copy()
    known = np.isfinite(out)
    around = known if background is None else known & background
    mean = float(out[around].mean(dtype=np.float64)) if around.any() else 0.0
    if background is not None and around.any():
        out -= np.float32(mean)
        sigma = float(out[around].std(dtype=np.float64))
        out /= np.float32(sigma if sigma > 0 else 1)
        mean = 0.0
    out[~known] = mean
    return out


def outside_ball(box_vx: int, diameter_vx: float) -> NDArray[np.bool_]:
    """[z, y, x] what lies outside a ball about the middle voxel, box // 2."""
    offsets = np.indices((box_vx,) * 3) - box_vx // 2
    return np.asarray((offsets**2).sum(axis=0) > (diameter_vx / 2) ** 2)
