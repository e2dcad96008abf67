"""What is in a file, and is it sane: the facts and warnings that `etpick info` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.evaluation.plausibility import plausibility
from etpick.io.picks import read_picks
from etpick.io.project import TomogramEntry, open_entry, read_project
from etpick.io.sanity import describe_outside, describe_spacing, is_outside, repeated
from etpick.ops.contrast import ContrastProbe
from etpick.placement import Placement, check_placement
from etpick.types import NEGATIVE, Particles, Shape3, Tomogram

_SAMPLE_VOXELS = 16_000_000
_ROBUST_SIGMA = 1.4826  # of the median absolute deviation of a normal distribution
_OUTLIER_SIGMA = 6.0


@dataclass(frozen=True)
class GreyLevels:
    """Statistics of the voxels that were read; `voxels_read` is all of them up to 16 million."""

    minimum: float
    median: float
    maximum: float
    std: float
    nan_count: int
    outlier_fraction: float
    voxels_read: int

    @property
    def robust_range(self) -> tuple[float, float]:
        """Grey levels beyond which a voxel is an outlier."""
        return self.median - _OUTLIER_SIGMA * self.std, self.median + _OUTLIER_SIGMA * self.std


@dataclass(frozen=True)
class PickInspection:
    """What a pick file holds, and how it fits a tomogram where one was given.

    counts: picks per class. reach: lowest and highest position (zyx voxels), None without picks.
    contrast: mean difference of grey level between the picks and their surroundings, in standard deviations
    of the same at random places; None without a tomogram.
    """

    name: str
    counts: Mapping[str, int]
    reach: tuple[tuple[float, ...], tuple[float, ...]] | None
    outside: int = 0
    contrast: float | None = None
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Text, one fact a line, warnings last."""
        return self.facts() + [f"warning: {warning}" for warning in self.warnings]

    def facts(self) -> list[str]:
        """The text without the warnings."""
        counts = ", ".join(f"{n} {name}" for name, n in self.counts.items()) or "none"
        said = [f"picks in {self.name}: {counts}"]
        if self.reach is not None:
            low, high = self.reach
            axes = ", ".join(f"{a} {low[i]:.1f} to {high[i]:.1f}" for i, a in ((2, "x"), (1, "y"), (0, "z")))
            said.append(f"  reaching {axes} (voxels from 0)")
        if self.contrast is not None:
            said.append(f"  grey level against surroundings: {self.contrast:+.2f} σ of random places")
        return said


@dataclass(frozen=True)
class Inspection:
    """What a tomogram holds; `warnings` include those of its picks."""

    name: str
    shape: Shape3
    spacing_A: float
    dtype: str
    file_bytes: int | None
    grey: GreyLevels
    picks: tuple[PickInspection, ...] = ()
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Text, one fact a line, warnings last."""
        z, y, x = self.shape
        edges = " × ".join(f"{n * self.spacing_A / 10:.0f}" for n in (x, y, z))
        grey = self.grey
        every = "" if grey.voxels_read == x * y * z else f" (from {grey.voxels_read / 1e6:.0f} M voxels)"
        said = [
            f"{self.name}: {x} × {y} × {z} voxels (x, y, z) of {self.spacing_A:g} Å, {edges} nm, {self.dtype}",
            f"grey levels: {grey.minimum:.4g} to {grey.maximum:.4g}, median {grey.median:.4g}, "
            f"σ {grey.std:.4g}, {grey.outlier_fraction:.2%} beyond {_OUTLIER_SIGMA:.0f} σ{every}",
        ]
        if self.file_bytes is not None:
            said.append(f"file: {self.file_bytes / 1e6:,.1f} MB")
        said += [line for picks in self.picks for line in picks.facts()]
        return said + [f"warning: {warning}" for warning in self.warnings]


@dataclass(frozen=True)
class ProjectInspection:
    """What a project describes: its classes, each tomogram with its picks, and what could not be opened."""

    name: str
    labels: str
    classes: tuple[str, ...]
    tomograms: tuple[Inspection, ...]
    validating: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Problems, then the warnings of every tomogram."""
        return self.problems + tuple(w for tomogram in self.tomograms for w in tomogram.warnings)

    def lines(self) -> list[str]:
        """Text, one fact a line."""
        said = [
            f"{self.name}: {len(self.tomograms)} tomogram(s), {self.labels} labels",
            f"classes: {', '.join(self.classes)}",
            f"validates on: {', '.join(self.validating) or 'regions held back from training'}",
        ]
        said += [line for tomogram in self.tomograms for line in ("", *tomogram.lines())]
        return said + [f"warning: {problem}" for problem in self.problems]


def inspect_tomogram(
    tomogram: Tomogram, particles: Sequence[tuple[str, Particles]] = (), binning: float = 1.0
) -> Inspection:
    """Facts and warnings about a tomogram and pick sets, each with the name it is called by.

    `binning` is what the picks were read with. Reads at most 16 million voxels in planes spread over the
    volume, and a neighbourhood of 300 picks.
    """
    grey = grey_levels(tomogram)
    picks = tuple(_picks_in(tomogram, grey, name, found, binning) for name, found in particles)
    size = tomogram.path.stat().st_size if tomogram.path is not None else None
    warnings = (*_grey_warnings(tomogram, grey), *(w for inspected in picks for w in inspected.warnings))
    return Inspection(
        tomogram.name,
        tomogram.shape,
        tomogram.spacing_A,
        str(tomogram.data.dtype),
        size,
        grey,
        picks,
        warnings,
    )


def inspect_picks(name: str, particles: Particles) -> PickInspection:
    """What a set of picks holds, without a tomogram to hold it against."""
    warnings = [] if len(particles) else [f"{name} holds no picks"]
    if count := _repeats(particles):
        warnings.append(f"{count} of {len(particles)} picks in {name} repeat another within a voxel")
    if particles.positions.size and particles.positions.min() < -1:
        warnings.append(
            f"picks in {name} reach {particles.positions.min():.1f}: negative positions are not voxels "
            "from a corner; centred coordinates need their tomogram"
        )
    names, counts = np.unique(particles.classes, return_counts=True)
    reach = None
    if len(particles):
        low, high = particles.positions.min(axis=0), particles.positions.max(axis=0)
        reach = tuple(low.tolist()), tuple(high.tolist())
    return PickInspection(
        name, {str(c): int(n) for c, n in zip(names, counts, strict=True)}, reach, warnings=tuple(warnings)
    )


def inspect_project(path: Path | str) -> ProjectInspection:
    """Every tomogram of a project with its picks; what cannot be opened becomes a problem, not an error.

    Raises InputError where the project file itself cannot be read.
    """
    path = Path(path)
    project = read_project(path)
    classes = [entry.name for entry in project.classes]
    inspected: list[Inspection] = []
    problems: list[str] = []
    for entry in project.tomograms:
        try:
            inspected.append(_inspect_entry(path.parent, entry, project.spacing_A, classes, problems))
        except InputError as error:
            problems.append(str(error))
    found = {name for tomogram in inspected for picks in tomogram.picks for name in picks.counts}
    problems += [f"no pick of class {name} in any tomogram" for name in classes if name not in found]
    return ProjectInspection(
        name=path.name,
        labels=project.labels,
        classes=tuple(f"{entry.name} ({entry.diameter_A:g} Å)" for entry in project.classes),
        tomograms=tuple(inspected),
        validating=tuple(entry.path.name for entry in project.tomograms if entry.validate_on),
        problems=tuple(problems),
    )


def _inspect_entry(
    folder: Path, entry: TomogramEntry, spacing_A: float | None, classes: list[str], problems: list[str]
) -> Inspection:
    tomogram = open_entry(folder, entry, spacing_A)
    particles: list[tuple[str, Particles]] = []
    for picks in entry.picks:
        try:
            found = read_picks(folder / picks, classes=classes, tomogram=tomogram, binning=entry.binning)
            particles.append((picks.name, found))
        except InputError as error:
            problems.append(str(error))
    return inspect_tomogram(tomogram, particles, entry.binning)


def grey_levels(tomogram: Tomogram) -> GreyLevels:
    """Statistics from planes spread evenly over z; σ is robust: 1.4826 × the median absolute deviation."""
    values = _sample(tomogram)
    finite = values[np.isfinite(values)]
    lost = values.size - finite.size
    if not finite.size:
        nan = float("nan")
        return GreyLevels(nan, nan, nan, nan, lost, nan, values.size)
    median = float(np.median(finite))
    deviation = np.abs(finite - median)
    std = _ROBUST_SIGMA * float(np.median(deviation)) or float(finite.std())
    outliers = float(np.mean(deviation > _OUTLIER_SIGMA * std)) if std else 0.0
    return GreyLevels(float(finite.min()), median, float(finite.max()), std, lost, outliers, values.size)


def _sample(tomogram: Tomogram) -> NDArray[np.float32]:
    depth, height, width = tomogram.shape
    count = int(np.clip(_SAMPLE_VOXELS // (height * width), 8, depth)) if depth > 8 else depth
    planes = np.unique(np.linspace(0, depth - 1, count).round().astype(int))
    step = max(1, int(np.ceil(height * width * len(planes) / _SAMPLE_VOXELS)))
    parts = [np.asarray(tomogram.data[int(z), ::step, :], dtype=np.float32).ravel() for z in planes]
    return np.concatenate(parts)


def _grey_warnings(tomogram: Tomogram, grey: GreyLevels) -> list[str]:
    if grey.nan_count == grey.voxels_read:
        return [f"{tomogram.name} holds nothing but NaN or infinite voxels: reconstruct or copy it again"]
    warnings: list[str] = []
    if grey.nan_count:
        warnings.append(
            f"{grey.nan_count} of {grey.voxels_read} voxels of {tomogram.name} are NaN or infinite: "
            "fill them before use"
        )
    if grey.minimum == grey.maximum:
        warnings.append(f"every voxel of {tomogram.name} is {grey.minimum:g}: the file is empty of signal")
    return warnings


def _picks_in(tomogram: Tomogram, grey: GreyLevels, name: str, particles: Particles, binning: float) -> PickInspection:
    plain = inspect_picks(name, particles)
    inside = particles.positions[~is_outside(particles.positions, tomogram.shape)]
    outside = len(particles) - len(inside)
    probe = ContrastProbe(tomogram.data, *grey.robust_range) if len(particles) and grey.std > 0 else None
    placement = check_placement(particles.positions, tomogram.shape, probe) if probe else None
    if outside:
        effect = probe.at(inside).effect if probe and len(inside) else None
    else:
        effect = placement.hypotheses[0].effect if placement else None
    warnings = list(plain.warnings)
    if doubt := describe_spacing(particles.spacing_A, tomogram, binning):
        warnings.append(f"{name} does not fit {tomogram.name}: {doubt}")
    told = f"to judge by the grey levels, {placement.likely}" if placement and placement.likely else None
    if outside:
        problem = describe_outside(particles.positions, tomogram.shape, told)
        warnings.append(f"{name} does not fit {tomogram.name}: {problem}")
    elif told:
        warnings.append(f"{name} does not fit {tomogram.name}: {told}")
    elif placement and placement.is_random:
        warnings.append(f"{name} and {tomogram.name}: {placement.verdict}")
    return PickInspection(name, plain.counts, plain.reach, outside, effect, tuple(warnings))


def _repeats(particles: Particles) -> int:
    names = np.unique(particles.classes)
    return sum(int(repeated(particles.positions[particles.classes == name]).sum()) for name in names)


def placement_of(tomogram: Tomogram, particles: Particles) -> Placement:
    """How picks fit a tomogram, as they are and with each usual mistake undone. Raises InputError without contrast."""
    grey = grey_levels(tomogram)
    if not grey.std > 0:
        raise InputError(f"every voxel of {tomogram.name} is alike: nothing can be held against it")
    return check_placement(particles.positions, tomogram.shape, ContrastProbe(tomogram.data, *grey.robust_range))


def plausibility_of(tomogram: Tomogram, particles: Particles, diameters_A: Mapping[str, float]) -> list[str]:
    """Lines on whether picks of each class lie as particles can. Raises InputError for a class without a diameter."""
    lines = []
    for name in sorted({str(label) for label in particles.classes} - {NEGATIVE}):
        if name not in diameters_A:
            raise InputError(f"no diameter of {name}: give one with --diameter {name}=Å")
        found = plausibility(particles.of_class(name).positions, tomogram.shape, diameters_A[name] / tomogram.spacing_A)
        lines += [f"{name}: {found.line()}", *(f"{name}: {remark}" for remark in found.remarks())]
    return lines
