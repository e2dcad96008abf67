"""Candidates that their neighbours explain: between two particles end to end a third is seen that is not there.

Candidates nearer than their diameters allow compete for what the tomogram shows. Of each the average of its class, in
the orientation that fits best, says what it would look like; what is left of a place when its neighbours are taken
away tells what speaks for it alone. Who loses a larger share than all its neighbours goes, these are weighed anew, and
so on until nobody loses most of it: backward elimination, as in regression.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from etpick.averaging.expectation import Spectra
from etpick.boxes import Boxes, cubes
from etpick.class_averages import ClassAverages
from etpick.data import Voxels
from etpick.inference import Candidates
from etpick.types import FloatArray

_SURE: Final = 0.5  # score of a candidate that may explain others
_CLEAR: Final = 3.0  # evidence, a natural logarithm, with less of which it explains nobody and is not explained
_MOST: Final = 0.5  # of a candidate's evidence that neighbours may explain
_AT_ONCE_VX: Final = 2**23  # of boxes of candidates, and more where so many hang together


def explained_by_neighbours(
    averages: ClassAverages, volume: Voxels, candidates: Candidates, scores: FloatArray
) -> NDArray[np.bool_]:
    """(n,) which candidates owe most of their evidence to others, to those with `scores` (n,) of 0.5 and evidence.

    candidates: with the classes and places of the second look. Classes without an average take no part.
    """
    explained = np.zeros(len(scores), bool)
    for members, neighbours in _crowds(averages, candidates, scores):
        crowd = _Crowd(averages, volume, candidates.select(members), neighbours)
        explained[members] = crowd.eliminated(scores[members] >= _SURE)
    return explained


def _crowds(
    averages: ClassAverages, candidates: Candidates, scores: FloatArray
) -> Iterator[tuple[NDArray[np.intp], list[list[int]]]]:
    """Candidates, some hundreds at once, with the row numbers among them of those that each is too near to."""
    positions, classes, count = candidates.positions, candidates.classes.argmax(axis=1), len(scores)
    widths = np.where(averages.known, averages.widths_vx, 0)[classes]
    pairs = cKDTree(positions).query_pairs(widths.max(initial=0), output_type="ndarray")
    apart = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    known, sure = (widths[pairs] > 0).all(axis=1), (scores[pairs] >= _SURE).any(axis=1)
    pairs = pairs[known & sure & (apart < widths[pairs].mean(axis=1))]
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    group = connected_components(links, directed=False)[1]
    members = np.unique(pairs)
    members = members[np.argsort(group[members], kind="stable")]
    groups = np.split(members, np.flatnonzero(np.diff(group[members])) + 1)
    voxels = np.array([boxes.edge_vx**3 for boxes in averages.boxes])[classes]
    batch = np.cumsum([voxels[g].sum() for g in groups]) // _AT_ONCE_VX
    for number in np.unique(batch):
        own = np.concatenate([g for g, b in zip(groups, batch, strict=True) if b == number])
        row = {member: i for i, member in enumerate(own.tolist())}
        neighbours: list[list[int]] = [[] for _ in own]
        for one, other in pairs[np.isin(pairs[:, 0], own)].tolist():
            neighbours[row[one]].append(row[other])
            neighbours[row[other]].append(row[one])
        yield own, neighbours


class _Crowd:
    """Candidates of one tomogram, what it shows around them, and what they would look like by themselves."""

    def __init__(
        self, averages: ClassAverages, volume: Voxels, candidates: Candidates, neighbours: list[list[int]]
    ) -> None:
        self._averages, self._neighbours = averages, neighbours
        self._classes = candidates.classes.argmax(axis=1)
        self._boxes = [averages.boxes[number] for number in self._classes]
        self._factors = averages.factors(volume, self._boxes)
        self._middles = np.rint(candidates.positions).astype(int)
        self._off = candidates.positions - self._middles
        count = len(neighbours)
        self._shown, self._alone, self._evidence = [torch.zeros(0)] * count, [torch.zeros(0)] * count, np.zeros(count)
        for number, boxes, rows in self._by_class(range(count)):
            shown = cubes(volume, self._middles[rows], boxes.edge_vx).to(boxes.device)
            self._evidence[rows], turned, moved = averages.poses(number, boxes, self._seen(boxes, rows, shown))
            alone = boxes.blocks(turned, self._off[rows] + moved, self._factors[boxes])
            for i, seen, single in zip(rows, shown, alone, strict=True):
                self._shown[i], self._alone[i] = seen, single

    def eliminated(self, explains: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n,) which of the candidates are explained by those that may explain (n,)."""
        alone = self._evidence
        explains = explains & (alone > _CLEAR)
        left, gone = self._evidence_left(range(len(alone)), explains), np.zeros(len(alone), bool)
        while True:
            share = np.where(alone > _CLEAR, 1 - left / np.maximum(alone, _CLEAR), 0)
            losing = share > _MOST
            rank = [(value, i) for i, value in enumerate(np.where(gone, 0, share).tolist())]
            worst = [
                i for i in np.flatnonzero(losing & ~gone).tolist()
                if all(rank[i] > rank[other] for other in self._neighbours[i])
            ]  # fmt: skip
            if not worst:
                return gone & losing  # who went because of one that went later is back
            gone[worst], explains[worst] = True, False
            rows = sorted({other for i in worst for other in self._neighbours[i]})
            left[rows] = self._evidence_left(rows, explains)

    def _evidence_left(self, rows: Sequence[int], explains: NDArray[np.bool_]) -> FloatArray:
        """(r,) for the class of each candidate, in what the neighbours that may explain leave of the tomogram."""
        place = {i: n for n, i in enumerate(rows)}
        evidence = np.zeros(len(rows))
        for number, boxes, own in self._by_class(rows):
            left = torch.stack([self._without(i, [j for j in self._neighbours[i] if explains[j]]) for i in own])
            found, _ = self._averages.weigh_class(number, boxes, self._seen(boxes, own, left))
            evidence[[place[i] for i in own]] = found
        return evidence

    def _without(self, row: int, others: Sequence[int]) -> Tensor:
        """What the tomogram shows around a candidate, less what others would look like."""
        left = self._shown[row].clone()
        for other in others:
            block = self._alone[other]
            first = self._middles[other] - len(block) // 2 - self._middles[row] + len(left) // 2
            low, high = np.maximum(first, 0), np.minimum(first + len(block), len(left))
            left[tuple(map(slice, low, high))] -= block[tuple(map(slice, low - first, high - first))]
        return left

    def _seen(self, boxes: Boxes, rows: Sequence[int], blocks: Tensor) -> Spectra:
        factor = self._factors[boxes]
        return boxes.particles(boxes.spectra(blocks, self._off[list(rows)], factor), factor)

    def _by_class(self, rows: Iterable[int]) -> Iterator[tuple[int, Boxes, list[int]]]:
        """The classes of some candidates, their boxes, and which of these are of each."""
        rows = list(rows)
        for number in np.unique(self._classes[rows]).tolist():
            own = [i for i in rows if self._classes[i] == number]
            yield number, self._boxes[own[0]], own
