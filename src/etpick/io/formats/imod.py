"""IMOD models (.mod) and point files, and PEET's motive lists beside models.

In x and y IMOD counts from the edge of the first voxel, in z from its centre: 3dmod puts a point in the middle
of the first voxel at (0.5, 0.5, 0).

    z, y, x indices = z, y − ½, x − ½

(IMOD's own files show it: points clicked on a voxel read (438.5, 898.5, 46). Others who add ½ to z, or to
nothing, are half a voxel off.) Classes are objects with their names. A point file has x y z on each line, with
object and contour numbers before where there are several (model2point -object).

PEET keeps positions in a model and the rest in a motive list beside it, a CSV with the header CCC,…: columns
11–13 are shifts in voxels, 17 phi, 18 psi, 19 theta (`etpick.orientation.to_tom`), 20 the class, 1 the score.
"""

from __future__ import annotations

import csv
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etpick.errors import InputError
from etpick.io.formats.base import WriteOptions, class_order, finite, numbers_as_labels, read_lines
from etpick.io.table import Grid, PickTable, belongs_to
from etpick.orientation import from_tom, to_tom
from etpick.types import FloatArray, ParticleClass, Particles

if TYPE_CHECKING:
    from imodmodel import ImodModel

_CENTRE_OF_FIRST = np.array([0.0, 0.5, 0.5])
"""zyx of the centre of the first voxel in IMOD's coordinates."""

_NANOMETRES = -9
_SCATTERED = 1 << 9


def read_model(path: Path, grid: Grid) -> PickTable:
    """Read the points of all objects; an object's name is the class, or its number where it has none."""
    model = _model(path)
    points, labels = [np.zeros((0, 3))], []
    for number, item in enumerate(model.objects, start=1):
        for contour in item.contours:
            points.append(np.asarray(contour.points, dtype=np.float64))
            labels += [str(item.header.name) or str(number)] * len(contour.points)
    only_unnamed = set(labels) == {"1"} and len(model.objects) == 1
    header = model.header
    return PickTable(
        positions=finite(path, _indices(np.concatenate(points)) / grid.binning),
        labels=np.array([""] * len(labels) if only_unnamed else labels, dtype=np.str_),
        spacing_A=grid.stated(10 * header.pixelsize if header.units == _NANOMETRES else None),
    )


def _model(path: Path) -> ImodModel:
    import imodmodel

    try:
        model: ImodModel = imodmodel.ImodModel.from_file(path)
    except (ValueError, struct.error, IndexError, OSError) as error:
        raise InputError(f"{path} cannot be read as an IMOD model: {error}") from error
    return model


def _indices(points: FloatArray) -> FloatArray:
    """(n, 3) xyz of a model → zyx voxel indices."""
    return np.asarray(points.reshape(-1, 3)[:, ::-1] - _CENTRE_OF_FIRST, dtype=np.float64)


def write_model(
    path: Path, particles: Particles, options: WriteOptions, looks: Mapping[str, ParticleClass] | None = None
) -> None:
    """Write an object of scattered points for each class; x, y, z are 32-bit floats.

    `looks` tell colours, and diameters that become the radius of points, whole voxels of at least 1; they need
    particles with a spacing. Without, points are green and 4 voxels in radius.
    """
    from imodmodel.models import Contour, ContourHeader, ImodModel, ModelHeader, Object, ObjectHeader

    points = (options.voxels(particles) + _CENTRE_OF_FIRST)[:, ::-1]
    objects = []
    order = class_order(particles.classes, options.classes)
    for name in sorted({str(name) for name in particles.classes}, key=lambda name: order[name]):
        chosen = points[particles.classes == name]
        contour = Contour(header=ContourHeader(psize=len(chosen)), points=chosen)
        look = {} if looks is None else _look(looks[name], options.known_spacing_A(particles, "3dmod"))
        header = ObjectHeader(name=name, contsize=1, flags=_SCATTERED, **{"pdrawsize": 4, **look})
        objects.append(Object(header=header, contours=[contour]))
    z, y, x = np.round(np.array(options.tomogram_shape or (0, 0, 0)) * options.binning).astype(int).tolist()
    header = ModelHeader(xmax=x, ymax=y, zmax=z, objsize=len(objects))
    if (spacing_A := options.spacing_A(particles)) is not None:
        header.pixelsize, header.units = spacing_A / 10, _NANOMETRES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # imodmodel calls what pydantic has renamed
        ImodModel(header=header, objects=objects).to_file(path)


def _look(look: ParticleClass, spacing_A: float) -> dict[str, Any]:
    """Colour and radius of an object's points, as its header says them."""
    rgb = [int(look.color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    radius_vx = max(1, round(look.diameter_A / 2 / spacing_A))
    return {"pdrawsize": radius_vx, **dict(zip(("red", "green", "blue"), rgb, strict=True))}


def read_points(path: Path, grid: Grid) -> PickTable:
    """Read lines of x y z, contour x y z or object contour x y z."""
    rows = [(number, line.split()) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    width = len(rows[0][1]) if rows else 5
    values = np.array([_row(path, number, fields, width) for number, fields in rows]).reshape(-1, width)
    return PickTable(
        positions=finite(path, _indices(values[:, -3:]) / grid.binning),
        labels=numbers_as_labels(values[:, 0]) if width == 5 else np.full(len(values), "", dtype=np.str_),
    )


def _row(path: Path, number: int, fields: list[str], width: int) -> list[float]:
    if len(fields) != width or width not in (3, 4, 5):
        raise InputError(
            f"line {number} of {path} has {len(fields)} columns; a point file has x y z, contour x y z, or "
            "object contour x y z on every line"
        )
    try:
        return [float(text) for text in fields]
    except ValueError:
        raise InputError(f"line {number} of {path} is {' '.join(fields)!r}, not numbers") from None


def write_points(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write lines of object, contour (always 1), x, y, z for point2model; objects are the classes' numbers."""
    points = options.voxels(particles) + _CENTRE_OF_FIRST
    numbers = options.numbers(particles)
    lines = [f"{n} 1 {x:.4f} {y:.4f} {z:.4f}\n" for n, (z, y, x) in zip(numbers, points, strict=True)]
    path.write_text("".join(lines), encoding="utf-8")


_MOTL = ("CCC", "reserved", "reserved", "pIndex", "wedgeWT", *["NA"] * 5, "xOffset", "yOffset", "zOffset",
         "NA", "NA", "reserved", "phi", "psi", "theta", "reserved")  # fmt: skip
_OFFSETS, _PHI_THETA_PSI, _CLASS = slice(10, 13), [16, 18, 17], 19


def is_motl(path: Path) -> bool:
    """Whether a CSV begins like PEET's motive lists."""
    with path.open("rb") as file:
        return file.readline().lstrip(b"\xef\xbb\xbf").strip().upper().startswith(b"CCC,")


def read_peet(path: Path, grid: Grid) -> PickTable:
    """Read a motive list and the model beside it; raises InputError where either is missing or they differ."""
    model = read_model(_model_of(path), Grid())
    rows = [row for row in csv.reader(read_lines(path)[1:]) if row]
    try:
        values = np.array([[float(text) for text in row[:20]] for row in rows], dtype=np.float64).reshape(-1, 20)
    except ValueError as error:
        raise InputError(f"{path} cannot be read as a PEET motive list of 20 columns: {error}") from error
    if len(values) != len(model):
        raise InputError(f"{path} has {len(values)} particles but its model has {len(model)}: give the matching pair")
    classes = values[:, _CLASS]
    return PickTable(
        positions=finite(path, (model.positions + values[:, _OFFSETS][:, ::-1]) / grid.binning),
        labels=numbers_as_labels(classes) if classes.any() else np.full(len(values), "", dtype=np.str_),
        scores=values[:, 0],
        angles=from_tom(values[:, _PHI_THETA_PSI]) if len(values) else None,
        spacing_A=grid.stated(model.spacing_A),
    )


def _model_of(path: Path) -> Path:
    """The model whose name begins the list's: t1.mod of t1_motl.csv."""
    fitting = [file for file in path.parent.glob("*.mod") if belongs_to(path.stem, file.stem)]
    if not fitting:
        raise InputError(
            f"{path} is a PEET motive list, which holds no positions: put its model beside it, named {path.stem}.mod"
        )
    return max(fitting, key=lambda file: len(file.stem))


def write_peet(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write a motive list whose rows follow the points of the model beside it."""
    n = len(particles)
    values = np.zeros((n, 20))
    values[:, 0] = 0 if particles.scores is None else particles.scores
    values[:, 3] = np.arange(1, n + 1)
    if particles.angles is not None:
        values[:, _PHI_THETA_PSI] = to_tom(particles.angles)
    values[:, _CLASS] = options.numbers(particles)
    lines = [",".join(_MOTL), *(",".join(f"{value:.9g}" for value in row) for row in values)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_peet_model(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write the model of a motive list: all points in one contour, in the order of the list."""
    together = Particles(particles.positions, np.full(len(particles), "particles"), spacing_A=particles.spacing_A)
    write_model(path, together, WriteOptions(options.tomogram_name, options.tomogram_shape, (), options.binning))
