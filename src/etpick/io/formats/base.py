"""What a format of pick files is, and what its writer is told beside the particles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError, OutputError
from etpick.io.table import Grid, PickTable
from etpick.types import NAMELESS, FloatArray, Particles, Shape3


@dataclass(frozen=True)
class WriteOptions:
    """What some formats need beside the particles.

    `classes` is the order that numbers them, from 1; `binning` says how many voxels of the file make one of the
    tomogram's, along an axis.
    """

    tomogram_name: str
    tomogram_shape: Shape3 | None = None
    classes: Sequence[str] = ()
    binning: float = 1.0

    def voxels(self, particles: Particles) -> FloatArray:
        """(n, 3) zyx in voxels of the file, where 0 is the centre of the first."""
        return particles.positions * self.binning

    def spacing_A(self, particles: Particles) -> float | None:
        """Edge of the file's voxels in Å, where it is known."""
        return None if particles.spacing_A is None else particles.spacing_A / self.binning

    def known_spacing_A(self, particles: Particles, what: str) -> float:
        """Edge of the tomogram's voxels in Å; raises OutputError where it is not known."""
        if particles.spacing_A is None:
            raise OutputError(f"{what} needs the Å per voxel: give the tomogram (--tomogram), or --spacing")
        return particles.spacing_A

    def known_shape(self, what: str) -> FloatArray:
        """Shape zyx of the tomogram; raises OutputError where it is not known."""
        if self.tomogram_shape is None:
            raise OutputError(
                f"{what} counts from the tomogram's centre: give the tomogram (--tomogram), or its --size"
            )
        return np.array(self.tomogram_shape, dtype=np.float64)

    def numbers(self, particles: Particles) -> NDArray[np.int64]:
        """(n,) the number of each particle's class, as `class_order` says."""
        order = class_order(particles.classes, self.classes)
        return np.array([order[str(name)] for name in particles.classes], dtype=np.int64)


Writer = Callable[[Path, Particles, WriteOptions], None]


@dataclass(frozen=True)
class PickFormat:
    """One kind of pick file: how it is called, read and written, and what it can hold.

    `suffixes` are what its files may end with. Where several formats share one, `recognises` looks at the file;
    without it a format takes what no other recognises. `beside` are files written next to the named one, by
    suffix. `write_folder` writes into a folder and returns the files. `holds` is for the table in the
    documentation: which of class names, class numbers, scores, angles, spacing and tomogram a file keeps. `join` makes
    one file about several tomograms of the files of each.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, Grid], PickTable]
    write: Writer
    recognises: Callable[[Path], bool] | None = None
    beside: Mapping[str, Writer] = field(default_factory=lambda: MappingProxyType({}))
    write_folder: Callable[[Path, Particles, WriteOptions, bool], list[Path]] | None = None
    positions: str = ""
    holds: frozenset[str] = frozenset()
    join: Callable[[Sequence[Path], Path], None] | None = None


def class_order(names: NDArray[np.str_], classes: Sequence[str] = ()) -> dict[str, int]:
    """Class names → numbers from 1: those of `classes` in their order, then any others by the alphabet.

    Names that are whole numbers keep them where no `classes` are given, so that a file of numbers stays one.
    """
    found = sorted({str(name) for name in names})
    if not classes and found and all(name.isdecimal() for name in found):
        return {name: int(name) for name in found}
    return {name: number for number, name in enumerate(dict.fromkeys([*classes, *found]), start=1)}


def single_class(particles: Particles, what: str) -> str:
    """The only class; raises OutputError where there are several, for a format that holds one in a file."""
    found = sorted({str(name) for name in particles.classes})
    if len(found) > 1:
        raise OutputError(f"{what} holds one class and these are {', '.join(found)}: choose one with --only")
    return found[0] if found else NAMELESS


def numbers_as_labels(numbers: FloatArray) -> NDArray[np.str_]:
    """Class numbers as text, whole ones without a decimal point."""
    return np.array([format(float(number), "g") for number in numbers], dtype=np.str_)


def numbers_as_names(numbers: FloatArray) -> NDArray[np.str_] | None:
    """Tomograms that are only numbered, as names; None where there is one, whose name may be anything."""
    return numbers_as_labels(numbers) if len(np.unique(numbers)) > 1 else None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; raises InputError where it is none."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def finite(path: Path, positions: FloatArray) -> FloatArray:
    """The positions themselves; raises InputError naming the first particle with one that is no number."""
    if len(bad := np.flatnonzero(~np.isfinite(positions).all(axis=1))):
        raise InputError(f"particle {bad[0] + 1} of {path} has a position that is no number: correct or remove it")
    return positions
