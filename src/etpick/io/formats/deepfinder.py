"""DeepFinder object lists (.xml): attributes x, y, z in voxels from 0, class_label, and phi, psi, the.

    index = attribute

`cluster_size` is a count of voxels, no chance, and is passed over. Angles are TOM's (`etpick.orientation.to_tom`).
Source: DeepFinder, utils/objl.py.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from etpick.errors import InputError
from etpick.io.formats.base import WriteOptions, finite, numbers_as_labels, numbers_as_names
from etpick.io.table import Grid, PickTable
from etpick.orientation import from_tom, to_tom
from etpick.types import FloatArray, Particles

_ANGLES = ("phi", "the", "psi")


def is_object_list(path: Path) -> bool:
    """Whether an XML file begins with DeepFinder's element."""
    with path.open("rb") as file:
        return b"<objlist" in file.read(500)


def read_deepfinder(path: Path, grid: Grid) -> PickTable:
    """Read an object list; raises InputError naming the object that cannot be read."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise InputError(f"{path} cannot be read as XML: {error}") from error
    if root.tag != "objlist":
        raise InputError(f"{path} is XML of {root.tag!r}, not DeepFinder's objlist")
    objects = root.findall("object")
    has = {name: bool(objects) and all(o.get(name) is not None for o in objects) for name in (*_ANGLES, "tomo_idx")}
    return PickTable(
        positions=finite(path, _numbers(path, objects, "z", "y", "x") / grid.binning),
        labels=numbers_as_labels(_numbers(path, objects, "class_label")[:, 0]),
        angles=from_tom(_numbers(path, objects, *_ANGLES)) if all(has[name] for name in _ANGLES) else None,
        tomograms=numbers_as_names(_numbers(path, objects, "tomo_idx")[:, 0]) if has["tomo_idx"] else None,
    )


def _numbers(path: Path, objects: list[ElementTree.Element], *names: str) -> FloatArray:
    """(n, attributes)"""
    values = np.zeros((len(objects), len(names)))
    for row, item in enumerate(objects):
        for column, name in enumerate(names):
            try:
                values[row, column] = float(item.get(name, ""))
            except ValueError:
                raise InputError(f"object {row + 1} of {path}: {name} is {item.get(name)!r}, not a number") from None
    return values


def write_deepfinder(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write an object list of one tomogram; it has no place for scores."""
    root = ElementTree.Element("objlist")
    angles = None if particles.angles is None else to_tom(particles.angles)
    for row, ((z, y, x), number) in enumerate(zip(options.voxels(particles), options.numbers(particles), strict=True)):
        item = ElementTree.SubElement(root, "object", obj_id=str(row), class_label=str(number))
        for name, value in (("x", x), ("y", y), ("z", z)):
            item.set(name, f"{value:.4f}")
        if angles is not None:
            for name, value in zip(_ANGLES, angles[row], strict=True):
                item.set(name, f"{value:.4f}")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="unicode")
