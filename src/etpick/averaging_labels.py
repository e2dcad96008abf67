"""Averages of the labelled particles of each class, made from random orientations and judged on validation.

They begin as `etpick.averaging.refine` begins, with all waves that tell classes apart at once (after Scheres 2012,
doi:10.1016/j.jmb.2011.11.010). The weights that join their likelihoods with the network's chances are those of a
logistic regression on the particles of validation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etpick.averaging.expectation import Poses, Spectra
from etpick.averaging.grid import FourierGrid
from etpick.averaging.refine import Refiner
from etpick.boxes import Boxes, boxes_of
from etpick.class_averages import ClassAverages, Trust, not_ruled_out
from etpick.data import Source
from etpick.decision import Decision, Validation, validate
from etpick.engine import CPU, or_on_the_processor
from etpick.evaluation.matching import Matches, match, radii_vx
from etpick.inference import Candidates, join
from etpick.neighbours import explained_by_neighbours
from etpick.preparation import ValidationVolume
from etpick.types import FloatArray, Particles

logger = logging.getLogger(__name__)
FEWEST: Final = 20  # labels of a class that can be averaged
_MOST: Final = 300  # labels of a class that are
_TAU: Final = 2.0  # with less, small particles melt into balls
_REACH: Final = 0.1  # of a label from its particle, in diameters; a voxel of the grid at least
_CLEAR: Final = 4.0  # by how much likelier true classes and hits must be, as a logarithm
_STANDARD_ERRORS: Final = 2.0  # by which picks must come nearer …
_FEWEST_MOVED: Final = 10  # … and how many there must be to tell
_EVIDENCE: Final = 0.5  # standard deviations of the weights of the evidence and of the classes' offsets beforehand
_OFFSET: Final = 1.0
_LEAST_SPREAD_VX: Final = 0.3  # of places about particles, where validation has few
_LEAST: Final = 1e-12  # chance of a class
_BY_CHANCE: Final = 0.05  # of so few right ones among the picks that neighbours explain, were these as good as others


def too_few(sources: Sequence[Source], classes: int) -> dict[int, int]:
    """The classes, counted from 0, that have too few labels for an average, and how many they have."""
    labels = np.concatenate([source.labels for source in sources])
    counts = {number: int((labels == number + 1).sum()) for number in range(classes)}
    return {number: count for number, count in counts.items() if count < FEWEST}


def average_labels(
    sources: Sequence[Source], widths_vx: FloatArray, seed: int, first: int = 0, device: torch.device = CPU,
    say: Callable[[str], object] = logger.warning,
) -> Iterator[Tensor]:  # fmt: skip
    """(b, b, b) averages of the labelled particles of the classes, one after the other from number `first` on, each on
    the grid of its `Boxes`; (0,) of one that has too few. widths_vx: (c,) of all classes, in working voxels. They lie
    on the processor, though computed on the device; there too where its memory is too small, which is said."""
    few = too_few(sources, len(widths_vx))

    @cache
    def boxes_on(where: torch.device) -> list[Boxes]:
        return boxes_of(widths_vx.tolist(), where)

    @cache
    def noise(boxes: Boxes) -> list[Tensor]:
        return [boxes.noise_of(source.volume) for source in sources]

    def averaged(number: int, where: torch.device) -> Tensor:
        boxes = boxes_on(where)[number]
        spectra = read_labels(sources, number, noise(boxes), boxes, np.random.default_rng((seed, number)))
        return average(spectra, boxes, float(widths_vx[number]) / boxes.scale, seed).cpu()

    for number in range(first, len(widths_vx)):
        yield torch.zeros(0) if number in few else or_on_the_processor(device, partial(averaged, number), say)


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
    group = torch.cat([part.group + i for i, part in enumerate(parts)])
    return Spectra(torch.cat([part.values for part in parts]), torch.stack(list(factors)), group, boxes.kept)


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
    axis = torch.fft.fftfreq(grid.box_vx, device=grid.device)
    turn = sum(torch.meshgrid(*(axis * u for u in labels.mean(dim=0)), indexing="ij"), torch.zeros_like(axis[0]))
    moved: Tensor = torch.fft.ifftn(torch.fft.fftn(reference) * torch.exp(2j * math.pi * turn)).real
    return moved


def judged(
    averages: ClassAverages, found: Sequence[Candidates], decision: Decision, volumes: Sequence[ValidationVolume],
    *, partial: bool = False,
) -> ClassAverages:  # fmt: skip
    """The averages with the weights that the particles of validation give them: none where they do not help.

    found: candidates of the validation volumes. decision: by the network alone. partial: whether labels are.
    """
    chosen = [c.select(not_ruled_out(c, decision)) for c in map(decision.one_each, found)]
    pairs = [_matched(c, v.truth, decision) for c, v in zip(chosen, volumes, strict=True)]
    before = np.concatenate([p.distances for p in pairs])
    if not len(before):
        return averages
    weighing = replace(averages, spread_vx=max(_LEAST_SPREAD_VX, math.sqrt(float((before**2).mean()) / 3)))
    weighed = [weighing.weigh(v.volume, c) for c, v in zip(chosen, volumes, strict=True)]
    parts = []
    for c, v, p, (evidence, places) in zip(chosen, volumes, pairs, weighed, strict=True):
        truth = v.truth.select(p.truth)
        after = np.linalg.norm(places[p.predicted] - truth.positions[:, None], axis=2)
        parts.append((evidence[p.predicted], c.classes[p.predicted], decision.index_of(truth), p.distances, after))
    averages = _trusted(weighing, *(np.concatenate(column) for column in zip(*parts, strict=True)))
    seen = [averages.seen(c, *w) for c, w in zip(chosen, weighed, strict=True)]
    explained = [
        explained_by_neighbours(weighing, v.volume, s, decision.scores(c))
        for v, s, c in zip(volumes, seen, chosen, strict=True)
    ]
    averages = _with_rivals(averages, explained, pairs, [decision.reached(decision.named(c)) for c in chosen])
    if averages.rivals:
        seen = [s.select(~e) for s, e in zip(seen, explained, strict=True)]
    silent, truths = [replace(c, evidence=None) for c in seen], [v.truth for v in volumes]
    by_network, without, by_both = (
        validate(c, truths, decision.classes, decision.spacing_A, 1.0, partial=partial, chosen=True)
        for c in (chosen, silent, seen)
    )
    if _likelihood(by_both, seen) - _likelihood(without, silent) < _CLEAR:
        return averages
    return replace(
        averages, calibration=by_both.decision.calibration, thresholds=by_both.decision.thresholds,
        f1=(by_network.evaluation.localisation.f1, by_both.evaluation.localisation.f1),
    )  # fmt: skip


def _with_rivals(
    averages: ClassAverages, explained: Sequence[NDArray[np.bool_]], pairs: Sequence[Matches],
    picked: Sequence[NDArray[np.bool_]],
) -> ClassAverages:  # fmt: skip
    """Picks that their neighbours explain are left out where clearly fewer of them are right than of all picks, or
    where labels are partial, labelled."""
    from scipy.stats import binom

    right = sum(int(e[p.predicted].sum()) for e, p in zip(explained, pairs, strict=True))
    count = sum(int((e & p).sum()) for e, p in zip(explained, picked, strict=True))
    share = sum(len(p.predicted) for p in pairs) / max(sum(int(p.sum()) for p in picked), 1)
    rivals = bool(binom.cdf(right, count, share) < _BY_CHANCE)
    return replace(averages, rivals=rivals, explained=(right, count - right))


def _likelihood(result: Validation, chosen: Sequence[Candidates]) -> float:
    """The logarithm of the chance that calibrated scores give to which candidates took a labelled particle."""
    chance = result.decision.calibration.labelled_share * result.decision.scores(join(chosen))
    chance = np.where(result.hits, chance, 1 - chance)
    return float(np.log(np.maximum(chance, _LEAST)).sum())


def _matched(candidates: Candidates, truth: Particles, decision: Decision) -> Matches:
    """Those of the candidates that are picks, and the particles that they take."""
    picked = np.flatnonzero(decision.reached(decision.named(candidates)))
    radii = radii_vx(truth, decision.classes, decision.spacing_A)
    pairs = match(candidates.positions[picked], truth.positions, radii)
    return replace(pairs, predicted=picked[pairs.predicted])


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
