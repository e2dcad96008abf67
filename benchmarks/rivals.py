"""Other ways from score maps to particles, for compare.py: DeepETPicker's as released, and DeepFinder's.

Both are written from METHOD.md and the papers; positions are (z, y, x) in working voxels.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from etpick.config import BINARY_FLOOR, POOLING_KERNEL, SEGMENTATION_THRESHOLD
from etpick.data import WorkingVolume
from etpick.inference import Scores, choose_tile, plan_for, predict
from etpick.ops.peaks import local_maxima, mean_pool, pooling_iterations
from etpick.ops.suppression import suppress
from etpick.picking import Picker
from etpick.types import FloatArray, Particles

TYPICAL_CLUSTER = 30.0  # voxels; only scales a cluster's size into a score


def score_maps(picker: Picker, volume: WorkingVolume) -> Scores:
    """The whole tomogram's score maps, which etpick itself never holds at once."""
    engine = picker.engine_for(volume)
    plan = plan_for(volume.shape, engine, picker.config, choose_tile(volume, engine, picker.config))
    return reduce(add, predict(volume, engine, plan))


def released_localisation(
    maps: NDArray[np.float16], names: list[str], stride: int, label_vx: float, nearest_vx: float
) -> Particles:
    """The released DeepETPicker's localisation, on chances (c, z, y, x) at a network's stride.

    Each class is binarised at 0.5 on its own, pooled and searched for maxima above 0.1. Positions are whole voxels,
    and of two nearer than `nearest_vx`, whatever their classes, the higher stays. The pooled share is the score.
    """
    found = [_maxima_of_mask(chances, stride, label_vx) for chances in maps]
    positions = np.concatenate([at for at, _ in found]).astype(np.float64)
    scores = np.concatenate([height for _, height in found])
    classes = np.repeat(np.array(names), [len(at) for at, _ in found])
    kept = suppress(positions, scores, np.full(len(scores), nearest_vx))
    return Particles(positions[kept], classes[kept], scores[kept])


def _maxima_of_mask(chances: NDArray[np.float16], stride: int, label_vx: float) -> tuple[NDArray[np.intp], FloatArray]:
    """Maxima (n, 3) of a class's pooled mask, and their heights (n,)."""
    if not (chances > SEGMENTATION_THRESHOLD).any():
        return np.zeros((0, 3), np.intp), np.zeros(0)
    # The released program works at full resolution; whole voxels of a half-resolution map would be unfair to it.
    full = ndimage.zoom(chances.astype(np.float32), stride, order=1, mode="nearest", grid_mode=True)
    mask = torch.from_numpy(full > SEGMENTATION_THRESHOLD).float()
    smooth = mean_pool(mask, POOLING_KERNEL, pooling_iterations(label_vx, POOLING_KERNEL))
    at = local_maxima(smooth, BINARY_FLOOR)
    return at.numpy(), smooth[at.unbind(1)].double().numpy()


def mean_shift(scores: Scores, names: list[str], stride: int, bandwidth_vx: float) -> Particles:
    """DeepFinder's clustering: mean shift on the voxels that the most likely label does not call background.

    A cluster's centre is the position, its size the score (n / (n + 30), so that it lies in 0–1), the commonest
    label of its voxels the class. It runs at the network's resolution, as DeepFinder's does on a binned map.
    """
    from sklearn.cluster import MeanShift

    best, which = scores.classes.float().max(dim=0)
    labels = torch.where(best > 1 - scores.foreground, which + 1, 0).numpy(force=True)
    at = np.argwhere(labels)
    if not len(at):
        return Particles.empty()
    found = MeanShift(bandwidth=bandwidth_vx / stride, bin_seeding=True).fit(at)
    votes = np.zeros((len(found.cluster_centers_), len(names) + 1), np.intp)
    np.add.at(votes, (found.labels_, labels[tuple(at.T)]), 1)
    real = votes.sum(axis=1) > 0
    votes, centres = votes[real], found.cluster_centers_[real]
    size = votes.sum(axis=1)
    positions = centres * stride + (stride - 1) / 2
    return Particles(positions, np.array(names)[votes.argmax(axis=1) - 1], size / (size + TYPICAL_CLUSTER))
