"""ChimeraX commands (.cxc): a marker for each particle, a model for each class.

A marker's position is Å in the scene, where a map's first voxel has its centre at the map's origin, here 0:

    index = position / spacing

Source: ChimeraX's user guide, commands `marker` and `rename`. Of other commands reading takes no notice. The
class of a marker is the name that its model is given, otherwise the model's number.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from etpick.errors import InputError
from etpick.io.formats.base import WriteOptions, class_order, finite, read_lines
from etpick.io.table import Grid, PickTable
from etpick.types import Particles

_FIRST_MODEL = 100  # above those that a session has usually
_RADIUS_VX = 4.0
_COLORS = ("#e41a1c", "#377eb8", "#4daf4a", "#ff7f00", "#984ea3", "#17becf")
_MARKER = re.compile(r"marker\s+#([\d.]+)\s+position\s+([^,\s]+),([^,\s]+),([^,\s]+)", re.IGNORECASE)
_RENAME = re.compile(r"rename\s+#([\d.]+)\s+\"?([^\"]+?)\"?\s*$", re.IGNORECASE)
_REMARK = re.compile(r"#\s*etpick: tomogram (.*), spacing_A ([\d.eE+-]+)\s*$")


def read_cxc(path: Path, grid: Grid) -> PickTable:
    """Read the markers of a command file; raises InputError where there is none."""
    lines = [line.strip() for line in read_lines(path)]
    markers = [found for line in lines if (found := _MARKER.match(line))]
    names = {found[1]: found[2] for line in lines if (found := _RENAME.match(line))}
    remark = next((found for line in lines if (found := _REMARK.match(line))), None)
    if not markers and not remark:
        raise InputError(f"{path} has no markers: looked for lines such as `marker #1 position 10,20,30`")
    try:
        xyz_A = np.array([[float(marker[i]) for i in (2, 3, 4)] for marker in markers]).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f"{path} has a marker whose position is no number: {error}") from error
    if remark and not grid.spacing_A:
        grid = Grid(grid.shape, float(remark[2]))
    return PickTable(
        positions=finite(path, grid.from_A(xyz_A[:, ::-1], path)),
        labels=np.array([names.get(marker[1], marker[1]) for marker in markers], dtype=np.str_),
        tomograms=np.full(len(markers), remark[1]) if remark else None,
        spacing_A=grid.spacing_A,
    )


def write_cxc(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write commands that draw the particles; no place for scores or angles."""
    spacing_A = options.known_spacing_A(particles, "ChimeraX")
    order = class_order(particles.classes, options.classes)
    lines = [f"# etpick: tomogram {options.tomogram_name}, spacing_A {spacing_A:.9g}"]
    for (z, y, x), name in zip(particles.positions * spacing_A, particles.classes, strict=True):
        number = order[str(name)]
        color = _COLORS[(number - 1) % len(_COLORS)]
        place = f"position {x:.4f},{y:.4f},{z:.4f}"
        lines.append(f"marker #{_FIRST_MODEL + number} {place} color {color} radius {_RADIUS_VX * spacing_A:.4g}")
    found = {str(name) for name in particles.classes}
    lines += [f'rename #{_FIRST_MODEL + number} "{name}"' for name, number in order.items() if name in found]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
