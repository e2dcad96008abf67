"""What two half-maps and the poses behind them tell: curves, local resolution, random subsets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from scipy import fft

from etpick.assessment.particles import Extracted, poses_in
from etpick.assessment.result import Averaged, SetResult
from etpick.averaging.expectation import Poses, average
from etpick.averaging.grid import ball
from etpick.averaging.refine import mask_diameter
from etpick.evaluation.density import fourier_shell_correlation, half_frequencies
from etpick.evaluation.local_resolution import local_resolution_A
from etpick.evaluation.resolution import compare_halves, crossing_shell, resolution_A
from etpick.types import FloatArray

SUBSETS: Final = 5  # random subsets of each size
_FEWEST: Final = 8
_SIZES: Final = 6  # at most, each half of the one before
_SMALL: Final = 1e-3


def particle_mask(box_vx: int, diameter_vx: float) -> FloatArray:
    """[z, y, x] the soft ball within which halves are compared, the same for all sets and both programs."""
    return np.asarray(ball(box_vx, mask_diameter(diameter_vx, box_vx)).double().numpy())


def measure(
    name: str, averaged: Averaged, extracted: Extracted, diameter_A: float, seed: int,
    on_subset: Callable[[], None] = lambda: None,
) -> tuple[SetResult, FloatArray]:  # fmt: skip
    """The result of a set, and its map of local resolution [z, y, x] in Å."""
    one, other = averaged.half_maps
    box_vx = one.shape[0]
    mask = particle_mask(box_vx, diameter_A / averaged.spacing_A)
    curves = averaged.curves or compare_halves(one, other, mask, seed)
    local = local_resolution_A(one, other, averaged.spacing_A, mask)
    counts, resolutions = subset_resolutions(averaged, extracted, diameter_A, seed, on_subset)
    result = SetResult(
        name, averaged.how, len(extracted), box_vx * averaged.spacing_A, averaged.spacing_A, averaged.start_A, curves,
        np.sort(local[mask > 1 / 2]), counts, resolutions, extracted.box_A / extracted.grid.shells,
        averaged.log_likelihood, averaged.likelihood_is, averaged.top, averaged.correlation,
        distances_from_picks_A(extracted, averaged.poses),
    )  # fmt: skip
    return result, local


def distances_from_picks_A(extracted: Extracted, poses: Poses) -> FloatArray:
    """(n,) how far each particle was found from where it was picked, in Å.

    An average may lie off the middle of its box, which moves all particles alike in their own frames: that common
    part is taken out.
    """
    picked = poses_in(extracted.table, extracted.spacing_A)
    moved = (poses.shifts_vx - picked.shifts_vx)[:, :, None]
    common = (poses.rotations.transpose(1, 2) @ moved).mean(dim=0)
    own = (moved - poses.rotations @ common)[:, :, 0]
    return np.asarray(own.norm(dim=1).double().numpy()) * extracted.spacing_A


def average_map(one: FloatArray, other: FloatArray, result: SetResult) -> FloatArray:
    """The mean of two half-maps, each shell weighted by what is right in it, sqrt(2 FSC / (1 + FSC)).

    (Rosenthal & Henderson 2003, C_ref.)
    """
    last = crossing_shell(result.curves.corrected)
    curve = np.clip(result.curves.corrected, 0, 1)
    shells = np.arange(len(curve))
    weights = np.where(shells <= np.ceil(last), np.sqrt(2 * curve / (1 + curve)), 0)
    n = one.shape[0]
    radius = half_frequencies(n, 1 / n)
    transformed = fft.rfftn((one + other) / 2) * np.interp(radius, shells, weights, right=0)
    return np.asarray(fft.irfftn(transformed, s=one.shape))


def subset_sizes(count: int) -> list[int]:
    """All particles, half of them, a quarter …"""
    sizes = [count // 2**power for power in range(_SIZES)]
    return [size for size in sizes if size >= _FEWEST] or [count]


def subset_resolutions(
    averaged: Averaged, extracted: Extracted, diameter_A: float, seed: int, on_subset: Callable[[], None]
) -> tuple[FloatArray, FloatArray]:
    """(m,) sizes and (m,) resolutions in Å of averages of random subsets, at the poses of the refinement.

    Each half gives half of a subset. The poses stay, so that a point costs a sum and not a refinement; they were
    found with all particles, which flatters small subsets, those of every set alike.
    """
    rng = np.random.default_rng(seed)
    grid = extracted.grid
    mask = particle_mask(grid.box_vx, diameter_A / extracted.spacing_A)
    members = [np.flatnonzero(averaged.half == h) for h in (0, 1)]
    damping = torch.full((grid.shells + 1,), _SMALL)
    counts, found = [], []
    for size in subset_sizes(len(extracted)):
        for _ in range(SUBSETS if size < len(extracted) else 1):
            maps = []
            for own in members:
                rows = torch.from_numpy(rng.permutation(own)[: max(1, size // 2)])
                poses = Poses(averaged.poses.rotations[rows], averaged.poses.shifts_vx[rows])
                sums = average(extracted.spectra.select(rows), grid, poses)
                maps.append(grid.solve(sums, damping, grid.shells).double().numpy() * mask)
            curve, _weights = fourier_shell_correlation(*maps)
            counts.append(size)
            found.append(resolution_A(curve, extracted.box_A))
            on_subset()
    return np.array(counts, dtype=np.float64), np.array(found)
