"""Pick files of one program into those of another, by way of voxels of one tomogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from etpick.errors import InputError, OutputError
from etpick.io.atomic import atomic_write, refuse_existing
from etpick.io.formats.base import PickFormat, class_order
from etpick.io.formats.copick import files_in_run, left_in_run
from etpick.io.formats.registry import format_to_read, format_to_write
from etpick.io.formats.tomograms_star import StarTomogram, read_tomograms_star, write_tomograms_star
from etpick.io.picks import read_picks, write_picks
from etpick.io.sanity import FLIPS, SWAPS, describe_outside, flipped, same_spacing, swapped
from etpick.io.table import belongs_to
from etpick.io.tomograms import open_tomogram
from etpick.types import Particles, Shape3, Tomogram


@dataclass(frozen=True)
class Place:
    """The tomogram that picks belong to, as far as it is known: name, shape zyx, spacing, and opened."""

    name: str | None = None
    shape: tuple[float, float, float] | None = None
    spacing_A: float | None = None
    tomogram: Tomogram | None = None

    @property
    def whole_shape(self) -> Shape3 | None:
        """The shape in whole voxels."""
        if self.shape is None:
            return None
        z, y, x = (round(n) for n in self.shape)
        return z, y, x


@dataclass(frozen=True, eq=False)
class Converted:
    """What `convert` read and where it wrote it; `notes` are what was left out or looks wrong."""

    particles: Particles
    source: str
    target: str
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The summary to print."""
        counts = {str(name): int((self.particles.classes == name).sum()) for name in np.unique(self.particles.classes)}
        listed = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no particles"
        of = f" of {self.particles.tomogram}" if self.particles.tomogram else ""
        said = [f"{self.source} → {self.target}: {listed}{of}"]
        return said + [f"  {path}" for path in self.files] + [f"  note: {note}" for note in self.notes]


def convert(
    source: Path | str,
    target: Path | str,
    *,
    from_style: str | None = None,
    to_style: str | None = None,
    tomogram: Path | str | None = None,
    tomograms_star: Path | str | None = None,
    name: str | None = None,
    size_xyz: tuple[int, int, int] | None = None,
    spacing_A: float | None = None,
    binning: float | None = None,
    out_binning: float | None = None,
    swap: str | None = None,
    flip: str | None = None,
    classes: Sequence[str] = (),
    only: Sequence[str] = (),
    write_tomograms: Path | str | None = None,
    overwrite: bool = False,
) -> Converted:
    """Read picks of one tomogram and write them in another format.

    What lies between are voxels of a tomogram: the file `tomogram`, or the one called `name` in RELION's
    `tomograms_star`, or one of `size_xyz` voxels with `spacing_A`. `binning` is how many voxels of the source
    make one of its voxels, `out_binning` the same for the target; both are 1 unless given. `swap` exchanges two axes
    ("xz"), `flip` then counts one from its other end ("z"); both leave out angles, which no longer hold. `classes` are
    names in the order that numbers them, `only` those to keep. `write_tomograms` is where to write a tomograms.star
    that goes with a RELION 5 file.

    Raises InputError and OutputError, which say what option tells the unknown.
    """
    source, target = Path(source), Path(target)
    reading, writing = format_to_read(source, from_style), format_to_write(target, to_style)
    if not writing.write_folder or target.suffix:
        refuse_existing(target, overwrite)
    place = _place(tomogram, tomograms_star, name, size_xyz, spacing_A)
    particles = read_picks(
        source,
        classes=classes or None,
        tomogram=place.tomogram,
        spacing_A=place.spacing_A,
        shape=place.shape,
        name=place.name,
        binning=binning or 1.0,
        style=reading.name,
    )
    if binning is None:
        _refuse_another_spacing(source, particles, place)
    particles = _selected(source, replace(particles, spacing_A=place.spacing_A or particles.spacing_A), only)
    turned, scale = _turned(particles, place, swap, flip), out_binning or 1.0
    if not (np.isfinite(scale) and scale > 0):
        raise OutputError(f"--out-bin {scale} is not a positive number")
    write_picks(
        target,
        turned,
        tomogram_shape=place.whole_shape,
        classes=classes,
        binning=scale,
        style=writing.name,
        overwrite=overwrite,
    )
    files = [*_files(target, writing, turned), *_tomograms_file(write_tomograms, turned, place, scale, overwrite)]
    notes = _notes(turned, place, reading, writing, classes)
    if turned.angles is None and particles.angles is not None:
        notes.append("the angles are left out: on other axes they do not hold")
    if others := left_in_run(target, files) if writing.write_folder else []:
        notes.append(f"{', '.join(others)} of before stay as they were")
    return Converted(turned, reading.title, writing.title, tuple(files), tuple(notes))


def _place(
    tomogram: Path | str | None,
    tomograms_star: Path | str | None,
    name: str | None,
    size_xyz: tuple[int, int, int] | None,
    spacing_A: float | None,
) -> Place:
    if tomogram is not None and tomograms_star is not None:
        raise InputError("--tomogram and --tomograms-star both say the tomogram's size: give one of them")
    if tomogram is not None:
        opened = open_tomogram(tomogram, spacing_A=spacing_A, name=name)
        if size_xyz and size_xyz[::-1] != opened.shape:
            raise InputError(f"{tomogram} is {opened.shape[::-1]} voxels (x, y, z), not {size_xyz}: leave --size out")
        return Place(opened.name, opened.shape, opened.spacing_A, opened)
    if tomograms_star is not None:
        listed = _listed(Path(tomograms_star), name)
        return Place(listed.name, listed.binned_shape, listed.spacing_A)
    return Place(name, None if size_xyz is None else size_xyz[::-1], spacing_A)


def _listed(path: Path, name: str | None) -> StarTomogram:
    """The tomogram of a tomograms.star that is meant: the only one, or the one whose name begins `name`."""
    tomograms = read_tomograms_star(path)
    fitting = [t for t in tomograms.values() if name is None or belongs_to(name, t.name)]
    if not fitting or (name is None and len(fitting) > 1):
        which = f"has no tomogram {name}" if name else f"holds {len(fitting)} tomograms: say which one with --name"
        raise InputError(f"{path} {which} ({', '.join(list(tomograms)[:10])})")
    return max(fitting, key=lambda t: len(t.name))


def _refuse_another_spacing(source: Path, particles: Particles, place: Place) -> None:
    stated_A, spacing_A = particles.spacing_A, place.spacing_A
    if stated_A and spacing_A and not same_spacing(stated_A, spacing_A):
        raise InputError(
            f"{source.name} is for voxels of {stated_A:g} Å and the tomogram has {spacing_A:g} Å: add --bin "
            f"{spacing_A / stated_A:.4g}, or --bin 1 where the file states a wrong spacing"
        )


def _selected(source: Path, particles: Particles, only: Sequence[str]) -> Particles:
    if not only:
        return particles
    found = sorted({str(name) for name in particles.classes})
    if missing := [name for name in only if name not in found]:
        raise InputError(f"no pick of class {', '.join(missing)} in {source}: it holds {', '.join(found) or 'none'}")
    return particles.select(np.isin(particles.classes, list(only)))


def _turned(particles: Particles, place: Place, swap: str | None, flip: str | None) -> Particles:
    """With other axes, where a mistake in the file asks for it."""
    if swap is None and flip is None:
        return particles
    positions = particles.positions
    if swap is not None:
        if swap not in SWAPS:
            raise InputError(f"--swap {swap}: choose one of {', '.join(SWAPS)}")
        positions = swapped(positions, swap)
    if flip is not None:
        if flip not in FLIPS:
            raise InputError(f"--flip {flip}: choose one of {', '.join(FLIPS)}")
        if place.shape is None:
            raise InputError(f"--flip {flip} needs the tomogram's size: give --tomogram, --tomograms-star or --size")
        positions = flipped(positions, place.shape, flip)
    return replace(particles, positions=positions, angles=None)


def _files(target: Path, form: PickFormat, particles: Particles) -> list[Path]:
    if form.write_folder and not target.suffix:
        return files_in_run(target, {str(name) for name in particles.classes})
    return [target, *(target.with_suffix(suffix) for suffix in form.beside)]


def _tomograms_file(
    path: Path | str | None, particles: Particles, place: Place, binning: float, overwrite: bool
) -> list[Path]:
    if path is None:
        return []
    if place.shape is None or particles.spacing_A is None:
        raise OutputError("a tomograms.star needs the tomogram's size and spacing: give --tomogram, or both of them")
    z, y, x = (round(n * binning) for n in place.shape)
    listed = StarTomogram(particles.tomogram or Path(path).stem, (z, y, x), particles.spacing_A / binning, binning)
    with atomic_write(path, overwrite=overwrite) as temporary:
        write_tomograms_star(temporary, listed)
    return [Path(path)]


def _notes(
    particles: Particles, place: Place, reading: PickFormat, writing: PickFormat, classes: Sequence[str]
) -> list[str]:
    notes = []
    if place.whole_shape and (problem := describe_outside(particles.positions, place.whole_shape)):
        notes.append(problem)
    lost = [name for name in ("scores", "angles") if getattr(particles, name) is not None and name not in writing.holds]
    if lost:
        notes.append(f"{' and '.join(lost)} of {reading.title} have no place in {writing.title}")
    order = class_order(particles.classes, classes)
    if "class numbers" in writing.holds and [str(number) for number in order.values()] != list(order):
        numbers = ", ".join(f"{number} {name}" for name, number in order.items())
        alike = "" if classes else "; with other classes in a file it would be otherwise, --class fixes the order"
        notes.append(f"classes are numbered: {numbers}{alike}")
    elif not writing.holds & {"class names", "class numbers"} and len(order) > 1:
        notes.append(f"{writing.title} does not tell the classes {', '.join(order)} apart")
    return notes
