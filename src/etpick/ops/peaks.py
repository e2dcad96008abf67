"""From score maps to particle centres: mean-pooling non-maximum suppression (MP-NMS) and its neighbours."""

from __future__ import annotations

import math
from functools import reduce
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, maximum_filter1d
from scipy.spatial import KDTree

from etpick.types import FloatArray

Map = NDArray[np.float32]


def pooling_iterations(label_diameter: float, kernel: int) -> int:
    """Iterations of mean pooling for labels of diameter 2r + 1: at least ⌈2r/(k − 1)⌉ (DeepETPicker)."""
    return max(1, math.ceil((label_diameter - 1) / (kernel - 1)))


def pooling_weights(kernel: int, iterations: int) -> NDArray[np.float64]:
    """The single 1-D kernel, 1 + (k − 1)·i long, that equals i mean poolings of width k and stride 1."""
    box = np.full(kernel, 1 / kernel)
    return reduce(np.convolve, [box] * iterations)


def mean_pool(scores: Map, kernel: int, iterations: int) -> Map:
    """Iterated mean pooling as one separable smoothing.

    Beyond the edges lie zeros, as if the poolings ran over a map extended far enough. (Reflection would
    pull a particle near an edge towards its mirror image.)
    """
    weights = pooling_weights(kernel, iterations)
    for axis in range(3):
        scores = correlate1d(scores, weights, axis=axis, mode="constant")
    return scores


def local_maxima(smooth: Map, floor: float) -> NDArray[np.intp]:
    """(n, 3) indices of voxels that are not below any of their 26 neighbours and above `floor`."""
    highest = smooth
    for axis in range(3):
        highest = maximum_filter1d(highest, 3, axis=axis, mode="nearest")
    return np.argwhere((smooth >= highest) & (smooth > floor))


def refine(smooth: Map, maxima: NDArray[np.intp]) -> FloatArray:
    """Sub-voxel positions (n, 3): the vertex of the parabola through the three voxels on each axis."""
    padded = np.pad(smooth, 1, mode="edge")
    centre = padded[tuple((maxima + 1).T)].astype(np.float64)
    positions = maxima.astype(np.float64)
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        below = padded[tuple((maxima + 1 - step).T)].astype(np.float64)
        above = padded[tuple((maxima + 1 + step).T)].astype(np.float64)
        curvature = below - 2 * centre + above
        flat = curvature > -1e-12
        shift = 0.5 * (below - above) / np.where(flat, 1.0, curvature)
        positions[:, axis] += np.where(flat, 0.0, np.clip(shift, -0.5, 0.5))
    return positions


def sample_mean(maps: NDArray[np.floating], maxima: NDArray[np.intp], reach: int) -> FloatArray:
    """(c, z, y, x) maps → (n, c) means over the cube of half-width `reach` around each voxel."""
    limits = np.array(maps.shape[1:]) - 1
    total = np.zeros((len(maxima), maps.shape[0]))
    for offset in product(range(-reach, reach + 1), repeat=3):
        z, y, x = np.clip(maxima + offset, 0, limits).T
        total += maps[:, z, y, x].T
    return np.asarray(total / (2 * reach + 1) ** 3)


def suppress(positions: FloatArray, scores: FloatArray, distances: FloatArray) -> NDArray[np.intp]:
    """Indices of the picks kept, best first: of two nearer than the mean of their distances, the higher.

    positions: (n, 3). scores: (n,). distances: (n,) t_dist of each pick's class. Equal scores are decided
    by position, so the answer does not depend on the order of the input.
    """
    if not len(positions):
        return np.zeros(0, np.intp)
    order = np.lexsort((*positions.T, -scores))
    pairs = KDTree(positions).query_pairs(float(distances.max()), output_type="ndarray")
    gap = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    pairs = pairs[gap < distances[pairs].mean(axis=1)]
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    both = np.sort(rank[pairs], axis=1)
    both = both[np.argsort(both[:, 1], kind="stable")]
    starts = np.searchsorted(both[:, 1], np.arange(len(order) + 1))
    kept = np.ones(len(order), bool)
    for i in np.unique(both[:, 1]):
        kept[i] = not kept[both[starts[i] : starts[i + 1], 0]].any()
    return order[kept]
