"""Motive lists in EM files, of TOM, Artiatomi and ArtiaX: 20 numbers for each particle.

Numbers 8–10 are x, y, z, counted from 1, 11–13 shifts in the same voxels, 1 the score, 5 the tomogram, 17 phi,
18 psi, 19 theta (`etpick.orientation.to_tom`), 20 the class:

    index = number + shift − 1

Source: ArtiaX, src/io/Artiatomi/ArtiatomiParticleData.py. Numbers are 32-bit floats.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from etpick.errors import InputError
from etpick.io.formats.base import WriteOptions, finite, numbers_as_labels, numbers_as_names
from etpick.io.table import Grid, PickTable
from etpick.orientation import from_tom, to_tom
from etpick.types import FloatArray, Particles

_SCORE, _TOMOGRAM, _NUMBER, _CLASS = 0, 4, 5, 19
_POSITION, _SHIFT = slice(7, 10), slice(10, 13)
_PHI_THETA_PSI = [16, 18, 17]
_WIDTH = 20


def is_motive_list(path: Path) -> bool:
    """Whether an EM file is a table 20 wide and one deep, and not a volume."""
    import emfile

    try:
        header, _ = emfile.read(path, header_only=True)
    except (struct.error, OSError):
        return False
    return bool(header["xdim"] == _WIDTH and header["zdim"] == 1)


def read_motive_list(path: Path, grid: Grid) -> PickTable:
    """Read an EM file of 20 numbers for each particle; raises InputError where it is another."""
    rows = _rows(path)
    positions = (rows[:, _POSITION] + rows[:, _SHIFT] - 1)[:, ::-1]
    classes = rows[:, _CLASS]
    return PickTable(
        positions=finite(path, positions / grid.binning),
        labels=numbers_as_labels(classes) if classes.any() else np.full(len(rows), "", dtype=np.str_),
        scores=rows[:, _SCORE],
        angles=from_tom(rows[:, _PHI_THETA_PSI]) if len(rows) else None,
        tomograms=numbers_as_names(rows[:, _TOMOGRAM]),
    )


def _rows(path: Path) -> FloatArray:
    import emfile

    if not is_motive_list(path):
        raise InputError(f"{path} is no motive list: an EM file of 20 numbers for each particle (20 × n × 1)")
    try:
        return np.asarray(emfile.read(path)[1], dtype=np.float64).reshape(-1, _WIDTH)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as an EM file: {error}") from error


def write_motive_list(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write a list of one tomogram, number 1, without shifts."""
    import emfile

    n = len(particles)
    rows = np.zeros((1, n, _WIDTH), dtype=np.float32)
    rows[0, :, _SCORE] = 0 if particles.scores is None else particles.scores
    rows[0, :, _TOMOGRAM] = 1
    rows[0, :, _NUMBER] = np.arange(1, n + 1)
    rows[0, :, _POSITION] = options.voxels(particles)[:, ::-1] + 1
    if particles.angles is not None:
        rows[0, :, _PHI_THETA_PSI] = to_tom(particles.angles).T
    rows[0, :, _CLASS] = options.numbers(particles)
    emfile.write(path, rows)
