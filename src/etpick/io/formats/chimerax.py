"""ChimeraX commands (.cxc): a marker for each particle, a model for each class.

A marker's position is Å in the scene, where a map's first voxel has its centre at the map's origin, here 0:

    index = position / spacing

Source: ChimeraX's user guide, commands `marker` and `rename`. Of other commands reading takes no notice. The
class of a marker is the name that its model is given, otherwise the model's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from etpick.errors import InputError
from etpick.io.formats.base import WriteOptions, class_order, finite, read_lines
from etpick.io.table import Grid, PickTable
from etpick.types import Particles

FIRST_MODEL = 100  # above those that a session has usually
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
    about = next((found for line in lines if (found := _REMARK.match(line))), None)
    if not markers and not about:
        raise InputError(f"{path} has no markers: looked for lines such as `marker #1 position 10,20,30`")
    try:
        xyz_A = np.array([[float(marker[i]) for i in (2, 3, 4)] for marker in markers]).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f"{path} has a marker whose position is no number: {error}") from error
    if about and not grid.spacing_A:
        grid = Grid(grid.shape, float(about[2]))
    return PickTable(
        positions=finite(path, grid.from_A(xyz_A[:, ::-1], path)),
        labels=np.array([names.get(marker[1], marker[1]) for marker in markers], dtype=np.str_),
        tomograms=np.full(len(markers), about[1]) if about else None,
        spacing_A=grid.spacing_A,
        in_A=True,
    )


def write_cxc(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write commands that draw the particles; no place for scores or angles."""
    spacing_A = options.known_spacing_A(particles, "ChimeraX")
    order = class_order(particles.classes, options.classes)
    colors = {name: _COLORS[(number - 1) % len(_COLORS)] for name, number in order.items()}
    lines = [remark(options.tomogram_name, spacing_A)]
    lines += marker_lines(particles, spacing_A, order, colors, dict.fromkeys(order, _RADIUS_VX * spacing_A))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def remark(tomogram: str, spacing_A: float) -> str:
    """The comment that tells the tomogram and its spacing when the commands are read back."""
    return f"# etpick: tomogram {tomogram}, spacing_A {spacing_A:.9g}"


def marker_lines(
    particles: Particles,
    spacing_A: float,
    order: Mapping[str, int],
    colors: Mapping[str, str],
    radii_A: Mapping[str, float],
    first_model: int = FIRST_MODEL,
) -> list[str]:
    """A `marker` command for each particle, and a `rename` for each class's model, `first_model` + its number."""
    lines = []
    for (z, y, x), name in zip(particles.positions * spacing_A, particles.classes.tolist(), strict=True):
        place = f"position {x:.4f},{y:.4f},{z:.4f}"
        lines.append(f"marker #{first_model + order[name]} {place} color {colors[name]} radius {radii_A[name]:.4g}")
    found = {str(name) for name in particles.classes}
    return lines + [f'rename #{first_model + number} "{name}"' for name, number in order.items() if name in found]
