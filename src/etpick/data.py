"""Tomograms as the network sees them, and the subtomograms it learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etpick.config import TrainingConfig
from etpick.engine import free_bytes, is_out_of_memory
from etpick.geometry import rescale, rescaled_shape
from etpick.ops.labels import label_diameters, render_labels
from etpick.ops.normalise import Normalisation, central_moments, measure
from etpick.ops.resample import apply_weights, axis_weights
from etpick.ops.warp import Warp, mirror_block, random_warp
from etpick.types import NEGATIVE, Box, FloatArray, ParticleClass, Particles, Shape3, Tomogram

NEARLY_EQUAL: Final = 0.05
_PROBE_VX: Final = 24
_UPLOAD_VX: Final = 2_000_000
_RESIDENT_SHARE: Final = 0.25  # of a card's free memory


class Readable(Protocol):
    """Something from which boxes of normalised voxels can be read."""

    @property
    def shape(self) -> Shape3:
        """Sizes along z, y, x in working voxels."""

    @property
    def density(self) -> float:
        """Voxels of the file that are read for one working voxel."""

    def read(self, box: Box) -> NDArray[np.float32]:
        """The voxels of a box, which may reach outside."""


@dataclass(frozen=True, eq=False)
class WorkingVolume:
    """A tomogram seen at the working spacing with normalised grey levels, box by box; no copy is made.

    `gain` gives back the variance that averaging takes away where the grid is coarsened.
    """

    tomogram: Tomogram
    spacing_A: float
    normalise: Normalisation
    gain: float = 1.0

    @property
    def source(self) -> Tomogram:
        """What is read: the tomogram, or a coarser copy that lies beside it in its file and is fine enough."""
        return self.tomogram.at(self.spacing_A)

    @property
    def scale(self) -> float:
        """Working voxels per voxel of the source; 1 where they differ by less than 5 %.

        Networks are trained with particles that much larger and smaller, and interpolating between nearly
        equal grids blurs in stripes.
        """
        scale = self.source.spacing_A / self.spacing_A
        return 1.0 if abs(scale - 1) < NEARLY_EQUAL else scale

    @property
    def file_scale(self) -> float:
        """Working voxels per voxel of the tomogram, in whose voxels positions are."""
        return self.scale * self.tomogram.spacing_A / self.source.spacing_A

    @property
    def density(self) -> float:
        """Voxels of the file that are read for one working voxel."""
        return self.scale**-3

    @property
    def shape(self) -> Shape3:
        """Sizes along z, y, x in working voxels."""
        return rescaled_shape(self.source.shape, self.scale)

    def read(self, box: Box) -> NDArray[np.float32]:
        """The voxels of a box; beyond the tomogram's edges it is reflected."""
        indices = [_reflected(np.arange(a, b), n) for a, b, n in zip(box.start, box.stop, self.shape, strict=True)]
        spans = [(int(i.min()), int(i.max()) + 1) for i in indices]
        block = self._inside(spans)
        for axis, (index, (first, stop)) in enumerate(zip(indices, spans, strict=True)):
            if len(index) != stop - first or index[0] != first:
                block = np.take(block, index - first, axis=axis)
        return block

    def _inside(self, spans: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        if self.scale == 1:
            z, y, x = (slice(a, b) for a, b in spans)
            return self.normalise(np.asarray(self.source.data[z, y, x]))
        axes = [axis_weights(a, b, self.scale, n) for (a, b), n in zip(spans, self.source.shape, strict=True)]
        z, y, x = (slice(first, first + weights.shape[1]) for first, weights in axes)
        block = self.normalise(np.asarray(self.source.data[z, y, x]))
        block = apply_weights(block, (axes[0][1], axes[1][1], axes[2][1]))
        return np.asarray(np.clip(block * np.float32(self.gain), -self.normalise.clip, self.normalise.clip))

    def to_working(self, positions: FloatArray) -> FloatArray:
        """Positions in the file's voxels → working voxels."""
        return rescale(positions, self.file_scale)

    def to_file(self, positions: FloatArray) -> FloatArray:
        """Positions in working voxels → the file's voxels."""
        return rescale(positions, 1 / self.file_scale)


def open_volume(tomogram: Tomogram, spacing_A: float, config: TrainingConfig) -> WorkingVolume:
    """Measure a tomogram's grey levels and see it at the working spacing. Raises InputError."""
    share = config.central_share
    seen = tomogram.at(spacing_A)
    normalise = measure(seen.data, tomogram.name, central_share=share, clip=config.clip_sigma)
    volume = WorkingVolume(tomogram, spacing_A, normalise)
    if volume.scale == 1:
        return volume
    corners = product(*(np.linspace(0, max(0, n - _PROBE_VX), 4).astype(int).tolist() for n in volume.shape))
    boxes = [Box((z, y, x), (z + _PROBE_VX, y + _PROBE_VX, x + _PROBE_VX)) for z, y, x in corners]
    _, sigma = central_moments(np.concatenate([volume.read(box).ravel() for box in boxes]), share)
    return replace(volume, gain=1 / sigma if sigma > 0 else 1.0)


def _reflected(index: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Indices folded back into 0 … size − 1, the edge voxel repeated."""
    index = index % (2 * size)
    return np.asarray(np.where(index < size, index, 2 * size - 1 - index), dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Resident:
    """A volume whose normalised voxels lie on a card: levels (z, y, x)."""

    levels: Tensor
    density: float

    @property
    def shape(self) -> Shape3:
        """Sizes along z, y, x in working voxels."""
        z, y, x = self.levels.shape
        return z, y, x

    def cubes(self, middles: NDArray[np.intp], edge: int) -> Tensor:
        """(n, e, e, e) voxels around some (n, 3), reflected like those of `read`."""
        index = middles[:, :, None] + np.arange(-(edge // 2), edge // 2)
        z, y, x = (
            torch.from_numpy(_reflected(index[:, axis], size)).to(self.levels.device)
            for axis, size in enumerate(self.shape)
        )
        return self.levels[z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]]

    def read(self, box: Box) -> Tensor:
        """The voxels of a box; beyond the volume's edges it is reflected."""
        block = self.levels
        for axis, (start, stop, size) in enumerate(zip(box.start, box.stop, self.shape, strict=True)):
            if start >= 0 and stop <= size:
                block = block.narrow(axis, start, stop - start)
            else:
                index = torch.from_numpy(_reflected(np.arange(start, stop), size)).to(block.device)
                block = block.index_select(axis, index)
        return block


Voxels = Readable | Resident
"""A volume, in its file or on a card."""


def resident(volume: Voxels, device: torch.device) -> Voxels:
    """The volume on a card, its slabs normalised and sent side by side; as it is where it is there already, where the
    card is too small, and for the processor."""
    if device.type == "cpu" or isinstance(volume, Resident):
        return volume
    if 4 * math.prod(volume.shape) > _RESIDENT_SHARE * free_bytes(device):
        return volume
    depth, height, width = volume.shape
    try:
        levels = torch.empty(volume.shape, device=device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return volume
    step = max(1, _UPLOAD_VX // (height * width))

    def send(start: int) -> None:
        stop = min(start + step, depth)
        levels[start:stop] = torch.as_tensor(volume.read(Box((start, 0, 0), (stop, height, width))))

    with ThreadPoolExecutor() as pool:
        list(pool.map(send, range(0, depth, step)))
    return Resident(levels, volume.density)


@dataclass(frozen=True, eq=False)
class Window:
    """A box of a volume, with the volume's own voxels around it as context."""

    volume: WorkingVolume
    box: Box

    @property
    def shape(self) -> Shape3:
        """Sizes along z, y, x in working voxels."""
        return self.box.shape

    @property
    def density(self) -> float:
        """Voxels of the file that are read for one working voxel."""
        return self.volume.density

    def read(self, box: Box) -> NDArray[np.float32]:
        """The voxels of a box given relative to the window's corner."""
        start, stop = np.add(box.start, self.box.start), np.add(box.stop, self.box.start)
        return self.volume.read(Box((*start.tolist(),), (*stop.tolist(),)))


@dataclass(frozen=True, eq=False)
class Source:
    """One tomogram to learn from: centres in working voxels, class numbers from 1, and what is held out.

    `positions` and `labels` are what people marked, `negatives` the places that they marked as no particle. With
    partial labels the network names places that may be particles (`doubtful`), which are not learnt from.
    """

    volume: WorkingVolume
    positions: FloatArray
    labels: NDArray[np.intp]
    held_out: Box | None = None
    negatives: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    doubtful: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    doubtful_labels: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))


def make_source(
    volume: WorkingVolume, particles: Particles, classes: Sequence[ParticleClass], held_out: Box | None = None
) -> Source:
    """A source from the particles of a tomogram; those in the held-out box are not learnt."""
    number = {c.name: i for i, c in enumerate(classes, start=1)} | {NEGATIVE: 0}
    positions = volume.to_working(particles.positions)
    labels = np.array([number[str(name)] for name in particles.classes], dtype=np.intp)
    learn = np.ones(len(positions), bool) if held_out is None else ~held_out.contains(positions)
    real = learn & (labels > 0)
    return Source(volume, positions[real], labels[real], held_out, positions[learn & (labels == 0)])


def label_widths(config: TrainingConfig, diameters_vx: FloatArray, stride: int) -> FloatArray:
    """Label diameters in working voxels, for a network of that stride."""
    most = None if config.label_proportional else config.label_diameter_vx
    return label_diameters(diameters_vx, fraction=config.label_fraction, most_vx=most, stride=stride)


@dataclass(frozen=True, eq=False)
class Patch:
    """A subtomogram before it is warped, with its labels as they will be after.

    block: (b, b, b) source voxels. labels: (o, o, o) at the network's output resolution. weights: the same
    shape, 0 where nothing is known (outside the tomogram, held out). `source` and `place` tell where it
    was cut; `contrast` and `noise` how its grey levels are varied.
    """

    block: NDArray[np.float32]
    warp: Warp
    labels: NDArray[np.uint8]
    weights: NDArray[np.float32]
    source: int
    place: FloatArray
    contrast: float
    noise: float


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws training subtomograms. The draw of a step depends on the seed and the step alone.

    Places are labelled particles (each class in turn, each particle of a class once before any comes
    again), random background, and `hard` places, (n, 4) rows of source number and position, where the
    network took background for a particle.
    """

    sources: Sequence[Source]
    diameters_vx: FloatArray
    config: TrainingConfig
    stride: int
    hard: FloatArray
    size: tuple[int, int]

    @cached_property
    def label_vx(self) -> FloatArray:
        """Label diameter of each class in working voxels."""
        return label_widths(self.config, self.diameters_vx, self.stride)

    def batch(self, step: int) -> list[Patch]:
        """The subtomograms of one step."""
        count = self.size[1]
        return [self._patch(step * count + i) for i in range(count)]

    def _patch(self, draw: int) -> Patch:
        c, a = self.config, self.config.augmentation
        rng = np.random.default_rng((c.seed, 1, draw))
        source, place = self._place(rng, draw)
        warp = random_warp(
            rng, self.size[0], mirror=a.mirror, warp=rng.random() < a.warp_share,
            rotation_deg=a.rotation_deg, scale=a.scale, elastic=a.elastic,
        )  # fmt: skip
        labels, weights = self._labels(self.sources[source], place, warp)
        return Patch(
            self._block(self.sources[source], place, warp), warp, labels, weights, source, place,
            contrast=1 + rng.uniform(-a.contrast, a.contrast), noise=rng.uniform(0, a.noise),
        )  # fmt: skip

    def _place(self, rng: np.random.Generator, draw: int) -> tuple[int, FloatArray]:
        """Source number and the point in working voxels around which to cut, at half voxels."""
        kind = rng.random()
        size = self.size[0]
        if kind < self.config.background_share:
            weights = np.array([np.prod(s.volume.shape) for s in self.sources], dtype=float)
            source = int(rng.choice(len(self.sources), p=weights / weights.sum()))
            point = rng.uniform(0, self.sources[source].volume.shape)
        elif kind < self.config.background_share + self.config.hard_share and len(self.hard):
            row = self.hard[rng.integers(len(self.hard))]
            source, point = int(row[0]), row[1:] + rng.uniform(-size / 4, size / 4, 3)
        else:
            source, index = self._particle(draw)
            reach = size / 2 - self.diameters_vx[self.sources[source].labels[index] - 1] / 2
            point = self.sources[source].positions[index] + rng.uniform(-1, 1, 3) * max(reach, size / 8)
        return source, np.floor(point) + 0.5

    def _particle(self, draw: int) -> tuple[int, int]:
        """Every class once per cycle, every particle of a class once before any comes again."""
        owners = self._owners
        cycle, turn = divmod(draw, len(owners))
        which = np.random.default_rng((self.config.seed, 2, cycle)).permutation(len(owners))[turn]
        members = owners[which]
        lap, item = divmod(cycle, len(members))
        order = np.random.default_rng((self.config.seed, 3, int(which), lap)).permutation(len(members))
        source, _, index = self._all_labels[members[order[item]]]
        return int(source), int(index)

    @cached_property
    def _all_labels(self) -> NDArray[np.intp]:
        """(n, 3): source number, class, index within the source."""
        return np.concatenate([
            np.column_stack([np.full(len(s.labels), i), s.labels, np.arange(len(s.labels))])
            for i, s in enumerate(self.sources)
        ])  # fmt: skip

    @cached_property
    def _owners(self) -> list[NDArray[np.intp]]:
        """For each class present, the rows of its labels."""
        numbers = self._all_labels[:, 1]
        return [np.flatnonzero(numbers == c) for c in np.unique(numbers)]

    def _block(self, source: Source, place: FloatArray, warp: Warp) -> NDArray[np.float32]:
        half = self.size[0] // 2 if warp.moves_voxels_only else warp.reach
        corner = (place + 0.5).astype(int)
        block = source.volume.read(Box((*(corner - half).tolist(),), (*(corner + half).tolist(),)))
        return mirror_block(block, warp) if warp.moves_voxels_only else block

    def _labels(self, source: Source, place: FloatArray, warp: Warp) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        labels = self._paint(source.positions, source.labels, place, warp)
        weights = self._weights(source, place, warp, labels.shape)
        if len(source.doubtful):
            doubtful = self._paint(source.doubtful, source.doubtful_labels, place, warp) > 0
            weights = np.where(doubtful & (labels == 0), np.float32(0), weights)
        return labels, weights

    def _paint(
        self, positions: FloatArray, numbers: NDArray[np.intp], place: FloatArray, warp: Warp
    ) -> NDArray[np.uint8]:
        near = (np.abs(positions - place) < warp.reach + self.label_vx.max()).all(axis=1)
        centres = warp.to_target(positions[near] - place)
        edge = self.size[0] // self.stride
        return render_labels(
            centres, numbers[near], self.label_vx[numbers[near] - 1], (edge, edge, edge),
            kind=self.config.label_shape, stride=self.stride,
        )  # fmt: skip

    def _weights(self, source: Source, place: FloatArray, warp: Warp, shape: tuple[int, ...]) -> NDArray[np.float32]:
        known = Box((0, 0, 0), source.volume.shape)
        low, high = place - warp.reach, place + warp.reach
        inside = bool((low >= known.start).all() and (high <= np.array(known.stop) - 1).all())
        held = source.held_out
        if inside and (held is None or (high < held.start).any() or (low > held.stop).any()):
            return np.ones(shape, np.float32)
        origins = warp.source_grid(self.stride).reshape(3, -1).T + place
        weights = known.contains(origins)
        if held is not None:
            weights &= ~held.contains(origins)
        return weights.reshape(shape).astype(np.float32)
