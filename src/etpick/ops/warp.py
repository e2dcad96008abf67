"""Random mirror, rotation, scale and elastic bending, for images and for particle centres alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from etpick.types import FloatArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_KNOTS: Final = 4  # elastic bending: a smooth field through 4×4×4 random shifts
_ROUNDS: Final = 12  # of the bending's inversion, at most
_CLOSE_VX: Final = 1e-4


@dataclass(frozen=True, eq=False)
class Warp:
    """A map from the voxels of a subtomogram of `size`³ back to the tomogram that it is cut from.

    A point at offset d from the subtomogram's centre comes from offset matrix · (d + shift(d)) from the
    place it is cut around. shift: (3, 4, 4, 4) zyx voxels at knots spread over the subtomogram, or None.
    """

    size: int
    matrix: FloatArray
    shift: FloatArray | None = None

    @property
    def moves_voxels_only(self) -> bool:
        """Whether it only mirrors, so that no interpolation is needed."""
        return self.shift is None and bool((np.abs(self.matrix) == np.eye(3)).all())

    @property
    def reach(self) -> int:
        """Half the edge of the source block that holds every point it draws on, in voxels."""
        bend = 0.0 if self.shift is None else float(np.abs(self.shift).max())
        extent = np.abs(self.matrix).sum(axis=1).max() * (self.size / 2 + bend)
        return int(np.ceil(extent)) + 1

    def to_source(self, points: FloatArray) -> FloatArray:
        """(n, 3) zyx voxels of the subtomogram → (n, 3) offsets from the place it is cut around."""
        return np.asarray((points - self._centre + self._bend(points)) @ self.matrix.T)

    def to_target(self, offsets: FloatArray) -> FloatArray:
        """The inverse of `to_source`, by fixed-point iteration (the bending is gentle)."""
        straight = offsets @ np.linalg.inv(self.matrix).T + self._centre
        points = straight
        if self.shift is not None:
            for _ in range(_ROUNDS):
                before, points = points, straight - self._bend(points)
                if np.abs(points - before).max(initial=0) < _CLOSE_VX:
                    break
        return np.asarray(points)

    def source_grid(self, stride: int) -> FloatArray:
        """(3, n, n, n) what `to_source` gives for the centres of all cubes of `stride`³ voxels; half voxels exactly."""
        along = _hats(self.size, stride)
        grid = np.einsum("ijkl,zj,yk,xl->izyx", self.source_knots, along, along, along, optimize=True)
        return np.asarray(grid.round(9))

    @property
    def source_knots(self) -> FloatArray:
        """(3, 4, 4, 4) what `to_source` gives for the knots; between them it is linear along each axis."""
        knots = np.stack(np.meshgrid(*[np.linspace(-self._centre, self._centre, _KNOTS)] * 3, indexing="ij"))
        return np.asarray(np.einsum("ij,jzyx->izyx", self.matrix, knots if self.shift is None else knots + self.shift))

    @property
    def _centre(self) -> float:
        return (self.size - 1) / 2

    def _bend(self, points: FloatArray) -> Any:
        if self.shift is None:
            return 0.0
        knots = (points * ((_KNOTS - 1) / (self.size - 1))).T
        return np.stack([map_coordinates(s, knots, order=1, mode="nearest") for s in self.shift], axis=-1)


def sample_warped(warps: Sequence[Warp], blocks: Sequence[NDArray[np.float32]], device: torch.device) -> Tensor:
    """Cubic blocks around places → (n, size, size, size), trilinear, on a device; all warps of one size.

    A block's edge has the parity of `size`, so that both centres agree, and holds all that its warp draws on.
    """
    import torch
    import torch.nn.functional as F

    size, edge = warps[0].size, max(len(block) for block in blocks)
    volumes = np.zeros((len(blocks), 1, edge, edge, edge), np.float32)
    for volume, block in zip(volumes[:, 0], blocks, strict=True):
        rim = (edge - len(block)) // 2
        inner = slice(rim, rim + len(block))
        volume[inner, inner, inner] = block
    knots = np.stack([w.source_knots[::-1] for w in warps]) / ((edge - 1) / 2)  # x, y, z, where an edge is 2
    along = _on(_hats(size, 1), device)
    source = torch.einsum("nijkl,zj,yk,xl->nzyxi", _on(knots, device), along, along, along)
    return F.grid_sample(_on(volumes, device), source, align_corners=True)[:, 0]


def _hats(size: int, stride: int) -> FloatArray:
    """(n, 4) weights of the knots at the centres of every `stride` voxels along an axis."""
    points = np.arange((stride - 1) / 2, size, stride) * ((_KNOTS - 1) / (size - 1))
    return np.asarray(np.maximum(0, 1 - np.abs(points[:, None] - np.arange(_KNOTS))))


def _on(array: NDArray[np.floating], device: torch.device) -> Tensor:
    import torch

    return torch.from_numpy(array.astype(np.float32, copy=False)).to(device)


def random_warp(
    rng: np.random.Generator,
    size: int,
    *,
    mirror: bool,
    warp: bool,
    rotation_deg: float,
    scale: float,
    elastic: float,
) -> Warp:
    """Draw a warp. Without `warp` it mirrors at most, which costs no interpolation.

    rotation_deg: largest angle, about an axis drawn at random. scale: largest relative change of size.
    elastic: largest shift as a share of the subtomogram's edge.
    """
    flips = np.where(rng.random(3) < 0.5, -1.0, 1.0) if mirror else np.ones(3)
    if not warp:
        return Warp(size, np.diag(flips))
    axis = rng.normal(size=3)
    angle = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg))
    rotation = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
    matrix = rotation @ np.diag(flips) * rng.uniform(1 - scale, 1 + scale)
    shift = rng.uniform(-1, 1, (3, _KNOTS, _KNOTS, _KNOTS)) * rng.uniform(0, elastic) * size
    return Warp(size, matrix, shift)


def mirror_block(block: NDArray[np.float32], warp: Warp) -> NDArray[np.float32]:
    """The block as a warp that only mirrors would sample it."""
    return np.ascontiguousarray(np.flip(block, axis=tuple(i for i in range(3) if warp.matrix[i, i] < 0)))
