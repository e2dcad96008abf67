"""Pick files: one function to read and one to write, whatever the format."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.io.atomic import atomic_write
from etpick.io.formats.base import WriteOptions
from etpick.io.formats.registry import SEARCHED, format_to_read, format_to_write, is_pick_file
from etpick.io.formats.text import read_text
from etpick.io.table import Grid, PickTable, belongs_to, tomogram_name
from etpick.types import NAMELESS, NEGATIVE, Particles, Shape3, Tomogram

__all__ = ["SEARCHED", "class_of_label", "is_pick_file", "read_picks", "read_table", "resolve_labels", "write_picks"]


def read_picks(
    path: Path | str,
    *,
    classes: Sequence[str] | None = None,
    tomogram: Tomogram | None = None,
    spacing_A: float | None = None,
    shape: tuple[float, float, float] | None = None,
    name: str | None = None,
    default_class: str | None = None,
    binning: float = 1.0,
    style: str | None = None,
) -> Particles:
    """Read the picks of one tomogram, in its voxels.

    `classes` are the names that may occur, in the project's order: a number in the file means the class at
    that place, from 1. (0 is refused, unless everything is 0 and there is one class: a file from 0 that
    happens to lack its first class could not be told from one that starts at 1.) Without `classes`, labels
    are kept as they are. A row without a class gets `default_class`, or the only class, or the class that
    ends the file's name (`tomo_1_ribosomes.csv`), or, where no `classes` are given, "particle".

    `tomogram` chooses the rows of a file about several, and gives size and spacing to files that count Å or
    from the centre; text whose column `tomogram` names another than the one opened from a file is refused;
    `spacing_A`, `shape` (zyx) and `name` serve where there is no tomogram. `binning` is how many voxels of the
    file make one of the tomogram: positions are divided by it, except where they are in Å. `style` is the name
    of a format (`etpick.io.formats.registry.BY_NAME`), where suffix and content do not tell it.
    `Particles.spacing_A` is what the file says, otherwise the tomogram's.

    Raises InputError.
    """
    path = Path(path)
    table = read_table(
        path, tomogram=tomogram, spacing_A=spacing_A, shape=shape, name=name, binning=binning, style=style
    )
    names = resolve_labels(path, table.labels, classes, default_class)
    known = tomogram.spacing_A if tomogram is not None else spacing_A
    return Particles(
        table.positions,
        names,
        table.scores if len(table) else np.zeros(0),
        table.class_probability,
        table.angles,
        table.spacing_A or known,
        tomogram.name if tomogram is not None else name or _only_name(table),
    )


def read_table(
    path: Path,
    *,
    tomogram: Tomogram | None = None,
    spacing_A: float | None = None,
    shape: tuple[float, float, float] | None = None,
    name: str | None = None,
    binning: float = 1.0,
    style: str | None = None,
) -> PickTable:
    """The rows of one tomogram with their labels as written."""
    if not (np.isfinite(binning) and binning > 0):
        raise InputError(f"binning {binning} of {path} is not a positive number")
    reader = format_to_read(path, style).read
    if tomogram is None:
        return reader(path, Grid(shape, spacing_A, binning)).of_tomogram(name, path)
    table = reader(path, Grid(tomogram.shape, spacing_A or tomogram.spacing_A, binning))
    table = table.of_tomogram(tomogram.name, path)
    if reader is read_text:  # STAR files name the tilt series, whatever the tomogram's file is called
        _refuse_another(path, table, tomogram)
    return table


def _refuse_another(path: Path, table: PickTable, tomogram: Tomogram) -> None:
    """Text that names its tomogram must name this one, at least as far as the shorter name goes."""
    name = _only_name(table)
    if not name or tomogram.path is None:  # an array's name says nothing
        return
    own, stated = tomogram_name(tomogram.name), tomogram_name(name)
    if not (belongs_to(own, stated) or belongs_to(stated, own)):
        raise InputError(
            f"{path} is about the tomogram {name}, not {tomogram.name}: choose another file, or correct its "
            "column tomogram"
        )


def _only_name(table: PickTable) -> str | None:
    return str(table.tomograms[0]) if table.tomograms is not None and len(table) else None


def resolve_labels(
    path: Path, labels: NDArray[np.str_], classes: Sequence[str] | None, default_class: str | None = None
) -> NDArray[np.str_]:
    """Class names for labels as written, as `read_picks` says; raises InputError for an unknown class."""
    if (labels == "").any():
        default = default_class or _default_class(path, classes)
        labels = np.array([str(label) or default for label in labels], dtype=np.str_)
    if classes is None:
        return labels
    distinct = sorted({str(label) for label in labels})
    if distinct == ["0"] and len(classes) == 1:
        return np.full(len(labels), classes[0])
    mapping = {label: class_of_label(label, classes) for label in distinct}
    unknown = [label for label, name in mapping.items() if name is None]
    if unknown:
        raise InputError(
            f"unknown class {', '.join(unknown)} in {path}: the classes are "
            f"{', '.join(f'{i} {name}' for i, name in enumerate(classes, start=1))} (numbers count from 1)"
        )
    return np.array([mapping[str(label)] for label in labels], dtype=np.str_)


def class_of_label(label: str, classes: Sequence[str]) -> str | None:
    """The class that a name or a number from 1 stands for, or None; places marked as no particle keep their name."""
    if label in classes or label == NEGATIVE:
        return label
    try:
        number = float(label)
    except ValueError:
        return None
    return classes[int(number) - 1] if number.is_integer() and 1 <= number <= len(classes) else None


def _default_class(path: Path, classes: Sequence[str] | None) -> str:
    if classes is None:
        return NAMELESS
    if len(classes) == 1:
        return classes[0]
    stem = path.stem.lower()
    fitting = [
        name
        for name in classes
        for ending in (name.lower(), f"{name.lower()}s")
        if belongs_to(stem[::-1], ending[::-1])
    ]
    if not fitting:
        raise InputError(
            f"{path} does not say the class of its picks and there are {len(classes)} classes "
            f"({', '.join(classes)}): add a class column, or end the file's name with the class"
        )
    return max(fitting, key=len)


def write_picks(
    path: Path | str,
    particles: Particles,
    *,
    tomogram_shape: Shape3 | None = None,
    classes: Sequence[str] = (),
    binning: float = 1.0,
    style: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write particles in the format that the suffix of `path` names; returns the path.

    `style` is the name of a format (`etpick.io.formats.registry.BY_NAME`) where several share the suffix: .star
    is "relion4" unless "relion5" or "warp" is asked for. `classes` is the order that numbers them, in formats of
    numbers; voxels are multiplied by `binning`. Formats that count from the tomogram's centre need
    `tomogram_shape` zyx, those in Å particles with a spacing. "copick" writes into the folder of a run, too.
    What a format has no place for is left out. Raises OutputError.
    """
    path = Path(path)
    form = format_to_write(path, style)
    options = WriteOptions(particles.tomogram or path.stem, tomogram_shape, classes, binning)
    if form.write_folder and not path.suffix:
        form.write_folder(path, particles, options, overwrite)
        return path
    with ExitStack() as stack:
        for target, writer in ((path.with_suffix(suffix), writer) for suffix, writer in form.beside.items()):
            writer(stack.enter_context(atomic_write(target, overwrite=overwrite)), particles, options)
        form.write(stack.enter_context(atomic_write(path, overwrite=overwrite)), particles, options)
    return path
