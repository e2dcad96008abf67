"""Subtomograms around places, as whitened spectra: what the averages of the classes are made of and compare with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etpick.averaging.expectation import Spectra
from etpick.averaging.grid import FourierGrid, at_once
from etpick.data import Readable, Resident, Voxels
from etpick.engine import CPU
from etpick.types import Box, FloatArray

_BOX: Final = 1.6  # edge of a box in diameters of the particle …
_ROOM_VX: Final = 10.0  # … and how much wider than it a box is at least: for shifts, and to fade
_LARGEST_VX: Final = 32  # larger boxes are binned to it
_TAPER_VX: Final = 4  # over which boxes fade at their faces
SHORTEST_VX: Final = 3.5  # wave, in voxels of the grid; finer ones tell classes apart no better
_AT_ONCE_VX: Final = 2**22  # of boxes
_PROBES: Final = 200  # boxes at random places by which a tomogram's noise is measured
_DARK: Final = 0.15  # of the power of its shell's strong quarter: a wave with less was not measured (missing wedge)


class Boxes:
    """How subtomograms are read around places, for particles of a width in working voxels.

    edge_vx: of a box in working voxels. grid: its waves; a large box is binned. scale: working voxels in one of the
    grid's. waves: how many of the grid's tell classes apart, those up to last_shell. variance: (shells + 1,) of the
    real and of the imaginary part of white noise of σ 1 in such a box. kept: as in `Spectra`.
    """

    def __init__(self, width_vx: float, device: torch.device = CPU) -> None:
        self.edge_vx = 2 * math.ceil(max(_BOX * width_vx, width_vx + _ROOM_VX) / 2)
        self.grid = FourierGrid(min(self.edge_vx, _LARGEST_VX), device)
        self.scale = self.edge_vx / self.grid.box_vx
        self.last_shell = min(self.grid.shells, math.floor(self.grid.box_vx / SHORTEST_VX))
        self.waves = self.grid.up_to(self.last_shell)
        axis = np.arange(self.edge_vx)
        ramp = np.minimum(axis + 0.5, self.edge_vx - 0.5 - axis) / _TAPER_VX
        fade = torch.from_numpy(np.sin(np.pi / 2 * ramp.clip(max=1)) ** 2).float().to(device)
        self._window = fade[:, None, None] * fade[:, None] * fade
        self.variance = torch.full((self.grid.shells + 1,), self.edge_vx**3 / 2 / self.scale**6, device=device)
        self.kept = float((self._window**2).mean())

    @property
    def device(self) -> torch.device:
        """Where spectra are computed."""
        return self.grid.device

    def read(self, volume: Voxels, positions: FloatArray, factor: Tensor) -> Spectra:
        """Whitened spectra of boxes, the places (n, 3) of a volume in their middles to a fraction of a voxel."""
        everywhere = np.ones(len(positions), bool)
        return self.particles(read_boxes(volume, positions, {self: factor}, {self: everywhere})[self], factor)

    def particles(self, values: Tensor, factor: Tensor) -> Spectra:
        """Those of one tomogram, from their spectra (n, f′) and the factor (f′,) that whitened them."""
        return Spectra(values, factor[None], torch.zeros(len(values), dtype=torch.long, device=self.device), self.kept)

    def spectra(self, blocks: Tensor, off_vx: FloatArray, factor: Tensor) -> Tensor:
        """Voxels (n, e, e, e), with particles (n, 3) working voxels off the middles → (n, f′) spectra with these in the
        middle, of as many waves as the factor has, times it."""
        off = torch.from_numpy(off_vx / self.scale).float().to(self.device)
        values = self.grid.spectra(blocks.to(self.device) * self._window, len(factor))
        return values * (self.grid.phases(off, len(factor)) * factor)

    def blocks(self, spectra: Tensor, off_vx: FloatArray, factor: Tensor) -> Tensor:
        """Voxels (n, e, e, e) in which a tomogram would show what has such spectra (n, f′), (n, 3) working voxels off
        the middles, about 0 at the faces. The tomogram is that of the factor (f′,), 0 where it measured nothing."""
        off = torch.from_numpy(off_vx / self.scale).float().to(self.device)
        seen = spectra * (factor > 0) * self.grid.phases(-off, spectra.shape[1])
        blocks = self.grid.boxes(seen, self.edge_vx)
        faces = torch.ones(blocks.shape[1:], dtype=torch.bool, device=self.device)
        faces[1:-1, 1:-1, 1:-1] = False
        return blocks - blocks[:, faces].mean(dim=1)[:, None, None, None]

    def noise_of(self, volume: Voxels) -> Tensor:
        """(f,) factor that gives each wave of a box the power that white noise of σ 1 has, measured at random places; 0
        where a tilt series measured nothing."""
        rng, grid = np.random.default_rng(0), self.grid
        room = np.maximum(np.array(volume.shape) - self.edge_vx, 0)
        middles = np.minimum(volume.shape, self.edge_vx) // 2 + rng.integers(0, room + 1, (_PROBES, 3))
        all_waves = torch.ones_like(grid.k[:, 0])
        power = (self.read(volume, middles.astype(float), all_waves).values.abs() ** 2).mean(dim=0)
        strong = torch.stack([power[grid.shell == s].quantile(0.75) for s in range(1, grid.shells + 1)])
        limit = _DARK * strong[grid.shell - 1]
        return torch.where(power > limit, (2 * self.kept * self.variance[0] / power.clamp(min=1e-12)).sqrt(), 0)


def boxes_of(widths_vx: Sequence[float], device: torch.device = CPU) -> list[Boxes]:
    """Of each class, the same for those that have boxes of one size."""
    kinds: dict[int, Boxes] = {}
    return [kinds.setdefault(b.edge_vx, b) for b in (Boxes(width, device) for width in widths_vx)]


def read_boxes(
    volume: Voxels, positions: FloatArray, factors: Mapping[Boxes, Tensor], wanted: Mapping[Boxes, NDArray[np.bool_]]
) -> dict[Boxes, Tensor]:
    """(m, f′) spectra of each kind of boxes around those of the places (n, 3) at which it is wanted (n,), these in the
    middle to a fraction of a voxel, times the factor (f′,). A file's voxels are read once for all kinds."""
    edges = np.zeros(len(positions), np.intp)
    for kind, asked in wanted.items():
        edges[asked] = np.maximum(edges[asked], kind.edge_vx)
    middles = np.rint(positions).astype(int)
    found = {b: [torch.zeros(0, len(f), dtype=torch.complex64, device=f.device)] for b, f in factors.items()}
    batch = np.cumsum(edges**3) // at_once(_AT_ONCE_VX, next(iter(factors)).device if factors else CPU)
    for rows in np.split(np.arange(len(edges)), np.flatnonzero(np.diff(batch)) + 1):
        around = _nested_cubes(volume, middles[rows], edges[rows])
        for kind, parts in found.items():
            some = np.flatnonzero(wanted[kind][rows])
            if len(some):
                parts.append(kind.spectra(around(some, kind.edge_vx), (positions - middles)[rows[some]], factors[kind]))
    return {kind: torch.cat(found.pop(kind)) for kind in list(found)}


def _nested_cubes(
    volume: Voxels, middles: NDArray[np.intp], edges: NDArray[np.intp]
) -> Callable[[NDArray[np.intp], int], Tensor]:
    """What gives the (m, e, e, e) voxels around some of the middles (n, 3), by their row numbers, e being at most their
    edge (n,)."""
    if isinstance(volume, Resident):
        return lambda rows, edge: volume.cubes(middles[rows], edge)
    read = [_cube(volume, middle, edge) for middle, edge in zip(middles.tolist(), edges.tolist(), strict=True)]
    return lambda rows, edge: torch.from_numpy(np.stack([_inner(read[i], edge) for i in rows]))


def cubes(volume: Voxels, middles: NDArray[np.intp], edge: int) -> Tensor:
    """(n, e, e, e) voxels around some (n, 3)."""
    return _nested_cubes(volume, middles, np.full(len(middles), edge))(np.arange(len(middles)), edge)


def _cube(volume: Readable, middle: Sequence[int], edge: int) -> NDArray[np.float32]:
    (z, y, x), half = middle, edge // 2
    return volume.read(Box((z - half, y - half, x - half), (z + half, y + half, x + half)))


def _inner(block: NDArray[np.float32], edge: int) -> NDArray[np.float32]:
    inner = slice((len(block) - edge) // 2, (len(block) + edge) // 2)
    return block[inner, inner, inner]
