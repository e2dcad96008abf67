"""Of picks too near to one another the best: non-maximum suppression by distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from etpick.types import FloatArray


def kept_apart(
    before: FloatArray, after: FloatArray, free: NDArray[np.bool_], distances: FloatArray
) -> NDArray[np.bool_]:
    """(n,) which of the picks that are free to move from `before` to `after` (n, 3) do so.

    None may come nearer to another than the mean of their distances (n,), unless it was as near before.
    """
    free = free.copy()
    while len(before):
        places = np.where(free[:, None], after, before)
        pairs = KDTree(places).query_pairs(float(distances.max()), output_type="ndarray")
        gap, was = (np.linalg.norm(p[pairs[:, 0]] - p[pairs[:, 1]], axis=1) for p in (places, before))
        bad = np.unique(pairs[(gap < distances[pairs].mean(axis=1)) & (gap < was)])
        if not free[bad].any():
            break
        free[bad] = False
    return free


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
