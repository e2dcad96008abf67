"""Annotations of the CryoET Data Portal (.ndjson): a JSON object on each line, one class in a file.

A location is in voxels from 0 of the tomogram that the annotation belongs to, `xyz_rotation_matrix` puts the
reference into the tomogram:

    index = location

Source: the portal's backend, ingestion_tools/scripts/common/point_converter.py, which inverts RELION's ZYZ
rotation for it. (ArtiaX transposes the matrix on reading; copick takes it as it is.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from etpick.errors import InputError
from etpick.io.formats.base import WriteOptions, finite, read_lines, single_class
from etpick.io.table import Grid, PickTable
from etpick.orientation import angles_of_matrices, matrices_of
from etpick.types import Particles

_MATRIX = "xyz_rotation_matrix"


def read_portal(path: Path, grid: Grid) -> PickTable:
    """Read points, oriented or not; raises InputError naming the line that cannot be read."""
    rows = [_row(path, number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    positions = np.array([[row["location"][axis] for axis in "zyx"] for row in rows], dtype=np.float64)
    oriented = bool(rows) and all(_MATRIX in row for row in rows)
    return PickTable(
        positions=finite(path, positions.reshape(-1, 3) / grid.binning),
        labels=np.full(len(rows), "", dtype=np.str_),
        angles=angles_of_matrices(np.array([row[_MATRIX] for row in rows], dtype=np.float64)) if oriented else None,
    )


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
        for axis in "xyz":
            float(row["location"][axis])
        np.array(row.get(_MATRIX, np.eye(3)), dtype=np.float64).reshape(3, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"line {number} of {path} is no point of the CryoET Data Portal (a location with x, y, z): {error}"
        ) from error
    return row


def write_portal(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write points of one class, oriented where angles are known; raises OutputError where there are several."""
    single_class(particles, "an annotation of the CryoET Data Portal")
    matrices = None if particles.angles is None else matrices_of(particles.angles)
    lines = []
    for row, (z, y, x) in enumerate(options.voxels(particles).tolist()):
        point: dict[str, Any] = {"type": "point" if matrices is None else "orientedPoint"}
        point["location"] = {"x": round(x, 4), "y": round(y, 4), "z": round(z, 4)}
        if matrices is not None:
            point[_MATRIX] = np.round(matrices[row], 9).tolist()
        lines.append(json.dumps(point) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
