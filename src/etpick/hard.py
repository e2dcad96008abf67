"""Background that the network takes for particles: places to show it again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from etpick.data import Patch, Source
from etpick.nn.networks import by_class
from etpick.types import FloatArray

_SURE: Final = 0.5  # chance of a particle from which background counts as taken for one
_APART_VX: Final = 1.0


def confused_places(
    sources: Sequence[Source],
    patches: Sequence[Patch],
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    reach_vx: FloatArray,
    stride: int,
) -> list[list[float]]:
    """Where each subtomogram was most taken for a particle, well away from every labelled one.

    logits (b, 1 + classes, n, n, n), labels and weights (b, n, n, n) as in training; reach_vx: (c,) radius of each
    class in working voxels; stride: working voxels to an output voxel. Gives rows of chance, source number, z, y,
    x, at most one for each subtomogram.
    """
    reach = math.ceil((reach_vx.max() + _APART_VX) / stride)
    axis = torch.arange(labels.shape[-1], device=labels.device)
    cube = ((axis[:, None] - axis).abs() <= reach).float()
    labelled = torch.einsum("nijk,zi,yj,xk->nzyx", (labels > 0).float(), cube, cube, cube)  # in the cube around each
    particle = 1 - by_class(logits).softmax(dim=0)[0].view(labels.shape)
    wrong = particle * (labelled < 0.5) * weights
    chances, flat = wrong.flatten(1).max(dim=1)
    found = []
    for patch, chance, index in zip(patches, chances.tolist(), flat.tolist(), strict=True):
        if chance > _SURE:
            voxel = np.array(np.unravel_index(index, patch.labels.shape), dtype=float)
            point = patch.warp.to_source((voxel * stride + (stride - 1) / 2)[None])[0] + patch.place
            if not _is_labelled(sources[patch.source], point, reach_vx):
                found.append([chance, patch.source, *point.tolist()])
    return found


def _is_labelled(source: Source, point: FloatArray, reach_vx: FloatArray) -> bool:
    """Whether a point lies in a labelled particle, whose label may lie outside the subtomogram."""
    gaps = np.linalg.norm(source.positions - point, axis=1) - reach_vx[source.labels - 1]
    return bool((gaps < _APART_VX).any())
