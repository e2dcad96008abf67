"""From a tomogram to candidates: plan → predict → find. Rows of tiles stream through; nothing is kept whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etpick.config import PAPER_HALO_VX, POOLING_KERNEL, SEGMENTATION_THRESHOLD, PickingConfig
from etpick.data import Readable, Voxels, resident
from etpick.engine import Engine, free_bytes, is_out_of_memory, keeping_memory
from etpick.errors import EtpickError, InputError
from etpick.ops.peaks import (
    local_maxima,
    mean_pool,
    one_of_each_plateau,
    pooling_iterations,
    refine,
    sample_mean,
)
from etpick.tiles import COARSEST_VX, Plan, plan_tiles, thriftiest_tile
from etpick.types import FloatArray, Shape3

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]

MEMORY_SHARE: Final = 0.25  # of the free memory
MEMORY_LIMIT: Final = 1_500_000_000  # larger tiles gain nothing on a processor
CARD_LIMIT: Final = 40_000_000_000  # convolutions count elements in 32 bits
_CLASS_REACH: Final = 2  # class chances are averaged over 5×5×5 output voxels around a centre


@dataclass(frozen=True, eq=False)
class Scores:
    """Score maps of a slab of z at the network's output resolution.

    start: first output slice. foreground: (z, y, x) chance of any particle, 1 − P(background). classes:
    (c, z, y, x) float16, the chance of each class.
    """

    start: int
    foreground: Tensor
    classes: Tensor

    @property
    def stop(self) -> int:
        """One past the last output slice."""
        return self.start + len(self.foreground)

    def __add__(self, below: Scores) -> Scores:
        """This slab with the next one appended."""
        return Scores(
            self.start,
            torch.cat([self.foreground, below.foreground]),
            torch.cat([self.classes, below.classes], dim=1),
        )

    def tail(self, start: int) -> Scores:
        """The slab from an output slice on."""
        cut = max(0, start - self.start)
        return Scores(self.start + cut, self.foreground[cut:], self.classes[:, cut:])


OnScores = Callable[[Scores], None]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Local maxima of the smoothed score map: positions (n, 3) in working voxels, raw scores (n,) in 0–1,
    class chances (n, c); after a second look with the evidence (n,) of their class's average."""

    positions: FloatArray
    raw: FloatArray
    classes: FloatArray
    evidence: FloatArray | None = None

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Candidates:
        """Those at an index or mask."""
        evidence = None if self.evidence is None else self.evidence[index]
        return Candidates(self.positions[index], self.raw[index], self.classes[index], evidence)


def join(parts: Sequence[Candidates]) -> Candidates:
    """All of them, one part after the other; with evidence where every part has it."""
    evidence = [c.evidence for c in parts if c.evidence is not None]
    return Candidates(
        np.concatenate([c.positions for c in parts]),
        np.concatenate([c.raw for c in parts]),
        np.concatenate([c.classes for c in parts]),
        np.concatenate(evidence) if len(evidence) == len(parts) else None,
    )


@dataclass(frozen=True)
class PeakFinder:
    """MP-NMS for labels of one diameter, in working voxels, on maps of a network's stride."""

    label_vx: float
    stride: int
    floor: float
    binary: bool = False
    kernel: int = POOLING_KERNEL

    @property
    def iterations(self) -> int:
        """Mean poolings at output resolution."""
        return pooling_iterations((self.label_vx - 1) / self.stride + 1, self.kernel)

    @property
    def context(self) -> int:
        """Output slices beyond a slab that decide on maxima in it."""
        return self.iterations * (self.kernel - 1) // 2 + 2

    def __call__(self, scores: Scores, first: int, last: int) -> Candidates:
        """Candidates whose maximum lies in output slices [first, last) of the volume."""
        raw = scores.foreground
        if self.binary:
            raw = (raw > SEGMENTATION_THRESHOLD).float()
        smooth = mean_pool(raw, self.kernel, self.iterations)
        maxima = local_maxima(smooth, self.floor)
        z = maxima[:, 0] + scores.start
        maxima = one_of_each_plateau(maxima[(z >= first) & (z < last)])
        positions = refine(smooth, maxima)
        positions[:, 0] += scores.start
        positions = positions * self.stride + (self.stride - 1) / 2
        chances = sample_mean(scores.classes, maxima, _CLASS_REACH)
        heights = smooth[maxima.unbind(1)].double()
        return Candidates(*(values.numpy(force=True) for values in (positions, heights, chances)))


def choose_tile(volume: Voxels, engine: Engine, config: PickingConfig) -> Shape3:
    """The tile to use: the network's own size, the one asked for, or the largest that memory allows.

    A row of tiles leaves a slab of score maps, so the slab's share of memory limits the tile's depth.
    Raises InputError where a size was asked for that the network does not take.
    """
    if engine.tile_size is not None and config.tile_vx not in (None, engine.tile_size):
        raise InputError(f"this network picks in tiles of {engine.tile_size} voxels, not {config.tile_vx}")
    size = engine.tile_size or config.tile_vx
    if size:
        return size, size, size
    limit = CARD_LIMIT if engine.device.type == "cuda" else MEMORY_LIMIT
    free = min(free_bytes(engine.device) * MEMORY_SHARE, limit)
    _, height, width = volume.shape
    plane = height * width / engine.stride**3 * 2 * (4 + 2 * engine.classes)  # twice: slabs are joined
    voxels = int(free / (engine.voxel_bytes + 8 * volume.density))
    return thriftiest_tile(volume.shape, config.halo_vx, voxels, int(limit / plane))


def predict(volume: Voxels, engine: Engine, plan: Plan, on_progress: Progress | None = None) -> Iterator[Scores]:
    """Score maps, one slab for each row of tiles in z, in order; on the engine's device, as is what they come from."""
    stride, done = engine.stride, 0
    source = resident(volume, engine.device)
    _, height, width = (-(-n // stride) for n in plan.shape)
    for row in plan.rows:
        z0, z1 = row[0].keep.start[0] // stride, -(-row[0].keep.stop[0] // stride)
        slab: Scores | None = None
        for tile in row:
            foreground, classes = engine(torch.as_tensor(source.read(tile.read)))
            if slab is None:
                depth = z1 - z0
                slab = Scores(
                    z0,
                    foreground.new_empty((depth, height, width)),
                    classes.new_empty((len(classes), depth, height, width)),
                )
            at = tuple(
                slice(a // stride, -(-b // stride)) for a, b in zip(tile.keep.start, tile.keep.stop, strict=True)
            )[1:]
            cut = tuple(
                slice((a - r) // stride, -(-(b - r) // stride))
                for a, b, r in zip(tile.keep.start, tile.keep.stop, tile.read.start, strict=True)
            )
            slab.foreground[:, *at] = foreground[cut]
            slab.classes[:, :, *at] = classes[:, *cut]
            done += 1
            if on_progress:
                on_progress(done, len(plan))
        assert slab is not None  # a row has tiles
        yield slab


def find(slabs: Iterable[Scores], depth: int, finder: PeakFinder) -> Candidates:
    """Candidates of a whole volume, `depth` output slices deep, from its slabs in order."""
    buffer: Scores | None = None
    done, found = 0, []
    for slab in slabs:
        buffer = slab if buffer is None else buffer + slab
        ready = depth if buffer.stop == depth else buffer.stop - finder.context
        if ready > done:
            found.append(finder(buffer, done, ready))
            buffer, done = buffer.tail(ready - finder.context), ready
    return join(found)


def search(
    volume: Voxels,
    engine: Engine,
    finder: PeakFinder,
    config: PickingConfig,
    on_progress: Progress | None = None,
    on_scores: OnScores | None = None,
) -> Candidates:
    """Plan, predict and find; out of memory, try again with smaller tiles, and say so.

    `on_scores` sees each slab on its way, those before an end of memory twice.
    """
    tile = choose_tile(volume, engine, config)
    while True:
        try:
            slabs = predict(volume, engine, plan_for(volume.shape, engine, config, tile), on_progress)
            slabs = slabs if on_scores is None else _shown(slabs, on_scores)
            with keeping_memory():
                return find(slabs, -(-volume.shape[0] // engine.stride), finder)
        except (MemoryError, RuntimeError) as error:
            smaller = _smaller(tile, config.halo_vx)
            if not is_out_of_memory(error):
                raise
            if engine.tile_size is not None or smaller == tile:
                raise EtpickError(
                    f"out of memory on {engine.device} even with tiles of {max(tile)} voxels: free some, or use "
                    "another device"
                ) from None
            logger.warning("out of memory with tiles of %s voxels; going on with %s", tile, smaller)
            tile = smaller


def _shown(slabs: Iterable[Scores], on_scores: OnScores) -> Iterator[Scores]:
    for slab in slabs:
        on_scores(slab)
        yield slab


def plan_for(shape: Shape3, engine: Engine, config: PickingConfig, tile: Shape3) -> Plan:
    """The tiles of a volume; a network that knows its tile's size has a say in size and halo."""
    if engine.tile_size is not None:
        return plan_tiles(shape, tile, min(config.halo_vx, PAPER_HALO_VX), exact=True)
    return plan_tiles(shape, tile, config.halo_vx)


def search_seconds(volumes: Iterable[Readable], engine: Engine, config: PickingConfig) -> float:
    """An estimate for searching volumes, from the speed on one tile; finding peaks adds a tenth."""
    edge = engine.tile_size or 64
    image = torch.zeros(edge, edge, edge)
    float(engine(image)[0][0, 0, 0])  # a card answers when it is done
    before = time.monotonic()
    float(engine(image)[0][0, 0, 0])
    each = (time.monotonic() - before) / edge**3
    tiles = [(v.shape, choose_tile(v, engine, config)) for v in volumes]
    return 1.1 * each * sum(plan_for(shape, engine, config, tile).voxels_read for shape, tile in tiles)


def _smaller(tile: Shape3, halo: int) -> Shape3:
    least = 2 * halo + COARSEST_VX
    z, y, x = (max(least, n // 2 // COARSEST_VX * COARSEST_VX) if n == max(tile) else n for n in tile)
    return z, y, x
