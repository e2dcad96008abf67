"""Masks that may have another binning than the tomogram, and may be as large."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etpick.errors import InputError
from etpick.types import FloatArray, Shape3, Volume

_BOX_VOXELS: Final = 4_000_000  # of a mask, looked at together


def grid_scale(shape: Shape3, other: Shape3) -> float:
    """Voxels of the other grid for one of the first along an axis, where both cover the same field of view.

    Sizes may have been rounded up or down when binning; of the ratios that explain them a whole one is preferred.
    Raises InputError where no one ratio fits all axes.
    """
    finer = np.prod(other) > np.prod(shape)
    coarse, fine = (shape, other) if finer else (other, shape)
    low = max(f / (c + 1) for c, f in zip(coarse, fine, strict=True))
    high = min(f / max(c - 1, 0.5) for c, f in zip(coarse, fine, strict=True))
    if not low < high:
        raise InputError(
            f"it has {_sizes(other)} voxels and the tomogram {_sizes(shape)} (x × y × z): the same volume at another "
            "binning would have the same ratio on all three axes"
        )
    mean = float(np.cbrt(np.prod(fine) / np.prod(coarse)))
    binning = min((n for n in range(1, int(high) + 1) if low < n < high), key=lambda n: abs(n - mean), default=mean)
    return float(binning if finer else 1 / binning)


def _sizes(shape: Shape3) -> str:
    return " × ".join(str(n) for n in reversed(shape))


def near_mask(mask: Volume, positions: FloatArray, reach_vx: float = 0.0) -> NDArray[np.bool_]:
    """Whether each position (n, 3), in voxels of the mask, lies within `reach_vx` of its non-zero voxels.

    Distances are taken between centres of voxels; with reach 0 the position's own voxel decides. Beyond the
    edges there is no mask. Only boxes around the positions are read: together where positions are dense, apart
    where they are sparse.
    """
    at = np.rint(positions).astype(np.intp)
    near = np.zeros(len(at), bool)
    margin = int(np.floor(reach_vx))
    most = max(_BOX_VOXELS, 2 * (2 * margin + 1) ** 3)
    groups = [np.arange(len(at))] if len(at) else []
    while groups:
        group = groups.pop()
        low, high = at[group].min(axis=0) - margin, at[group].max(axis=0) + margin + 1
        size = int(np.prod(high - low))
        if len(group) > 1 and size > min(most, len(group) * (2 * margin + 2) ** 3):
            axis = int((high - low).argmax())
            order = group[np.argsort(at[group, axis], kind="stable")]
            groups += [order[: len(order) // 2], order[len(order) // 2 :]]
            continue
        near[group] = _near_in(_cut(mask, low, high), at[group] - low, reach_vx)
    return near


def _near_in(box: NDArray[np.bool_], at: NDArray[np.intp], reach_vx: float) -> NDArray[np.bool_]:
    if not box.any():
        return np.zeros(len(at), bool)
    if reach_vx < 1:
        return np.asarray(box[tuple(at.T)])
    return np.asarray(ndimage.distance_transform_edt(~box)[tuple(at.T)] <= reach_vx)


def _cut(mask: Volume, low: NDArray[np.intp], high: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Non-zero voxels of a box that may reach outside."""
    inside = [slice(max(a, 0), max(b, 0)) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    box = np.zeros(tuple((high - low).tolist()), bool)
    part = np.asarray(mask[tuple(inside)]) != 0
    start = np.maximum(-low, 0)
    box[tuple(slice(a, a + n) for a, n in zip(start.tolist(), part.shape, strict=True))] = part
    return box
