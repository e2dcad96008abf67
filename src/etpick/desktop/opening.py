"""Pick files for a viewer: which tomogram they belong to, their classes, and what could not be known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from etpick.errors import EtpickError, InputError
from etpick.io.formats.registry import format_to_read, is_pick_file
from etpick.io.formats.text import has_positions, read_text
from etpick.io.pairing import tomograms_in
from etpick.io.picks import read_picks
from etpick.io.sanity import describe_outside, same_spacing
from etpick.io.table import belongs_to, tomogram_name
from etpick.io.tomograms import SEARCHED, open_tomogram
from etpick.types import Particles, Shape3, Tomogram


@dataclass(frozen=True, eq=False)
class Opened:
    """Particles of one tomogram, its shape where known, and sentences about what is unknown or looks wrong."""

    particles: Particles
    shape: Shape3 | None
    notes: tuple[str, ...] = ()


def is_picks(path: Path) -> bool:
    """Whether a file is of picks, by suffix and content: a table without x, y, z is not, nor is an EM volume."""
    if path.is_dir():
        return False
    try:
        return is_pick_file(path) and (format_to_read(path).read is not read_text or has_positions(path))
    except EtpickError:
        return False


def open_picks(path: Path, tomograms: Sequence[Tomogram] = ()) -> list[Opened]:
    """The picks of a file, apart for each tomogram that it is about.

    A tomogram is the one of `tomograms` whose name the picks or their file carry, or a file of that name beside the
    picks. Raises InputError, which says that the tomogram is missing where a format cannot do without.
    """
    tomograms = [*tomograms, *_beside(path)]
    try:
        names = tomograms_in(path)
    except InputError:  # told better when read for good
        names = []
    if len(names) < 2:
        return [_opened(path, _of(tomograms, [*names, path.stem]), None)]
    return [_opened(path, _of(tomograms, [name]), name) for name in names]


def _beside(path: Path) -> list[Tomogram]:
    """The tomograms in the folder of a pick file whose name it carries; those without a spacing are passed over."""
    found = []
    for file in sorted(path.parent.iterdir()):
        if file != path and file.name.lower().endswith(SEARCHED) and belongs_to(path.stem, tomogram_name(file)):
            try:
                found.append(open_tomogram(file))
            except EtpickError:
                continue
    return found


def _of(tomograms: Sequence[Tomogram], names: Sequence[str]) -> Tomogram | None:
    """The tomogram with the longest name that begins one of the names."""
    for name in names:
        fitting = [t for t in tomograms if belongs_to(tomogram_name(name), tomogram_name(t.name))]
        if fitting:
            return max(fitting, key=lambda tomogram: len(tomogram.name))
    return None


def _opened(path: Path, tomogram: Tomogram | None, name: str | None) -> Opened:
    if tomogram is None:
        return _alone(path, name)
    particles = read_picks(path, tomogram=tomogram)
    stated_A, notes = particles.spacing_A, []
    if stated_A and not same_spacing(stated_A, tomogram.spacing_A):
        notes.append(
            f"{path.name} is for voxels of {stated_A:g} Å and {tomogram.name} has {tomogram.spacing_A:g} Å: it is "
            "shown at its own spacing; `etpick convert --bin` brings it to the tomogram's"
        )
        return Opened(replace(particles, tomogram=tomogram.name), None, tuple(notes))
    if outside := describe_outside(particles.positions, tomogram.shape):
        notes.append(f"{path.name} does not fit {tomogram.name}: {outside}")
    return Opened(replace(particles, spacing_A=tomogram.spacing_A), tomogram.shape, tuple(notes))


def _alone(path: Path, name: str | None) -> Opened:
    try:
        particles = read_picks(path, name=name)
    except InputError as error:
        raise InputError(f"{error}. In a viewer: open the tomogram first, or put it beside the picks") from None
    unknown = "size is" if particles.spacing_A else "size and Å per voxel are"
    note = (
        f"{path.name} was opened without its tomogram: the tomogram's {unknown} not known, and picks outside it "
        f"cannot be told. Open it first, or put it beside the picks under the name {particles.tomogram or path.stem}"
    )
    if not particles.spacing_A:
        note += "; until then positions and sizes are in voxels"
    return Opened(particles, None, (note,))
