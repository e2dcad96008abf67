"""A second look at candidates: averages of the labelled particles of each class say what each is, and where it lies.

A network learns a class from as many views as there are labels. Averaged, the labels give the particle itself, and
with it every view: how much likelier than noise alone is it to be each class, over all orientations and small shifts?
That evidence is the likelihood of `etpick.averaging.expectation`; weights that validation chose join it with what the
network says: with its chances of the classes, and with its score. `etpick.averaging_labels` makes the averages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
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
from etpick.averaging.grid import FourierGrid
from etpick.averaging.rotations import evenly_spaced
from etpick.data import Readable
from etpick.decision import Decision
from etpick.errors import ModelError
from etpick.inference import Candidates
from etpick.io.atomic import atomic_write
from etpick.ops.calibrate import Calibration
from etpick.types import Box, FloatArray

FILE: Final = "averages.safetensors"
_BOX: Final = 1.6  # edge of a box in diameters of the particle …
_ROOM_VX: Final = 10.0  # … and how much wider than it a box is at least: for shifts, and to fade
_LARGEST_VX: Final = 32  # larger boxes are binned to it
_TAPER_VX: Final = 4  # over which boxes fade at their faces
_SHORTEST_VX: Final = 3.5  # wave, in voxels of the grid; finer ones tell classes apart no better
_AT_ONCE_VX: Final = 2**22  # of boxes
_CANDIDATES_AT_ONCE: Final = 5000
_PROBES: Final = 200  # boxes at random places by which a tomogram's noise is measured
_DARK: Final = 0.15  # of the power of its shell's strong quarter: a wave with less was not measured (missing wedge)
_REACH_VX: Final = 2.0  # of a pick from its particle, in voxels of the grid …
_REACH: Final = 1 / 3  # … and in diameters
_FINEST_DEG: Final = 20.0  # between orientations
_UNLIKELY: Final = 0.02  # chance by the network below which a class is not tried
_RULED_OUT: Final = 0.01  # score by the network below which a candidate is not looked at …
_AS_MANY: Final = 3  # … unless it is among so many times as many as there are picks
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

    references: (b, b, b) for each of c classes, on the grid of its `Boxes`. widths_vx: (c,) diameters in working
    voxels. spread_vx: σ of the network's places about particles, along an axis. trust: how the network's chances and
    the averages' evidence are joined. moves: whether picks go to the place that the averages give. calibration and
    thresholds (c,): of scores that take the evidence into account; None and none where it has no say in them.

    right: shares of the particles of validation whose class is told right, by the network alone and by both.
    distance_vx, f1: the same for their mean distance from the centre, and for localisation, each fitted to the
    candidates looked at; particles: how many there were.
    """

    references: tuple[Tensor, ...]
    widths_vx: tuple[float, ...]
    spread_vx: float = math.inf
    trust: Trust = field(default_factory=Trust)
    moves: bool = False
    calibration: Calibration | None = None
    thresholds: tuple[float, ...] = ()
    right: tuple[float, float] = (0.0, 0.0)
    distance_vx: tuple[float, float] = (0.0, 0.0)
    f1: tuple[float, float] = (0.0, 0.0)
    particles: int = 0

    @property
    def used(self) -> bool:
        """Whether a second look changes anything: averages that tell nothing are not asked."""
        return self.moves or self.trust.evidence > 0 or self.calibration is not None

    def line(self) -> str:
        """What `etpick info` prints."""
        return f"averages of the classes: {self.gain()}"

    def gain(self) -> str:
        """What they are good for."""
        if not self.used:
            return f"not used, they tell no more than the network ({self._on()})"
        told = "right class {:.0%} instead of {:.0%}".format(*self.right[::-1])
        place = "distance {:.2f} instead of {:.2f} voxels".format(*self.distance_vx[::-1])
        found = "localisation F1 {:.3f} instead of {:.3f}".format(*self.f1[::-1])
        parts = [told] * (self.trust.evidence > 0) + [place] * self.moves + [found] * (self.calibration is not None)
        return f"a second look at candidates gives {', '.join(parts)} ({self._on()})"

    def _on(self) -> str:
        return f"on {self.particles} particles of validation"

    def worth_a_look(self, candidates: Candidates, decision: Decision) -> NDArray[np.bool_]:
        """(n,) which candidates, of one for each particle, to look at: the picks of a decision by the network, and
        where the evidence has a say in scores all that are no hopeless cases."""
        if self.calibration is None:
            return decision.reached(decision.named(candidates))
        return are_no_hopeless_cases(candidates, decision)

    def look(self, volume: Readable, candidates: Candidates) -> Candidates:
        """The candidates with the class chances, the places and the evidence that the averages give them."""
        return self.seen(candidates, *self.weigh(volume, candidates))

    def seen(self, candidates: Candidates, evidence: FloatArray, places: FloatArray) -> Candidates:
        """The same from what `weigh` gave."""
        told, rows = self.trust(evidence, candidates.classes), np.arange(len(places))
        best = told.argmax(axis=1)
        positions = places[rows, best] if self.moves else candidates.positions
        return Candidates(positions, candidates.raw, told, evidence[rows, best])

    def weigh(self, volume: Readable, candidates: Candidates) -> tuple[FloatArray, FloatArray]:
        """(n, c) evidence for each class at each place, a natural logarithm, and (n, c, 3) the place it speaks of.

        Classes that the network holds for unlikely are not tried and have less evidence than any that is.
        """
        positions, chances = candidates.positions, candidates.classes
        share = chances / np.maximum(chances.sum(axis=1, keepdims=True), _LEAST_CHANCE)
        tried = share >= np.minimum(_UNLIKELY, share.max(axis=1, keepdims=True))
        evidence = np.full(chances.shape, np.inf)
        places = np.repeat(positions[:, None], chances.shape[1], axis=1)
        boxes = boxes_of(self.widths_vx)
        factors = {b.edge_vx: factor[: b.waves] for b, factor in noise_of(volume, boxes)}
        for start in range(0, len(positions), _CANDIDATES_AT_ONCE):
            part = slice(start, start + _CANDIDATES_AT_ONCE)
            for kind, values, rows in read_boxes(volume, positions[part], boxes, factors, tried[part]):
                for number, own in enumerate(tried[part][rows].T):
                    if boxes[number] is kind and own.any():
                        seen = kind.spectra(values[torch.from_numpy(own)], factors[kind.edge_vx])
                        found, off = self._weigh(number, kind, seen)
                        evidence[start + rows[own], number] = found
                        places[start + rows[own], number] += off
        return np.where(tried, evidence, evidence.min(axis=1, keepdims=True) - _UNTRIED), places

    def _weigh(self, number: int, boxes: Boxes, seen: Spectra) -> tuple[FloatArray, FloatArray]:
        """(n,) evidence for one class, and (n, 3) by how much each pick is off its place, in working voxels."""
        width, reference = self.widths_vx[number] / boxes.scale, self.references[number]
        rotations = evenly_spaced(angle_deg(width), np.random.default_rng(0))
        reach, spread = min(_REACH_VX, _REACH * width), self.spread_vx / boxes.scale
        found, off = weigh(seen, boxes.grid, reference, boxes.variance, rotations, reach, spread, boxes.last_shell)
        return found.double().numpy(), off.double().numpy() * boxes.scale


def are_no_hopeless_cases(candidates: Candidates, decision: Decision) -> NDArray[np.bool_]:
    """(n,) which candidates, of one for each particle, the network does not rule out, and the best of the others up to
    some times as many as its picks."""
    scores = decision.scores(candidates)
    count = int(decision.reached(decision.named(candidates)).sum())
    return (scores >= _RULED_OUT) | (np.argsort(np.argsort(-scores, kind="stable")) < _AS_MANY * count)


def angle_deg(width_vx: float) -> float:
    """Between orientations: the rim moves by the shortest wave; of wide particles, which are plain to see, by more."""
    return max(_FINEST_DEG, math.degrees(_SHORTEST_VX / width_vx))


class Boxes:
    """How subtomograms are read around places, for particles of a width in working voxels.

    edge_vx: of a box in working voxels. grid: its waves; a large box is binned. scale: working voxels in one of the
    grid's. waves: how many of the grid's tell classes apart, those up to last_shell. variance: (shells + 1,) of the
    real and of the imaginary part of white noise of σ 1 in such a box.
    """

    def __init__(self, width_vx: float) -> None:
        self.edge_vx = 2 * math.ceil(max(_BOX * width_vx, width_vx + _ROOM_VX) / 2)
        self.grid = FourierGrid(min(self.edge_vx, _LARGEST_VX))
        self.scale = self.edge_vx / self.grid.box_vx
        self.last_shell = min(self.grid.shells, math.floor(self.grid.box_vx / _SHORTEST_VX))
        self.waves = self.grid.up_to(self.last_shell)
        axis = np.arange(self.edge_vx)
        ramp = np.minimum(axis + 0.5, self.edge_vx - 0.5 - axis) / _TAPER_VX
        fade = torch.from_numpy(np.sin(np.pi / 2 * ramp.clip(max=1)) ** 2).float()
        self._window = fade[:, None, None] * fade[:, None] * fade
        self.variance = torch.full((self.grid.shells + 1,), self.edge_vx**3 / 2 / self.scale**6)
        self.kept = float((self._window**2).mean())

    def read(self, volume: Readable, positions: FloatArray, factor: Tensor) -> Spectra:
        """Whitened spectra of boxes, the places (n, 3) of a volume in their middles to a fraction of a voxel."""
        [(_, values, _)] = read_boxes(
            volume, positions, [self], {self.edge_vx: factor}, np.ones((len(positions), 1), bool)
        )
        return self.spectra(values, factor)

    def spectra(self, values: Tensor, factor: Tensor) -> Spectra:
        """Whitened spectra, with the factor that whitened them."""
        return Spectra(values, factor[None], torch.zeros(len(values), dtype=torch.long), self.kept)

    def transformed(self, blocks: Tensor, off_vx: FloatArray, factor: Tensor) -> Tensor:
        """(n, e, e, e) voxels, in whose middles but for (n, 3) working voxels particles lie → (n, f′) their spectra,
        as many waves as the factor has, times it."""
        off = torch.from_numpy(off_vx / self.scale).float()
        values = self.grid.spectra(blocks * self._window, len(factor))
        return values * (self.grid.phases(off, len(factor)) * factor)

    def evening(self, power: Tensor) -> Tensor:
        """(f,) factor that gives each wave the power that white noise of σ 1 has; 0 where a tilt series measured
        nothing. power: (f,) of boxes at random places."""
        grid = self.grid
        strong = torch.stack([power[grid.shell == s].quantile(0.75) for s in range(1, grid.shells + 1)])
        limit = _DARK * strong[grid.shell - 1]
        return torch.where(power > limit, (2 * self.kept * self.variance[0] / power.clamp(min=1e-12)).sqrt(), 0)


def boxes_of(widths_vx: Sequence[float]) -> list[Boxes]:
    """Of each class, the same for those that have boxes of one size."""
    kinds: dict[int, Boxes] = {}
    return [kinds.setdefault(b.edge_vx, b) for b in map(Boxes, widths_vx)]


def noise_of(volume: Readable, boxes: Sequence[Boxes]) -> list[tuple[Boxes, Tensor]]:
    """Each kind of boxes, and the factor (f,) that evens a tomogram's noise in them, measured at random places."""
    rng, largest = np.random.default_rng(0), max(b.edge_vx for b in boxes)
    room = np.maximum(np.array(volume.shape) - largest, 0)
    middles = rng.integers(0, room + 1, (_PROBES, 3)) + largest // 2
    plain = {b.edge_vx: torch.ones(len(b.grid.k)) for b in boxes}
    everywhere = np.ones((_PROBES, len(boxes)), bool)
    read = read_boxes(volume, middles.astype(float), boxes, plain, everywhere)
    return [(b, b.evening((values.abs() ** 2).mean(dim=0))) for b, values, _ in read]


def read_boxes(
    volume: Readable, positions: FloatArray, boxes: Sequence[Boxes], factors: Mapping[int, Tensor],
    wanted: NDArray[np.bool_],
) -> list[tuple[Boxes, Tensor, NDArray[np.intp]]]:  # fmt: skip
    """Spectra around places (n, 3) of a volume, these in the middle to a fraction of a voxel, times the factors.

    boxes: of each class. wanted: (n, c) which of them at which place. Of each kind of boxes: itself, the spectra
    (m, f′), and the rows (m,) of their places. Voxels are read once for all kinds.
    """
    kinds = {b.edge_vx: b for b in boxes}
    of_kind = {e: np.asarray(wanted[:, [b.edge_vx == e for b in boxes]].any(axis=1)) for e in kinds}
    edges: NDArray[np.intp] = np.stack([np.where(asked, edge, 0) for edge, asked in of_kind.items()]).max(axis=0)
    middles = np.rint(positions).astype(int)
    found = {e: [torch.zeros(0, len(factors[e]), dtype=torch.complex64)] for e in kinds}
    batch = np.cumsum(edges**3) // _AT_ONCE_VX
    for rows in np.split(np.arange(len(edges)), np.flatnonzero(np.diff(batch)) + 1):
        read = [_cube(volume, middle, edge) for middle, edge in zip(middles[rows].tolist(), edges[rows], strict=True)]
        for edge, kind in kinds.items():
            asked = np.flatnonzero(of_kind[edge][rows])
            if len(asked):
                blocks = torch.from_numpy(np.stack([_inner(read[i], edge) for i in asked]))
                off = (positions - middles)[rows[asked]]
                found[edge].append(kind.transformed(blocks, off, factors[edge]))
    return [(kinds[e], torch.cat(values), np.flatnonzero(of_kind[e])) for e, values in found.items()]


def _cube(volume: Readable, middle: Sequence[int], edge: int) -> NDArray[np.float32]:
    (z, y, x), half = middle, int(edge) // 2
    return volume.read(Box((z - half, y - half, x - half), (z + half, y + half, x + half)))


def _inner(block: NDArray[np.float32], edge: int) -> NDArray[np.float32]:
    inner = slice((len(block) - edge) // 2, (len(block) + edge) // 2)
    return block[inner, inner, inner]


def save_averages(averages: ClassAverages, folder: Path) -> None:
    """Into a model's folder, whole or not at all."""
    about = {f.name: getattr(averages, f.name) for f in fields(averages) if f.name != "references"}
    text = {n: json.dumps(asdict(v) if isinstance(v, Trust | Calibration) else v) for n, v in about.items()}
    volumes = {f"reference_{i}": volume.contiguous() for i, volume in enumerate(averages.references)}
    with atomic_write(folder / FILE, overwrite=True) as path:
        save_file(volumes, path, metadata=text)


def load_averages(folder: Path) -> ClassAverages | None:
    """Those of a model; None where there are none. Raises ModelError where they cannot be read."""
    if not (folder / FILE).is_file():
        return None
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            about = {name: _tupled(json.loads(text)) for name, text in (file.metadata() or {}).items()}
            about["trust"] = Trust(**about["trust"])
            about["calibration"] = about["calibration"] and Calibration(**about["calibration"])
            volumes = tuple(file.get_tensor(f"reference_{i}") for i in range(len(about["widths_vx"])))
            return ClassAverages(volumes, **about)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / FILE} is damaged ({error}): remove it, or train again") from None


def _tupled(value: Any) -> Any:
    """What JSON gives, with tuples for lists."""
    if isinstance(value, dict):
        return {name: _tupled(one) for name, one in value.items()}
    return tuple(value) if isinstance(value, list) else value
