"""Gold beads, and other blobs as dark as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etpick.ops.coarse import Coarse, robust_sigma, sample_of
from etpick.ops.suppression import suppress
from etpick.types import FloatArray

_GOLD_SIGMAS: Final = 8.0  # noise alone does not reach this
_GOLD_OVER_PROTEIN: Final = 2.5  # how much further than protein gold must reach …
_PROTEIN_SHARE: Final = 0.005  # … protein being what the darkest half per cent of the voxels reach
_CORE: Final = 1.6  # a bead's core is so many times beyond that limit: 2.1 or more in phantoms, other things 1.1
_FEWEST_GOLD_VX: Final = 3  # coarse voxels of the smallest bead
_APART: Final = 1.5  # cores nearer than this many radii of the whole blob are one bead, drawn out by the missing wedge


@dataclass(frozen=True, eq=False)
class Beads:
    """Gold beads: centres (n, 3) zyx and radii (n,), in voxels."""

    centres: FloatArray
    radii: FloatArray

    def __len__(self) -> int:
        return len(self.radii)

    def distance(self, positions: FloatArray) -> FloatArray:
        """(n, 3) zyx voxels → (n,) distance in voxels to the nearest bead's surface, negative inside it."""
        nearest = np.full(len(positions), np.inf)
        for centre, radius in zip(self.centres, self.radii, strict=True):
            nearest = np.minimum(nearest, np.linalg.norm(positions - centre, axis=1) - radius)
        return nearest


def find_beads(coarse: Coarse, largest_vx: float) -> Beads:
    """Compact blobs whose grey levels lie far beyond those of protein, whichever side that is.

    Far is 8 robust σ and 2.5 times the distance from the median that half a per cent of the voxels reach, and
    1.6 times as much in a bead's core. A bead's radius is that of the ball as large as what lies beyond; blobs
    wider than `largest_vx` voxels in radius are no beads. Beads that touch may come back as one. Returned in
    voxels of the volume.
    """
    levels = coarse.smoothed()
    levels -= np.median(sample_of(levels))
    sigma = robust_sigma(levels)
    if not sigma > 0:
        return Beads(np.zeros((0, 3)), np.zeros(0))
    if np.max(levels, initial=0) > -np.min(levels, initial=0):
        np.negative(levels, out=levels)
    protein = -float(np.quantile(sample_of(levels), _PROTEIN_SHARE))
    limit = -max(_GOLD_SIGMAS * sigma, _GOLD_OVER_PROTEIN * protein)
    labels, count = ndimage.label(levels < limit, np.ones((3, 3, 3)))
    found = [
        bead
        for number, box in enumerate(ndimage.find_objects(labels, count), start=1)
        if levels[box][labels[box] == number].min() < _CORE * limit
        for bead in _beads_in(levels[box], labels[box] == number, np.array([s.start for s in box]))
    ]
    centres = np.array([centre for centre, _ in found]).reshape(-1, 3)
    radii = np.array([radius for _, radius in found]) * coarse.binning
    small = radii <= largest_vx
    return Beads(coarse.to_fine(centres[small]), radii[small])


def _beads_in(
    levels: NDArray[np.float32], dark: NDArray[np.bool_], corner: NDArray[np.intp]
) -> Iterator[tuple[FloatArray, float]]:
    """Centre and radius, in coarse voxels, of each bead in a connected blob; none in a speck of noise."""
    if dark.sum() < _FEWEST_GOLD_VX:
        return
    minima = np.argwhere(dark & (levels == ndimage.minimum_filter(levels, 3)))
    depth = -levels[tuple(minima.T)].astype(np.float64)
    apart = _APART * _radius(int(dark.sum()))
    cores = minima[suppress(minima.astype(np.float64), depth, np.full(len(minima), apart))]
    voxels = np.argwhere(dark)
    owner = np.linalg.norm(voxels[:, None] - cores, axis=2).argmin(axis=1)
    for i in range(len(cores)):
        own = voxels[owner == i]
        yield own.mean(axis=0) + corner, _radius(len(own))


def _radius(voxels: int) -> float:
    return float(np.cbrt(0.75 / np.pi * voxels))
