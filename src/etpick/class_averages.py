"""A second look at picks: averages of the labelled particles of each class say what class a pick is, and where it lies.

A network learns a class from as many views as there are labels. Averaged, the labels give the particle itself, and
with it every view: how likely is a pick to be each class, over all orientations and small shifts? That evidence is the
likelihood of `etpick.averaging.expectation`; weights that validation chose join it with the network's chances.
`etpick.averaging_labels` makes the averages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from etpick.averaging.expectation import Spectra, weigh
from etpick.averaging.grid import FourierGrid, lattice
from etpick.averaging.rotations import evenly_spaced
from etpick.data import Readable
from etpick.errors import ModelError
from etpick.io.atomic import atomic_write
from etpick.types import Box, FloatArray

FILE: Final = "averages.safetensors"
_BOX: Final = 1.6  # edge of a box in diameters of the widest particle
_LARGEST_VX: Final = 32  # larger boxes are binned to it
_TAPER_VX: Final = 4  # over which boxes fade at their faces
_SHORTEST_VX: Final = 3.5  # wave, in voxels of the grid; finer ones tell classes apart no better
_AT_ONCE: Final = 64  # boxes
_PROBES: Final = 200  # boxes at random places by which a tomogram's noise is measured
_DARK: Final = 0.2  # of its shell's median power: a wave with less was not measured, as in the missing wedge
_REACH_VX: Final = 2.0  # of a pick from its particle, in voxels of the grid
_FINEST_DEG: Final = 20.0  # between orientations
_UNLIKELY: Final = 0.02  # chance by the network below which a class is not tried
_UNTRIED: Final = 10.0  # evidence that such a class has less than any that is tried
_LEAST_CHANCE: Final = 1e-6


@dataclass(frozen=True, eq=False)
class ClassAverages:
    """What the labelled particles of each class look like.

    references: (c, b, b, b) on the grid of `Boxes`. widths_vx: (c,) diameters in working voxels. trust: weights of the
    logarithms of the network's chances and of the averages' likelihoods. moves: whether picks go to the place that the
    averages give. right: shares of the particles of validation whose class is told right, by the network alone and by
    both. distance_vx: the same for their mean distance from the centre; particles: how many there were.
    """

    references: Tensor
    widths_vx: tuple[float, ...]
    trust: tuple[float, float] = (1.0, 0.0)
    moves: bool = False
    right: tuple[float, float] = (0.0, 0.0)
    distance_vx: tuple[float, float] = (0.0, 0.0)
    particles: int = 0

    @property
    def used(self) -> bool:
        """Whether a second look changes anything: averages that tell nothing are not asked."""
        return self.moves or self.trust[1] > 0

    def line(self) -> str:
        """What `etpick info` prints."""
        if not self.used:
            return f"averages of the classes: not used, they tell no more than the network ({self._on()})"
        told = "right class {:.0%} instead of {:.0%}".format(*self.right[::-1])
        place = "distance {:.2f} instead of {:.2f} voxels".format(*self.distance_vx[::-1])
        parts = [told] * (self.trust[1] > 0) + [place] * self.moves
        return f"averages of the classes: a second look at picks gives {' and '.join(parts)} ({self._on()})"

    def _on(self) -> str:
        return f"on {self.particles} particles of validation"

    def look(self, volume: Readable, positions: FloatArray, chances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Places (n, 3) in working voxels and class chances (n, c) of picks, from those by the network."""
        evidence, places = self.weigh(volume, positions, chances)
        told = joined(self.trust, evidence, chances)
        return (places[np.arange(len(places)), told.argmax(axis=1)] if self.moves else positions), told

    def weigh(self, volume: Readable, positions: FloatArray, chances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, c) evidence for each class at each place, a natural logarithm, and (n, c, 3) the place it speaks of.

        Classes that the network holds for unlikely are not tried and have less evidence than any that is.
        """
        boxes = Boxes(self.widths_vx)
        seen = boxes.read(volume, positions, boxes.noise_of(volume))
        shifts = lattice(_REACH_VX, 1.0)
        share = chances / np.maximum(chances.sum(axis=1, keepdims=True), _LEAST_CHANCE)
        tried = share >= np.minimum(_UNLIKELY, share.max(axis=1, keepdims=True))
        evidence = np.full(chances.shape, np.inf)
        places = np.repeat(positions[:, None], chances.shape[1], axis=1)
        for number, (reference, width) in enumerate(zip(self.references, self.widths_vx, strict=True)):
            rows = np.flatnonzero(tried[:, number])
            if not len(rows):
                continue
            rotations = evenly_spaced(angle_deg(width / boxes.scale), np.random.default_rng(0))
            found, moved = weigh(
                seen.select(torch.from_numpy(rows)), boxes.grid, reference, boxes.variance, torch.zeros(len(rows), 3),
                rotations, shifts, boxes.last_shell,
            )  # fmt: skip
            evidence[rows, number] = found.numpy()
            places[rows, number] += moved.numpy() * boxes.scale
        return np.where(tried, evidence, evidence.min(axis=1, keepdims=True) - _UNTRIED), places


def joined(trust: tuple[float, float], evidence: FloatArray, chances: FloatArray) -> FloatArray:
    """(n, c) chances of the classes by the network's chances and the evidence of the averages, weighted."""
    logits = trust[0] * np.log(np.maximum(chances, _LEAST_CHANCE)) + trust[1] * evidence
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def angle_deg(width_vx: float) -> float:
    """Between orientations of a particle: the shortest wave passes by at its rim."""
    return max(_FINEST_DEG, math.degrees(_SHORTEST_VX / width_vx))


class Boxes:
    """How subtomograms are read around places, for particles of widths (c,) in working voxels.

    edge_vx: of a box in working voxels. grid: its waves; a large box is binned. scale: working voxels in one of the
    grid's. variance: (shells + 1,) of the real and of the imaginary part of white noise of σ 1 in such a box.
    """

    def __init__(self, widths_vx: Sequence[float]) -> None:
        self.edge_vx = 2 * math.ceil(_BOX / 2 * max(widths_vx))
        self.grid = FourierGrid(min(self.edge_vx, _LARGEST_VX))
        self.scale = self.edge_vx / self.grid.box_vx
        self.last_shell = min(self.grid.shells, math.floor(self.grid.box_vx / _SHORTEST_VX))
        axis = np.arange(self.edge_vx)
        ramp = np.minimum(axis + 0.5, self.edge_vx - 0.5 - axis) / _TAPER_VX
        fade = torch.from_numpy(np.sin(np.pi / 2 * ramp.clip(max=1)) ** 2).float()
        self._window = fade[:, None, None] * fade[:, None] * fade
        self.variance = torch.full((self.grid.shells + 1,), float((self._window**2).sum() / 2 / self.scale**6))

    def noise_of(self, volume: Readable) -> Tensor:
        """(f,) factor that gives each wave of a box the power that white noise of σ 1 has; 0 where a tilt series
        measured nothing."""
        rng, grid = np.random.default_rng(0), self.grid
        room = np.maximum(np.array(volume.shape) - self.edge_vx, 0)
        middles = rng.integers(0, room + 1, (_PROBES, 3)) + self.edge_vx // 2
        power = (self._spectra(volume, middles).abs() ** 2).mean(dim=0)
        limit = _DARK * torch.stack([power[grid.shell == s].median() for s in range(grid.shells + 1)])[grid.shell]
        return torch.where(power > limit, (2 * self.variance[0] / power.clamp(min=1e-12)).sqrt(), 0)

    def read(self, volume: Readable, positions: FloatArray, factor: Tensor) -> Spectra:
        """Whitened spectra of boxes, the places (n, 3) of a volume in their middles to a fraction of a voxel."""
        middles = np.rint(positions).astype(int)
        off = torch.from_numpy((positions - middles) / self.scale).float()
        values = self._spectra(volume, middles) * self.grid.phases(off)
        return Spectra(values * factor, factor[None], torch.zeros(len(positions), dtype=torch.long))

    def _spectra(self, volume: Readable, middles: NDArray[np.intp]) -> Tensor:
        edge = self.edge_vx
        found = torch.empty(len(middles), len(self.grid.k), dtype=torch.complex64)
        for start in range(0, len(middles), _AT_ONCE):
            corners = (middles[start : start + _AT_ONCE] - edge // 2).tolist()
            boxes = [volume.read(Box((z, y, x), (z + edge, y + edge, x + edge))) for z, y, x in corners]
            found[start : start + _AT_ONCE] = self.grid.spectra(torch.from_numpy(np.stack(boxes)) * self._window)
        return found


def save_averages(averages: ClassAverages, folder: Path) -> None:
    """Into a model's folder, whole or not at all."""
    about = {f.name: json.dumps(getattr(averages, f.name)) for f in fields(averages) if f.name != "references"}
    with atomic_write(folder / FILE, overwrite=True) as path:
        save_file({"references": averages.references.contiguous()}, path, metadata=about)


def load_averages(folder: Path) -> ClassAverages | None:
    """Those of a model; None where there are none. Raises ModelError where they cannot be read."""
    if not (folder / FILE).is_file():
        return None
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            about: dict[str, Any] = {name: json.loads(text) for name, text in file.metadata().items()}
            about = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}
            return ClassAverages(file.get_tensor("references"), **about)
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / FILE} is damaged ({error}): remove it, or train again") from None
