"""From score maps to particle centres: mean-pooling non-maximum suppression (MP-NMS) and its neighbours."""

from __future__ import annotations

import math
from functools import reduce
from itertools import product
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from torch import Tensor

_TOUCHING: Final = 1.8  # voxels, a little more than √3


def pooling_iterations(label_diameter: float, kernel: int) -> int:
    """Iterations of mean pooling for labels of diameter 2r + 1: at least ⌈2r/(k − 1)⌉ (DeepETPicker)."""
    return max(1, math.ceil((label_diameter - 1) / (kernel - 1)))


def pooling_weights(kernel: int, iterations: int) -> NDArray[np.float64]:
    """The single 1-D kernel, 1 + (k − 1)·i long, that equals i mean poolings of width k and stride 1."""
    box = np.full(kernel, 1 / kernel)
    return reduce(np.convolve, [box] * iterations)


def mean_pool(scores: Tensor, kernel: int, iterations: int) -> Tensor:
    """Iterated mean pooling of a (z, y, x) map as one separable smoothing.

    Beyond the edges lie zeros, as if the poolings ran over a map extended far enough. (Reflection would
    pull a particle near an edge towards its mirror image.)
    """
    weights = pooling_weights(kernel, iterations).tolist()
    reach = len(weights) // 2
    for axis in range(3):
        size, source = scores.shape[axis], scores
        scores = source * weights[reach]
        for step in range(1, min(reach, size - 1) + 1):
            near, far = source.narrow(axis, 0, size - step), source.narrow(axis, step, size - step)
            scores.narrow(axis, step, size - step).add_(near, alpha=weights[reach - step])
            scores.narrow(axis, 0, size - step).add_(far, alpha=weights[reach + step])
    return scores


def local_maxima(smooth: Tensor, floor: float) -> Tensor:
    """(n, 3) indices of voxels of a (z, y, x) map that are not below any of their 26 neighbours and above `floor`."""
    highest = smooth
    for axis in range(3):
        size, source = highest.shape[axis], highest
        highest = source.clone()
        for at, beside in ((0, 1), (1, 0)):
            part = highest.narrow(axis, at, size - 1)
            torch.maximum(part, source.narrow(axis, beside, size - 1), out=part)
    return ((smooth >= highest) & (smooth > floor)).nonzero()


def one_of_each_plateau(maxima: Tensor) -> Tensor:
    """(n, 3) local maxima → (m, 3): of those that touch, which are equally high, the one nearest to their middle."""
    voxels = maxima.numpy(force=True)
    pairs = KDTree(voxels).query_pairs(_TOUCHING, output_type="ndarray") if len(voxels) else voxels
    if not len(pairs):
        return maxima
    links = coo_matrix((np.ones(len(pairs), bool), pairs.T), shape=(len(voxels),) * 2)
    plateau = connected_components(links, directed=False)[1]
    middle = np.stack([np.bincount(plateau, axis) for axis in voxels.T], axis=1) / np.bincount(plateau)[:, None]
    order = np.lexsort((((voxels - middle[plateau]) ** 2).sum(axis=1), plateau))
    first = order[np.unique(plateau[order], return_index=True)[1]]
    return maxima[torch.from_numpy(np.sort(first)).to(maxima.device)]


def refine(smooth: Tensor, maxima: Tensor) -> Tensor:
    """Sub-voxel positions (n, 3): the vertex of the parabola through the three voxels on each axis."""
    positions = maxima.double()
    centre = smooth[maxima.unbind(1)].double()
    for axis in range(3):
        beside = [maxima.clone(), maxima.clone()]
        for at, step in zip(beside, (-1, 1), strict=True):
            at[:, axis] = (at[:, axis] + step).clamp(0, smooth.shape[axis] - 1)
        below, above = (smooth[at.unbind(1)].double() for at in beside)
        curvature = below - 2 * centre + above
        flat = curvature > -1e-12
        shift = 0.5 * (below - above) / torch.where(flat, 1.0, curvature)
        positions[:, axis] += torch.where(flat, 0.0, shift.clamp(-0.5, 0.5))
    return positions


def sample_mean(maps: Tensor, maxima: Tensor, reach: int) -> Tensor:
    """(c, z, y, x) maps → (n, c) means over the cube of half-width `reach` around each voxel."""
    total = torch.zeros((maps.shape[0], len(maxima)), dtype=torch.float64, device=maps.device)
    for offset in product(range(-reach, reach + 1), repeat=3):
        z, y, x = (
            (at + step).clamp(0, size - 1)
            for at, step, size in zip(maxima.unbind(1), offset, maps.shape[1:], strict=True)
        )
        total += maps[:, z, y, x]
    return total.T / (2 * reach + 1) ** 3
