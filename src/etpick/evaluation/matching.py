"""Which pick is which particle: one-to-one pairs of nearest points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.types import FloatArray, ParticleClass, Particles

IntArray = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs as row numbers, predicted (k,) and truth (k,), ascending in `truth`; distances (k,) in voxels."""

    predicted: IntArray
    truth: IntArray
    distances: FloatArray

    def __len__(self) -> int:
        return len(self.truth)


def match(predicted: FloatArray, truth: FloatArray, radii: float | FloatArray) -> Matches:
    """Pair predicted (n, 3) with truth (m, 3), each used once at most.

    A pair is allowed where its distance is below the radius of that true particle; `radii` is one number
    or (m,), in the unit of the positions. Of all pairings, one with the most pairs is taken, and of
    those the one with the least total distance.
    """
    predicted = np.asarray(predicted, dtype=np.float64).reshape(-1, 3)
    truth = np.asarray(truth, dtype=np.float64).reshape(-1, 3)
    rows, columns, distances = candidate_pairs(predicted, truth, radii)
    chosen = _assign(rows, columns, distances, len(predicted), len(truth))
    chosen = chosen[np.argsort(columns[chosen], kind="stable")]
    return Matches(rows[chosen], columns[chosen], distances[chosen])


def candidate_pairs(
    predicted: FloatArray, truth: FloatArray, radii: float | FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """All allowed pairs: predicted rows (k,), truth rows (k,) and their distances (k,)."""
    from scipy.spatial import KDTree

    radii = np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(truth),))
    if len(predicted) == 0 or len(truth) == 0:
        none = np.zeros(0, dtype=np.intp)
        return none, none, np.zeros(0)
    near = KDTree(predicted).query_ball_point(truth, radii, return_sorted=True)
    columns = np.repeat(np.arange(len(truth), dtype=np.intp), [len(rows) for rows in near])
    rows = np.concatenate([np.asarray(rows, dtype=np.intp) for rows in near])
    distances = np.linalg.norm(predicted[rows] - truth[columns], axis=1)
    allowed = distances < radii[columns]
    return rows[allowed], columns[allowed], distances[allowed]


def _assign(rows: IntArray, columns: IntArray, distances: FloatArray, n: int, m: int) -> IntArray:
    """Indices into the candidate pairs of the best one-to-one choice, component by component."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if len(rows) == 0:
        return rows
    graph = coo_array((np.ones(len(rows)), (rows, n + columns)), shape=(n + m, n + m))
    component = connected_components(graph, directed=False)[1][rows]
    order = np.argsort(component, kind="stable")
    starts = np.flatnonzero(np.diff(component[order])) + 1
    chosen = [
        group if len(group) == 1 else group[_assign_component(rows[group], columns[group], distances[group])]
        for group in np.split(order, starts)
    ]
    return np.concatenate(chosen)


def _assign_component(rows: IntArray, columns: IntArray, distances: FloatArray) -> IntArray:
    from scipy.optimize import linear_sum_assignment

    _, i = np.unique(rows, return_inverse=True)
    _, j = np.unique(columns, return_inverse=True)
    shape = (int(i.max()) + 1, int(j.max()) + 1)
    # One more pair must outweigh every distance of the component together.
    bonus = 1.0 + float(distances.max()) * min(shape)
    cost = np.zeros(shape)
    cost[i, j] = distances - bonus
    pair = np.full(shape, -1, dtype=np.intp)
    pair[i, j] = np.arange(len(rows))
    assigned = pair[linear_sum_assignment(cost)]
    return assigned[assigned >= 0]


def radii_vx(particles: Particles, classes: Sequence[ParticleClass], spacing_A: float) -> FloatArray:
    """Half of each particle's class diameter in voxels, (n,).

    Raises InputError for a class of `particles` that is not among `classes`.
    """
    radius = {c.name: c.diameter_A / 2 / spacing_A for c in classes}
    check_classes(particles, classes)
    return np.array([radius[str(name)] for name in particles.classes], dtype=np.float64)


def check_classes(particles: Particles, classes: Sequence[ParticleClass]) -> None:
    """Raise InputError where `particles` has a class that is not among `classes`."""
    names = [c.name for c in classes]
    if unknown := sorted(set(particles.classes.tolist()) - set(names)):
        where = f" in {particles.tomogram}" if particles.tomogram else ""
        raise InputError(
            f"class {', '.join(unknown)}{where} is not among {', '.join(names) or 'no classes'}; "
            "give its diameter or rename it"
        )


def per_tomogram(spacing_A: float | Sequence[float], count: int) -> list[float]:
    """One spacing for each of `count` tomograms, from one number or as many."""
    spacings = [float(s) for s in np.atleast_1d(np.asarray(spacing_A, dtype=np.float64))]
    if len(spacings) == 1:
        spacings = spacings * count
    if len(spacings) != count:
        raise InputError(f"{count} tomograms but {len(spacings)} spacings; give one, or one for each")
    return spacings


def check_pairs(picks: Sequence[Particles], truths: Sequence[Particles]) -> None:
    """Raise InputError unless there is one truth for each list of picks."""
    if len(picks) != len(truths):
        raise InputError(f"{len(picks)} lists of picks but {len(truths)} of truth; each tomogram needs both")
