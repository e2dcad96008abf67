"""From a labelled data set to what training needs: sources to learn from, volumes to validate on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.config import TrainingConfig
from etpick.data import Readable, Source, Window, WorkingVolume, make_source, open_volume
from etpick.errors import TrainingError
from etpick.geometry import working_spacing_A
from etpick.ops.contrast import ContrastProbe
from etpick.types import Box, Dataset, ParticleClass, Particles, TrainingItem

HELD_OUT_SHARE: Final = 0.2  # of the labels of a tomogram that must both train and validate
_MARGIN_VX: Final = 16
_CLEAR: Final = 8.0  # standard errors by which particles differ from their surroundings
_FEWEST: Final = 5  # labels to learn from, and labels to validate on where a region is held out

_ENOUGH: Final = 20
_MORE: Final = "let one of the tomograms validate (validate = true in the project file), or mark more"

Message = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class ValidationVolume:
    """A volume to pick during training, and the particles in it, in its own working voxels.

    Candidates count inside a box: around a held-out region the volume reaches further, so that a particle
    beyond the cut is found where it is, and not at the cut.
    """

    volume: Readable
    inside: Box
    truth: Particles


@dataclass(frozen=True, eq=False)
class Prepared:
    """What training runs on."""

    classes: tuple[ParticleClass, ...]
    spacing_A: float
    sources: tuple[Source, ...]
    validation: tuple[ValidationVolume, ...]
    summary: dict[str, Any]


def prepare(dataset: Dataset, config: TrainingConfig, say: Message) -> Prepared:
    """Check the data set, choose the working spacing, and split it. Raises TrainingError."""
    items = [item for item in dataset.items if len(item.real)]
    _check(dataset, items)
    for item in dataset.items:
        if not len(item.real):
            say(f"{item.tomogram.name} has no picks and is left out")
    natives = sorted({item.tomogram.spacing_A for item in items})
    native = max(items, key=lambda item: len(item.real)).tomogram.spacing_A
    diameters = [c.diameter_A for c in dataset.classes]
    spacing = config.spacing_A or working_spacing_A(diameters, native)
    widths = " and ".join(f"{d / spacing:.1f}" for d in sorted({min(diameters), max(diameters)}))
    say(f"working spacing {spacing:.4g} Å: particles are {widths} voxels wide")
    volumes = [open_volume(i.tomogram, spacing, config) for i in items]
    _check_contrast(volumes, items, say)
    if any(item.validate for item in items):
        learn: list[tuple[WorkingVolume, TrainingItem, Box | None]] = [
            (v, i, None) for v, i in zip(volumes, items, strict=True) if not i.validate
        ]
        held = [(v, i, Box((0, 0, 0), v.shape)) for v, i in zip(volumes, items, strict=True) if i.validate]
    else:
        most = int(np.argmax([len(i.real) for i in items]))
        box = _region(volumes[most], items[most].real)
        learn = [(v, i, box if n == most else None) for n, (v, i) in enumerate(zip(volumes, items, strict=True))]
        held = [(volumes[most], items[most], box)]
        count = _count(held[0])
        few = f", too few to say much of F1 and scores: {_MORE}" if count < _ENOUGH else ""
        say(f"no tomogram validates: a region of {items[most].tomogram.name} with {count} labels is held out{few}")
    sources = tuple(make_source(v, i.particles, dataset.classes, box) for v, i, box in learn)
    validation = tuple(_validation(v, i.real, box) for v, i, box in held)
    _check_counts(sources, validation, dataset.classes, say)
    numbered = list(enumerate(dataset.classes, 1))
    return Prepared(
        dataset.classes, spacing, sources, validation,
        summary={
            "tomograms": [i.tomogram.name for i in items if not i.validate],
            "validation_tomograms": [i.tomogram.name for _, i, _ in held],
            "native_spacing_A": natives,
            "partial_labels": dataset.partial_labels,
            "particles_per_megavoxel": _density(sources),
            "negatives": sum(len(s.negatives) for s in sources),
            "labels": {c.name: sum(int((s.labels == n).sum()) for s in sources) for n, c in numbered},
            "validation_labels": {c.name: sum(len(v.truth.of_class(c.name)) for v in validation) for _, c in numbered},
        },
    )  # fmt: skip


def _density(sources: Sequence[Source]) -> float:
    """Labelled particles in a million working voxels of the training tomograms."""
    voxels = sum(float(np.prod(s.volume.shape)) for s in sources)
    return round(1e6 * sum(len(s.labels) for s in sources) / voxels, 3)


def _check_contrast(volumes: Sequence[WorkingVolume], items: Sequence[TrainingItem], say: Message) -> None:
    """Say where the particles of one tomogram are dark and those of another bright."""
    shades: dict[str, list[str]] = {"dark": [], "bright": []}
    for volume, item in zip(volumes, items, strict=True):
        n = volume.normalise
        probe = ContrastProbe(item.tomogram.data, n.mean - n.clip * n.sigma, n.mean + n.clip * n.sigma)
        contrast = probe.at(item.real.positions)
        if contrast.strength > _CLEAR:
            shades["dark" if contrast.effect < 0 else "bright"].append(item.tomogram.name)
    if all(shades.values()):
        say(
            f"particles are dark in {', '.join(shades['dark'])} and bright in {', '.join(shades['bright'])}: invert "
            "one or the other, or the network has to learn both"
        )


def _check(dataset: Dataset, items: Sequence[TrainingItem]) -> None:
    if not dataset.classes:
        raise TrainingError("the data set has no classes: give each particle a name and a diameter")
    if not items:
        raise TrainingError(
            f"none of the {len(dataset.items)} tomograms has picks: mark some particles, or name the pick files"
        )
    if all(item.validate for item in items):
        raise TrainingError("every labelled tomogram validates, none is left to learn from: unmark at least one")
    known = {c.name for c in dataset.classes}
    for item in items:
        unknown = sorted({str(c) for c in item.real.classes} - known)
        if unknown:
            raise TrainingError(
                f"picks of {item.tomogram.name} are of class {', '.join(unknown)}, which is not among the "
                f"data set's {', '.join(sorted(known))}"
            )


def _check_counts(
    sources: Sequence[Source],
    validation: Sequence[ValidationVolume],
    classes: Sequence[ParticleClass],
    say: Message,
) -> None:
    learnt = sum(len(s.labels) for s in sources)
    if learnt < _FEWEST:
        raise TrainingError(f"{learnt} labelled particles are left to learn from; mark at least {_FEWEST}")
    for number, c in enumerate(classes, start=1):
        if not any((s.labels == number).any() for s in sources):
            raise TrainingError(f"class {c.name} has no labels in the training tomograms: mark some, or remove it")
        if not any((v.truth.classes == c.name).any() for v in validation):
            say(f"class {c.name} has no labels to validate on; it gets the threshold of the others")


def _region(volume: WorkingVolume, particles: Particles) -> Box:
    """The end of the tomogram, along the axis where labels spread most, that holds a fifth of the labels."""
    positions = volume.to_working(particles.positions)
    if len(positions) < 2 * _FEWEST:
        raise TrainingError(
            f"{len(positions)} labels in one tomogram are too few to hold some out for validation; mark at "
            f"least {2 * _FEWEST}"
        )
    axis = int(np.ptp(positions, axis=0).argmax())
    cut = int(np.ceil(np.quantile(positions[:, axis], 1 - HELD_OUT_SHARE)))
    start = [0, 0, 0]
    start[axis] = min(max(cut, 1), volume.shape[axis] - 1)
    return Box((start[0], start[1], start[2]), volume.shape)


def _count(held: tuple[WorkingVolume, TrainingItem, Box]) -> int:
    volume, item, box = held
    return int(box.contains(volume.to_working(item.real.positions)).sum())


def _validation(volume: WorkingVolume, particles: Particles, box: Box) -> ValidationVolume:
    positions = volume.to_working(particles.positions)
    inside = box.contains(positions)
    start = np.maximum(np.array(box.start) - _MARGIN_VX, 0)
    stop = np.minimum(np.array(box.stop) + _MARGIN_VX, volume.shape)
    truth = replace(particles.select(inside), positions=positions[inside] - start, spacing_A=volume.spacing_A)
    window = Window(volume, _box(start, stop))
    return ValidationVolume(window, _box(box.start - start, box.stop - start), truth)


def _box(start: NDArray[np.integer], stop: NDArray[np.integer]) -> Box:
    z, y, x = zip(start.tolist(), stop.tolist(), strict=True)
    return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))
