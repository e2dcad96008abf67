"""A second look at candidates: averages of the labelled particles of each class say what each is, and where it lies.

A network learns a class from as many views as there are labels. Averaged, the labels give the particle itself, and
with it every view: how much likelier than noise alone is it to be each class, over all orientations and small shifts?
That evidence is the likelihood of `etpick.averaging.expectation`; weights that validation chose join it with what the
network says: with its chances of the classes, and with its score. `etpick.averaging_labels` makes the averages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from etpick.averaging.expectation import Spectra, likeliest_poses, views, weigh
from etpick.averaging.rotations import evenly_spaced
from etpick.boxes import SHORTEST_VX, Boxes, boxes_of, read_boxes
from etpick.data import Voxels
from etpick.decision import Decision
from etpick.errors import ModelError
from etpick.inference import Candidates
from etpick.io.atomic import atomic_write
from etpick.ops.calibrate import Calibration
from etpick.types import FloatArray

FILE: Final = "averages.safetensors"
_CANDIDATES_AT_ONCE: Final = 10_000  # whose boxes of all classes are held, some 20 kB each with thirteen of them
_REACH_VX: Final = 2.0  # of a pick from its particle, in voxels of the grid …
_REACH: Final = 1 / 3  # … and in diameters
_FINEST_DEG: Final = 20.0  # between orientations
_UNLIKELY: Final = 0.02  # chance by the network below which a class is not tried
_RULED_OUT: Final = 0.01  # score by the network below which a candidate is not looked at, unless it is a pick
_UNTRIED: Final = 10.0  # evidence that such a class has less than any that is tried
_LEAST_CHANCE: Final = 1e-6
_KEPT_VALUES: Final = 2**25  # complex, of turned averages: 270 MB, enough for ten wide classes


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

    references: (b, b, b) for each of c classes, on the grid of its `Boxes`; (0,) where labels were too few. Where they
    lie everything is computed. widths_vx: (c,) diameters in working voxels. spread_vx: σ of the network's places about
    particles, along an axis. trust: how the network's chances and the averages' evidence are joined. moves: whether
    picks go to the place that the averages give. calibration and thresholds (c,): of scores that take the evidence into
    account; None and none where it has no say in them.

    right: shares of the particles of validation whose class is told right, by the network alone and by both.
    distance_vx, f1: the same for their mean distance from the centre, and for localisation, each fitted to the
    candidates looked at; particles: how many there were. explained: how many picks of validation with and
    without a label `etpick.neighbours` found explained by others; rivals: whether such picks are left out.
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
    rivals: bool = False
    explained: tuple[int, int] = (0, 0)

    @cached_property
    def _views(self) -> dict[int, Tensor]:
        """Spectra of turned averages by class, made when first asked for and kept for other tomograms."""
        return {}

    @cached_property
    def _noise(self) -> WeakKeyDictionary[Voxels, dict[int, Tensor]]:
        """Factors of tomograms by the edge of boxes."""
        return WeakKeyDictionary()

    @cached_property
    def boxes(self) -> list[Boxes]:
        """Of each class."""
        return boxes_of(self.widths_vx, self.device)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.references[0].device

    def to(self, device: torch.device) -> ClassAverages:
        """The same, computing on a device."""
        references = tuple(reference.to(device) for reference in self.references)
        return self if references[0] is self.references[0] else replace(self, references=references)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(c,) which classes have an average."""
        return np.array([reference.numel() > 0 for reference in self.references])

    @property
    def used(self) -> bool:
        """Whether a second look changes anything: averages that tell nothing are not asked."""
        return self.moves or self.rivals or self.trust.evidence > 0 or self.calibration is not None

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
        if self.rivals:
            labelled, others = self.explained
            parts.append(f"{others} unlabelled and {labelled} labelled picks fewer, which neighbours explain")
        return f"a second look at candidates gives {', '.join(parts)} ({self._on()})"

    def _on(self) -> str:
        return f"on {self.particles} particles of validation"

    def worth_a_look(self, candidates: Candidates, decision: Decision) -> NDArray[np.bool_]:
        """(n,) which candidates, of one for each particle, to look at: the picks of a decision by the network, and
        where the evidence has a say in scores all that it does not rule out."""
        if self.calibration is None:
            return decision.reached(decision.named(candidates))
        return not_ruled_out(candidates, decision)

    def look(self, volume: Voxels, candidates: Candidates) -> Candidates:
        """The candidates with the class chances, the places and the evidence that the averages give them."""
        return self.seen(candidates, *self.weigh(volume, candidates))

    def seen(self, candidates: Candidates, evidence: FloatArray, places: FloatArray) -> Candidates:
        """The same from what `weigh` gave."""
        told, rows = self.trust(evidence, candidates.classes), np.arange(len(places))
        best = told.argmax(axis=1)
        positions = places[rows, best] if self.moves else candidates.positions
        return Candidates(positions, candidates.raw, told, evidence[rows, best])

    def weigh(self, volume: Voxels, candidates: Candidates) -> tuple[FloatArray, FloatArray]:
        """(n, c) evidence for each class at each place, a natural logarithm, and (n, c, 3) the place it speaks of.

        Classes that the network holds for unlikely are not tried and have less evidence than any that is. A class that
        has no average has as much as the likeliest of the others: between them the network decides, and the offsets
        that validation gave.
        """
        positions, chances = candidates.positions, candidates.classes
        known = self.known
        share = chances / np.maximum(chances.sum(axis=1, keepdims=True), _LEAST_CHANCE)
        likeliest = np.where(known, share, -1).max(axis=1, keepdims=True)
        tried = known & (share >= np.minimum(_UNLIKELY, likeliest))
        evidence = np.full(chances.shape, np.inf)
        places = np.repeat(positions[:, None], chances.shape[1], axis=1)
        if not len(positions):
            return evidence, places
        used = [b for b, asked in zip(self.boxes, tried.any(axis=0), strict=True) if asked]
        factors = self.factors(volume, used)
        for start in range(0, len(positions), _CANDIDATES_AT_ONCE):
            part = slice(start, start + _CANDIDATES_AT_ONCE)
            wanted = {b: tried[part][:, [other is b for other in self.boxes]].any(axis=1) for b in factors}
            read = read_boxes(volume, positions[part], factors, wanted)
            for number, kind in enumerate(self.boxes):
                own = tried[part, number]
                if not own.any():
                    continue
                values = read[kind][torch.from_numpy(own[wanted[kind]]).to(kind.device)]
                found, off = self.weigh_class(number, kind, kind.particles(values, factors[kind]))
                rows = start + np.flatnonzero(own)
                evidence[rows, number] = found
                places[rows, number] += off
        least, most = evidence.min(axis=1), np.where(tried, evidence, -np.inf).max(axis=1)
        return np.where(tried, evidence, np.where(known, least[:, None] - _UNTRIED, most[:, None])), places

    def factors(self, volume: Voxels, boxes: Sequence[Boxes]) -> dict[Boxes, Tensor]:
        """(f′,) what whitens the spectra of each kind of boxes in a tomogram, measured when first asked for."""
        known = self._noise.setdefault(volume, {})
        for kind in boxes:
            if kind.edge_vx not in known:
                known[kind.edge_vx] = kind.noise_of(volume)[: kind.waves]
        return {kind: known[kind.edge_vx] for kind in boxes}

    def weigh_class(self, number: int, boxes: Boxes, seen: Spectra) -> tuple[FloatArray, FloatArray]:
        """(n,) evidence for one class, and (n, 3) by how much each pick is off its place, in working voxels."""
        found, off = weigh(seen, boxes.grid, self.turned(number, boxes), boxes.variance, *self._search(number, boxes))
        return found.double().numpy(force=True), off.double().numpy(force=True) * boxes.scale

    def poses(self, number: int, boxes: Boxes, seen: Spectra) -> tuple[FloatArray, Tensor, FloatArray]:
        """(n,) evidence for one class, (n, f′) spectra of its average, turned as it fits the picks best, and (n, 3) by
        how much these are off their places, in working voxels."""
        turned = self.turned(number, boxes)
        found, index, off = likeliest_poses(seen, boxes.grid, turned, boxes.variance, *self._search(number, boxes))
        return found.double().numpy(force=True), turned[index], off.double().numpy(force=True) * boxes.scale

    def turned(self, number: int, boxes: Boxes) -> Tensor:
        """(r, f′) spectra of the average of a class in all orientations."""
        turned = self._views.get(number)
        if turned is None:
            rotations = evenly_spaced(angle_deg(self.widths_vx[number] / boxes.scale), np.random.default_rng(0))
            turned = views(boxes.grid, self.references[number], rotations.to(boxes.device), boxes.waves)
            if sum(kept.numel() for kept in self._views.values()) + turned.numel() <= _KEPT_VALUES:
                self._views[number] = turned
        return turned

    def _search(self, number: int, boxes: Boxes) -> tuple[float, float, int]:
        """How far from picks to look, σ of their places, both in voxels of the grid, and the last shell."""
        reach = min(_REACH_VX, _REACH * self.widths_vx[number] / boxes.scale)
        return reach, self.spread_vx / boxes.scale, boxes.last_shell


def not_ruled_out(candidates: Candidates, decision: Decision) -> NDArray[np.bool_]:
    """(n,) which candidates, of one for each particle, the network does not rule out: picks, and scores not near 0."""
    return (decision.scores(candidates) >= _RULED_OUT) | decision.reached(decision.named(candidates))


def angle_deg(width_vx: float) -> float:
    """Between orientations: the rim moves by the shortest wave; of wide particles, which are plain to see, by more."""
    return max(_FINEST_DEG, math.degrees(SHORTEST_VX / width_vx))


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
