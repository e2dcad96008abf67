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
from dataclasses import asdict, dataclass, field, fields
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
_AT_ONCE_VX: Final = 2**22  # of boxes
_PICKS_AT_ONCE: Final = 1000
_PROBES: Final = 200  # boxes at random places by which a tomogram's noise is measured
_DARK: Final = (
    0.15  # of the power of the strong quarter of its shell: a wave with less was not measured, as in the missing wedge
)
_REACH_VX: Final = 2.0  # of a pick from its particle, in voxels of the grid …
_REACH: Final = 1 / 3  # … and in diameters
_FINEST_DEG: Final = 20.0  # between orientations
_UNLIKELY: Final = 0.02  # chance by the network below which a class is not tried
_UNTRIED: Final = 10.0  # evidence that such a class has less than any that is tried
_LEAST_CHANCE: Final = 1e-6


@dataclass(frozen=True)
class Trust:
    """Weights of the logarithm of the network's chances and of the averages' evidence, and what is added for each class
    (c,), since one average may be worse than another; nothing is where it is empty."""

    network: float = 1.0
    evidence: float = 0.0
    offsets: tuple[float, ...] = ()

    def __call__(self, evidence: FloatArray, chances: FloatArray) -> FloatArray:
        """(n, c) chances of the classes by both."""
        logits = self.network * np.log(np.maximum(chances, _LEAST_CHANCE)) + self.evidence * evidence
        logits += np.array(self.offsets) if self.offsets else 0.0
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class ClassAverages:
    """What the labelled particles of each class look like.

    references: (c, b, b, b) on the grid of `Boxes`. widths_vx: (c,) diameters in working voxels. trust: how the
    network's chances and the averages' evidence are joined. moves: whether picks go to the place that the averages
    give. right: shares of the particles of validation whose class is told right, by the network alone and by both.
    distance_vx: the same for their mean distance from the centre; particles: how many there were.
    """

    references: Tensor
    widths_vx: tuple[float, ...]
    trust: Trust = field(default_factory=Trust)
    moves: bool = False
    right: tuple[float, float] = (0.0, 0.0)
    distance_vx: tuple[float, float] = (0.0, 0.0)
    particles: int = 0

    @property
    def used(self) -> bool:
        """Whether a second look changes anything: averages that tell nothing are not asked."""
        return self.moves or self.trust.evidence > 0

    def line(self) -> str:
        """What `etpick info` prints."""
        if not self.used:
            return f"averages of the classes: not used, they tell no more than the network ({self._on()})"
        told = "right class {:.0%} instead of {:.0%}".format(*self.right[::-1])
        place = "distance {:.2f} instead of {:.2f} voxels".format(*self.distance_vx[::-1])
        parts = [told] * (self.trust.evidence > 0) + [place] * self.moves
        return f"averages of the classes: a second look at picks gives {' and '.join(parts)} ({self._on()})"

    def _on(self) -> str:
        return f"on {self.particles} particles of validation"

    def look(self, volume: Readable, positions: FloatArray, chances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Places (n, 3) in working voxels and class chances (n, c) of picks, from those by the network."""
        evidence, places = self.weigh(volume, positions, chances)
        told = self.trust(evidence, chances)
        return (places[np.arange(len(places)), told.argmax(axis=1)] if self.moves else positions), told

    def weigh(self, volume: Readable, positions: FloatArray, chances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, c) evidence for each class at each place, a natural logarithm, and (n, c, 3) the place it speaks of.

        Classes that the network holds for unlikely are not tried and have less evidence than any that is.
        """
        boxes = Boxes(self.widths_vx)
        factor = boxes.noise_of(volume)
        parts = [
            self._weigh(boxes, boxes.read(volume, positions[part], factor), chances[part])
            for part in np.split(np.arange(len(positions)), range(_PICKS_AT_ONCE, len(positions), _PICKS_AT_ONCE))
        ]
        evidence, moved = (np.concatenate(column) for column in zip(*parts, strict=True))
        return evidence, positions[:, None] + moved

    def _weigh(self, boxes: Boxes, seen: Spectra, chances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The same for some picks, the places relative to theirs."""
        share = chances / np.maximum(chances.sum(axis=1, keepdims=True), _LEAST_CHANCE)
        tried = share >= np.minimum(_UNLIKELY, share.max(axis=1, keepdims=True))
        evidence = np.full(chances.shape, np.inf)
        moved = np.zeros((*chances.shape, 3))
        for number, (reference, width_vx) in enumerate(zip(self.references, self.widths_vx, strict=True)):
            rows = np.flatnonzero(tried[:, number])
            if not len(rows):
                continue
            width = width_vx / boxes.scale
            rotations = evenly_spaced(angle_deg(width), np.random.default_rng(0))
            shifts = lattice(min(_REACH_VX, _REACH * width), 1.0)
            found, off = weigh(
                seen.select(torch.from_numpy(rows)), boxes.grid, reference, boxes.variance, torch.zeros(len(rows), 3),
                rotations, shifts, boxes.last_shell,
            )  # fmt: skip
            evidence[rows, number] = found.numpy()
            moved[rows, number] = off.numpy() * boxes.scale
        return np.where(tried, evidence, evidence.min(axis=1, keepdims=True) - _UNTRIED), moved


def angle_deg(width_vx: float) -> float:
    """Between orientations: the rim moves by the shortest wave; of wide particles, which are plain to see, by more."""
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
        strong = torch.stack([power[grid.shell == s].quantile(0.75) for s in range(1, grid.shells + 1)])
        limit = _DARK * strong[grid.shell - 1]
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
        at_once = max(1, _AT_ONCE_VX // edge**3)
        for start in range(0, len(middles), at_once):
            corners = (middles[start : start + at_once] - edge // 2).tolist()
            boxes = [volume.read(Box((z, y, x), (z + edge, y + edge, x + edge))) for z, y, x in corners]
            found[start : start + at_once] = self.grid.spectra(torch.from_numpy(np.stack(boxes)) * self._window)
        return found


def save_averages(averages: ClassAverages, folder: Path) -> None:
    """Into a model's folder, whole or not at all."""
    about = {f.name: getattr(averages, f.name) for f in fields(averages) if f.name != "references"}
    about = {name: json.dumps(asdict(value) if name == "trust" else value) for name, value in about.items()}
    with atomic_write(folder / FILE, overwrite=True) as path:
        save_file({"references": averages.references.contiguous()}, path, metadata=about)


def load_averages(folder: Path) -> ClassAverages | None:
    """Those of a model; None where there are none. Raises ModelError where they cannot be read."""
    if not (folder / FILE).is_file():
        return None
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            about = {name: _tupled(json.loads(text)) for name, text in (file.metadata() or {}).items()}
            trust = Trust(**{name: _tupled(value) for name, value in about.pop("trust").items()})
            return ClassAverages(file.get_tensor("references"), trust=trust, **about)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / FILE} is damaged ({error}): remove it, or train again") from None


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
