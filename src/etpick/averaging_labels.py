"""Averages of the labelled particles of each class, made from random orientations and judged on validation.

They begin as `etpick.averaging.refine` begins, with all waves that tell classes apart at once (after Scheres 2012,
doi:10.1016/j.jmb.2011.11.010). The weights that join their likelihoods with the network's chances are those of a
logistic regression on the particles of validation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etpick.averaging.expectation import Poses, Spectra
from etpick.averaging.grid import FourierGrid
from etpick.averaging.refine import Refiner
from etpick.class_averages import Boxes, ClassAverages, Trust
from etpick.data import Source
from etpick.decision import Decision
from etpick.evaluation.matching import match, radii_vx
from etpick.inference import Candidates
from etpick.preparation import ValidationVolume
from etpick.types import FloatArray, ParticleClass

FEWEST: Final = 20  # labels of a class that can be averaged
_MOST: Final = 300  # labels of a class that are
_TAU: Final = 2.0  # with less, small particles melt into balls
_REACH: Final = 0.1  # of a label from its particle, in diameters; a voxel of the grid at least
_CLEAR: Final = 4.0  # by how much likelier the true classes must be, as a logarithm
_STANDARD_ERRORS: Final = 2.0  # by which picks must come nearer …
_FEWEST_MOVED: Final = 10  # … and how many there must be to tell
_EVIDENCE: Final = 0.5  # standard deviations of the weights of the evidence and of the classes' offsets beforehand
_OFFSET: Final = 1.0
_LEAST: Final = 1e-12  # chance of a class


def too_few(sources: Sequence[Source], classes: Sequence[ParticleClass]) -> str:
    """The classes that have too few labels for an average, with their numbers; "" where none has."""
    labels = np.concatenate([source.labels for source in sources])
    counts = [int((labels == number).sum()) for number in range(1, len(classes) + 1)]
    return ", ".join(f"{c.name} {n}" for c, n in zip(classes, counts, strict=True) if n < FEWEST)


def average_labels(
    sources: Sequence[Source], widths_vx: FloatArray, seed: int, on_class: Callable[[int], None]
) -> ClassAverages:
    """Averages of the labelled particles of each class, of widths (c,) in working voxels; nothing is trusted yet.

    `on_class` is told of each class that begins.
    """
    boxes = Boxes(widths_vx.tolist())
    factors = [boxes.noise_of(source.volume) for source in sources]
    found: list[Tensor] = []
    for number, width in enumerate(widths_vx.tolist()):
        on_class(number)
        spectra = read_labels(sources, number, factors, boxes, np.random.default_rng((seed, number)))
        found.append(average(spectra, boxes, width / boxes.scale, seed))
    return ClassAverages(torch.stack(found), tuple(widths_vx.tolist()))


def read_labels(
    sources: Sequence[Source], number: int, factors: Sequence[Tensor], boxes: Boxes, rng: np.random.Generator
) -> Spectra:
    """The labelled particles of one class, counted from 0; a random choice where they are very many."""
    rows = [(i, row) for i, s in enumerate(sources) for row in np.flatnonzero(s.labels == number + 1).tolist()]
    chosen = np.array([rows[i] for i in rng.permutation(len(rows))[:_MOST]])
    parts = [
        boxes.read(s.volume, s.positions[chosen[chosen[:, 0] == i, 1]], factor)
        for i, (s, factor) in enumerate(zip(sources, factors, strict=True))
    ]
    group = torch.cat([torch.full((len(part),), i) for i, part in enumerate(parts)])
    return Spectra(torch.cat([part.values for part in parts]), torch.stack(list(factors)), group)


def average(spectra: Spectra, boxes: Boxes, width_vx: float, seed: int) -> Tensor:
    """(b, b, b) the average of particles of one class, as wide in voxels of the grid, from random orientations."""
    grid, last = boxes.grid, boxes.last_shell
    # particles brighter than what is around them have a centre of mass
    sign = 1 if spectra.values[:, : grid.up_to(last)].real.sum() > 0 else -1
    some = replace(spectra, values=sign * spectra.values)
    start = Refiner(some, grid, width_vx, max(1.0, _REACH * width_vx), seed, first_shell=last, tau=_TAU).common_start(1)
    return sign * centred_on_labels(start.reference, start.poses, grid)


def centred_on_labels(reference: Tensor, poses: Poses, grid: FourierGrid) -> Tensor:
    """The reference, moved so that its middle is where the labels are on average, to a fraction of a voxel.

    Poses say where the reference's middle, its centre of mass, lies from the labels.
    """
    labels = -(poses.rotations.transpose(1, 2) @ poses.shifts_vx[:, :, None])[:, :, 0]
    axis = torch.fft.fftfreq(grid.box_vx)
    turn = sum(torch.meshgrid(*(axis * float(u) for u in labels.mean(dim=0)), indexing="ij"), torch.zeros(()))
    moved: Tensor = torch.fft.ifftn(torch.fft.fftn(reference) * torch.exp(2j * math.pi * turn)).real
    return moved


def judged(
    averages: ClassAverages, found: Sequence[Candidates], decision: Decision, volumes: Sequence[ValidationVolume]
) -> ClassAverages:
    """The averages with the weights that the particles of validation give them: none where they do not help."""
    evidence, chances, true, before, after = ([] for _ in range(5))
    names = [c.name for c in decision.classes]
    for candidates, v in zip(found, volumes, strict=True):
        chosen = decision.one_each(candidates)
        chosen = chosen.select(decision.reached(decision.named(chosen)))
        pairs = match(chosen.positions, v.truth.positions, radii_vx(v.truth, decision.classes, decision.spacing_A))
        hits = chosen.select(pairs.predicted)
        truth = v.truth.select(pairs.truth)
        if len(pairs):
            weights, places = averages.weigh(v.volume, hits.positions, hits.classes)
            classes = np.array([names.index(str(name)) for name in truth.classes])
            evidence.append(weights)
            chances.append(hits.classes)
            true.append(classes)
            before.append(pairs.distances)
            after.append(np.linalg.norm(places - truth.positions[:, None], axis=2))
    if not evidence:
        return averages
    return _trusted(averages, *(np.concatenate(part) for part in (evidence, chances, true, before, after)))


def _trusted(
    averages: ClassAverages, evidence: FloatArray, chances: FloatArray, true: NDArray[np.intp], before: FloatArray,
    after: FloatArray,
) -> ClassAverages:  # fmt: skip
    """before: (n,) distances of the picks; after: (n, c) those of the places that each class gives."""
    rows = np.arange(len(true))
    trust, gain = fit_trust(evidence, chances, true)
    if gain < _CLEAR:
        trust = Trust()
    told = trust(evidence, chances).argmax(axis=1)
    moved = after[rows, told]
    nearer = before - moved
    enough = len(rows) >= _FEWEST_MOVED
    moves = enough and bool(nearer.mean() > _STANDARD_ERRORS * nearer.std(ddof=1) / math.sqrt(len(rows)))
    return replace(
        averages, trust=trust, moves=moves, particles=len(rows),
        right=(float((chances.argmax(axis=1) == true).mean()), float((told == true).mean())),
        distance_vx=(float(before.mean()), float(moved.mean() if moves else before.mean())),
    )  # fmt: skip


def fit_trust(evidence: FloatArray, chances: FloatArray, true: NDArray[np.intp]) -> tuple[Trust, float]:
    """The trust that makes the true classes (n,) likeliest, and by how much likelier, as a logarithm over all n, than
    the network's chances alone make them.

    A logistic regression, held to plain weights where particles are few: each of (a, b, offsets) has a normal prior.
    """
    from scipy.optimize import minimize

    rows, count = np.arange(len(true)), evidence.shape[1]

    def surprise(weights: FloatArray, /) -> float:
        told = _trust(weights)(evidence, chances)
        prior = (weights[0] - 1) ** 2 + (weights[1] / _EVIDENCE) ** 2 + ((weights[2:] / _OFFSET) ** 2).sum()
        return float(prior / 2 - np.log(np.maximum(told[rows, true], _LEAST)).sum())

    start, free = np.r_[1.0, _EVIDENCE, np.zeros(count)], [(-5.0, 5.0)] * count
    alone = minimize(surprise, start * 0, bounds=[(0.0, 5.0), (0.0, 0.0), *[(0.0, 0.0)] * count])
    both = minimize(surprise, start, bounds=[(0.0, 5.0), (0.0, 1.0), *free])
    return _trust(both.x), float(alone.fun - both.fun)


def _trust(weights: FloatArray) -> Trust:
    return Trust(float(weights[0]), float(weights[1]), tuple(weights[2:].tolist()))
