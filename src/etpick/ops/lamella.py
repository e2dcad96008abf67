"""The lamella: the slab of a tomogram that holds the sample, between two planes that may be tilted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etpick.ops.coarse import Coarse, robust_sigma
from etpick.types import FloatArray

_SURROUNDINGS_VX: Final = 9  # slow changes of grey level are not image
_CLIP_SIGMAS: Final = 4.0  # a bead in the vacuum must not look like a lamella
_COLUMN_VX: Final = 24  # edge of a column in which the faces of the lamella are sought …
_MOST_COLUMNS: Final = 12  # … and how many there are along an axis at most
_LEAST_EMPTY_VX: Final = 3  # thinner empty layers are not told from nothing
_LEAST_RATIO: Final = 1.3  # contrast inside over contrast outside; 1.1 in tomograms that are full to their edges
_COLUMN_RATIO: Final = 1.15
_FOOT: Final = 0.25  # share of the step of contrast that is left where a face is placed
_FEWEST_COLUMNS: Final = 0.3  # share of the columns that must show a lamella


@dataclass(frozen=True)
class Plane:
    """z = z0 + slope_y · y + slope_x · x, in voxels."""

    z0: float
    slope_y: float
    slope_x: float

    def above(self, positions: FloatArray) -> FloatArray:
        """(n, 3) zyx voxels → (n,) distance from the plane, positive towards higher z."""
        slope = np.sqrt(1 + self.slope_y**2 + self.slope_x**2)
        return np.asarray((positions[:, 0] - self.height(positions)) / slope)

    def height(self, positions: FloatArray) -> FloatArray:
        """(n, 3) zyx voxels → (n,) z of the plane at each y and x."""
        return np.asarray(self.z0 + self.slope_y * positions[:, 1] + self.slope_x * positions[:, 2])

    @property
    def tilt_deg(self) -> float:
        """Angle between the plane and a slice."""
        return float(np.rad2deg(np.arctan(np.hypot(self.slope_y, self.slope_x))))

    def fine(self, binning: int) -> Plane:
        """The same plane in voxels of which `binning` make one of these."""
        half = (binning - 1) / 2
        z0 = self.z0 * binning + half - half * (self.slope_y + self.slope_x)
        return Plane(z0, self.slope_y, self.slope_x)


@dataclass(frozen=True)
class Slab:
    """What lies between two planes; None where the sample reaches the end of the tomogram."""

    low: Plane | None = None
    high: Plane | None = None

    @property
    def is_everything(self) -> bool:
        """Whether no empty region was found."""
        return self.low is None and self.high is None

    def depth(self, positions: FloatArray) -> FloatArray:
        """(n, 3) zyx voxels → (n,) distance in voxels to the nearer face, negative outside the slab."""
        depth = np.full(len(positions), np.inf)
        if self.low is not None:
            depth = np.minimum(depth, self.low.above(positions))
        if self.high is not None:
            depth = np.minimum(depth, -self.high.above(positions))
        return depth


def find_slab(coarse: Coarse) -> Slab:
    """The lamella, from the contrast of its surroundings: everything where no empty region is clear.

    Contrast is the mean deviation from the local mean, outliers clipped, along z in columns. In each column the
    two levels and two faces that fit best (least squares) are taken, and a plane is fitted through the faces of
    the columns on either side, outlying columns counting little. Returned in voxels of the volume.
    """
    contrast, centres = _contrast(coarse.smoothed())
    faces, clear = _column_faces(contrast)
    if clear.mean() < _FEWEST_COLUMNS:
        return Slab()
    depth = len(contrast)
    low = _plane(centres[clear], faces[clear, 0], faces[clear, 0] >= _LEAST_EMPTY_VX)
    high = _plane(centres[clear], faces[clear, 1], faces[clear, 1] <= depth - _LEAST_EMPTY_VX)
    slab = Slab(low, high)
    if slab.is_everything or not _stands_out(contrast, centres, slab):
        return Slab()
    return Slab(*(None if p is None else p.fine(coarse.binning) for p in (low, high)))


def _contrast(levels: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
    """Coarse levels → contrast (z, columns), and the columns' centres (columns, 2) yx."""
    detail = levels - ndimage.uniform_filter(levels, _SURROUNDINGS_VX, mode="nearest")
    limit = _CLIP_SIGMAS * robust_sigma(detail)
    np.clip(np.abs(detail, out=detail), 0, limit if limit > 0 else None, out=detail)
    edges = [np.linspace(0, n, _columns(n) + 1).astype(int) for n in levels.shape[1:]]
    sums = np.add.reduceat(np.add.reduceat(detail, edges[0][:-1], axis=1, dtype=np.float64), edges[1][:-1], axis=2)
    means = sums / np.multiply.outer(np.diff(edges[0]), np.diff(edges[1]))
    middles = [(e[:-1] + e[1:] - 1) / 2 for e in edges]
    centres = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, 2)
    return ndimage.uniform_filter1d(means.reshape(len(levels), -1), 3, axis=0, mode="nearest"), centres


def _columns(voxels: int) -> int:
    return int(np.clip(voxels // _COLUMN_VX, 1, _MOST_COLUMNS))


def _column_faces(contrast: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(z, n) contrast → faces (n, 2), first voxel of the sample and first beyond it, and whether they are clear.

    Of all boxes [a, b) the one that leaves the least squares around an inner and an outer mean is taken, and
    widened to where a quarter of their difference is left, so that nothing at the faces is cut.
    """
    depth, count = contrast.shape
    total = np.concatenate([np.zeros((1, count)), np.cumsum(contrast, axis=0)])
    gain, faces, inner, outer = np.zeros(count), np.tile([0, depth], (count, 1)), np.ones(count), np.ones(count)
    for a, b in combinations(range(depth + 1), 2):
        if not 1 < b - a < depth:
            continue
        within, width, rest = total[b] - total[a], b - a, depth - b + a
        mean_in, mean_out = within / width, (total[-1] - within) / rest
        explained = np.sqrt(width * rest) * (mean_in - mean_out)
        better = explained > gain
        faces[better] = a, b
        gain = np.where(better, explained, gain)
        inner, outer = np.where(better, mean_in, inner), np.where(better, mean_out, outer)
    empty = contrast <= outer + _FOOT * (inner - outer)
    z = np.arange(depth)[:, None]
    low = np.where(empty & (z < faces[:, 0]), z + 1, 0).max(axis=0)
    high = np.where(empty & (z >= faces[:, 1]), z, depth).min(axis=0)
    return np.column_stack([low, high]).astype(np.float64), inner >= _COLUMN_RATIO * outer


def _plane(centres: FloatArray, faces: FloatArray, closed: NDArray[np.bool_]) -> Plane | None:
    """Robust plane through the faces (n,) of columns (n, 2); None where most columns have none on this side."""
    if closed.mean() < 0.5:
        return None
    yx, z = centres[closed], faces[closed] - 0.5
    design = np.column_stack([np.ones(len(z)), yx])
    if len(z) < 3 or np.linalg.matrix_rank(design - design.mean(axis=0)) < 2:
        return Plane(float(np.median(z)), 0.0, 0.0)
    weights = np.ones(len(z))
    for _ in range(20):  # Tukey's biweight, by iterated least squares
        fit, *_ = np.linalg.lstsq(design * weights[:, None], z * weights, rcond=None)
        off = np.abs(z - design @ fit)
        scale = 4.685 * max(1.4826 * float(np.median(off)), 0.5)
        weights = np.clip(1 - (off / scale) ** 2, 1e-3, None)
    return Plane(*map(float, fit))


def _stands_out(contrast: FloatArray, centres: FloatArray, slab: Slab) -> bool:
    depth, count = contrast.shape
    z = np.repeat(np.arange(depth), count)
    inside = slab.depth(np.column_stack([z, np.tile(centres, (depth, 1))])).reshape(depth, count)
    within, without = contrast[inside > 1], contrast[inside < -1]
    if not len(within) or not len(without):
        return False
    return bool(within.mean() >= _LEAST_RATIO * without.mean())
