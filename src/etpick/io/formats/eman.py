"""EMAN2: boxes in info/NAME_info.json, and .box text.

Since 2018 the json counts voxels of the unbinned tomogram (`apix_unbin` Å each) from the tomogram's centre,
which is size // 2, rounded down, of the tomogram at hand:

    index = box · apix_unbin / spacing + size // 2

Without `apix_unbin` boxes are voxels from 0. A box is [x, y, z, how it came about, score, class], a class has
its name in `class_list`. Source: EMAN2, e2spt_boxer.py. The text is x, y, z in voxels from 0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from etpick.errors import InputError
from etpick.io.formats.base import WriteOptions, class_order, finite, read_lines
from etpick.io.formats.documents import has_key, read_json
from etpick.io.table import Grid, PickTable
from etpick.types import Particles

_BY_HAND, _BOX_VX = "manual", 64


def is_eman(path: Path) -> bool:
    """Whether a JSON file has EMAN2's boxes."""
    return has_key(path, "boxes_3d")


def read_eman(path: Path, grid: Grid) -> PickTable:
    """Read the boxes of an info file; raises InputError."""
    content = read_json(path)
    boxes = content.get("boxes_3d") if isinstance(content, dict) else None
    if not isinstance(boxes, list):
        raise InputError(f"{path} has no boxes_3d: it is not an EMAN2 info file with picks")
    full = [_full(path, number, box) for number, box in enumerate(boxes, start=1)]
    positions = np.array([box[2::-1] for box in full], dtype=np.float64).reshape(-1, 3)
    unbinned_A = _unbinned_A(path, content)
    if unbinned_A is None:
        positions = positions / grid.binning
    else:
        positions = positions * unbinned_A / grid.known_spacing_A(path) + grid.known_shape(path) // 2
    scored = any(box[3] != _BY_HAND for box in full)
    return PickTable(
        positions=finite(path, positions),
        labels=np.array([_class_name(content, box[5]) for box in full], dtype=np.str_),
        scores=np.array([box[4] for box in full], dtype=np.float64) if scored else None,
    )


def _full(path: Path, number: int, box: Any) -> list[Any]:
    """A box of six values; EMAN2 leaves out those at the end that are usual."""
    if not isinstance(box, list) or len(box) < 3:
        raise InputError(f"box {number} of {path} is {box!r}: it should begin with x, y and z")
    full = [*box, *[_BY_HAND, 0.0, 0][max(0, len(box) - 3) :]][:6]
    try:
        return [*(float(value) for value in full[:3]), str(full[3]), float(full[4]), int(full[5])]
    except (TypeError, ValueError) as error:
        raise InputError(f"box {number} of {path} is {box!r}: {error}") from error


def _unbinned_A(path: Path, content: dict[str, Any]) -> float | None:
    if "apix_unbin" not in content:
        return None
    try:
        value = float(content["apix_unbin"])
    except (TypeError, ValueError):
        value = 0.0
    if not value > 0:
        raise InputError(f"apix_unbin of {path} is {content['apix_unbin']!r}, not Å per voxel")
    return value


def _class_name(content: dict[str, Any], number: int) -> str:
    """The name in the list of classes, which is itself or the entry `name` of a table."""
    entry = content.get("class_list", {}).get(str(number), f"particles_{number:02d}")
    return str(entry.get("name", number)) if isinstance(entry, dict) else str(entry)


def write_eman(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write an info file; `binning` says how many voxels of the unbinned tomogram make one."""
    what = "an EMAN2 info file"
    spacing_A = options.known_spacing_A(particles, what)
    order = class_order(particles.classes, options.classes)
    boxes = (particles.positions - options.known_shape(what) // 2) * options.binning
    scores = np.zeros(len(particles)) if particles.scores is None else particles.scores
    how = _BY_HAND if particles.scores is None else "etpick"
    content = {
        "apix_unbin": spacing_A / options.binning,
        "boxes_3d": [
            [round(x, 4), round(y, 4), round(z, 4), how, round(float(score), 7), order[str(name)]]
            for (z, y, x), score, name in zip(boxes.tolist(), scores, particles.classes, strict=True)
        ],
        "class_list": {str(number): {"boxsize": _BOX_VX, "name": name} for name, number in order.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_box(path: Path, grid: Grid) -> PickTable:
    """Read lines of x, y, z."""
    rows = [_box(path, number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    positions = np.array(rows, dtype=np.float64).reshape(-1, 3)[:, ::-1]
    return PickTable(finite(path, positions / grid.binning), np.full(len(rows), "", dtype=np.str_))


def _box(path: Path, number: int, line: str) -> list[float]:
    try:
        x, y, z = (float(text) for text in line.split())
    except ValueError:
        raise InputError(
            f"line {number} of {path} is {line.strip()!r}; a .box file of a tomogram has x, y, z on every line"
        ) from None
    return [x, y, z]


def write_box(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write lines of x, y, z with four decimals; the text has no place for classes, scores or angles."""
    lines = [f"{x:.4f}\t{y:.4f}\t{z:.4f}\n" for z, y, x in options.voxels(particles)]
    path.write_text("".join(lines), encoding="utf-8")
