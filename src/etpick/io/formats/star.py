"""STAR files of particles in tomograms: RELION 3.1, 4 and 5, Warp and M.

RELION 3 and 4: `rlnCoordinateX/Y/Z` are voxels of the unbinned tomogram. We take them as array indices, so 0
is the centre of the first voxel; versions of RELION differ among themselves by one unbinned voxel here
(particle_set.cpp adds 1.0 in version 4 and no longer in 5).

RELION 5: `rlnCenteredCoordinateX/Y/ZAngst` are Å from the tomogram's centre, which in RELION's own code is
size / 2 without rounding (particle_set.cpp, getParticleCoordDecenteredPixel: divide by the pixel size, add
the centre; tomogram_set.cpp: the centre is size / 2.0), indices from 0. Its napari plugin says size / 2 − 1
(RELION issue 1137), one voxel less; we follow the code that extracts particles:

    voxel = coordinate_A / spacing_A + size / 2

Warp has RELION's columns in voxels of any binning, the tilt series in `rlnMicrographName`; M's species have
`wrpCoordinateX1/Y1/Z1` in Å from the centre of the first voxel (M divides by nothing: its own table is RELION's
coordinates times the pixel size), `wrpAngleRot1/Tilt1/Psi1` and `wrpSourceName`.

`rlnOriginX/Y/ZAngst` are subtracted on reading. Class names travel in `etpickClassName`, which RELION keeps
without using; `rlnClassNumber` is the number of the class, from 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from etpick.errors import InputError, OutputError
from etpick.io.formats.base import WriteOptions
from etpick.io.table import Grid, PickTable
from etpick.orientation import angles_of, rotation_of
from etpick.types import FloatArray, Particles

if TYPE_CHECKING:
    import pandas as pd

_VOXELS = ("rlnCoordinateZ", "rlnCoordinateY", "rlnCoordinateX")
_CENTRED = ("rlnCenteredCoordinateZAngst", "rlnCenteredCoordinateYAngst", "rlnCenteredCoordinateXAngst")
_ANGSTROM = (
    ("wrpCoordinateZ1", "wrpCoordinateY1", "wrpCoordinateX1"),
    ("wrpCoordinateZ", "wrpCoordinateY", "wrpCoordinateX"),
)
_ORIGINS = ("rlnOriginZAngst", "rlnOriginYAngst", "rlnOriginXAngst")
_PIXEL_ORIGINS = ("rlnOriginZ", "rlnOriginY", "rlnOriginX")
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_ALL_ANGLES = (
    _ANGLES,
    ("wrpAngleRot1", "wrpAngleTilt1", "wrpAnglePsi1"),
    ("wrpAngleRot", "wrpAngleTilt", "wrpAnglePsi"),
)
_SUBTOMOGRAM = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
_NAMES = ("rlnTomoName", "rlnMicrographName", "wrpSourceName")
_PIXEL_SIZES = ("rlnTomoTiltSeriesPixelSize", "rlnPixelSize")
_BOX_PIXEL, _BOX_BINNING = "rlnImagePixelSize", "rlnTomoSubtomogramBinning"
_CLASS_NAME, _CLASS_NUMBER = "etpickClassName", "rlnClassNumber"
_SCORE, _PROBABILITY = "rlnAutopickFigureOfMerit", "etpickClassProbability"


def read_star(path: Path, grid: Grid) -> PickTable:
    """Read the block of particles of a file of RELION 3, 4 or 5, Warp or M; raises InputError.

    Where RELION 4 or 5 has turned whole subtomograms (`rlnTomoSubtomogramRot`), particles lie and shift within them:
    orientations are A_subtomogram · A_particle, centres coordinate − A_subtomogram · origin (its particle_set.cpp).
    """
    blocks = _blocks(path)
    frame = _particles(path, blocks)
    pixel = _pixel_size(blocks, frame)
    spacing = grid.spacing_A or (pixel * grid.binning if pixel else None)
    positions = _positions(path, frame, Grid(grid.shape, spacing, grid.binning))
    labels = next((frame[name] for name in (_CLASS_NAME, _CLASS_NUMBER) if name in frame), [""] * len(frame))
    tomograms = next((frame[name] for name in _NAMES if name in frame), None)
    return PickTable(
        positions=positions,
        labels=np.array([str(label) for label in labels], dtype=np.str_),
        scores=_numbers(path, frame, _SCORE) if _SCORE in frame else None,
        class_probability=_numbers(path, frame, _PROBABILITY) if _PROBABILITY in frame else None,
        angles=_angles(path, frame),
        tomograms=None if tomograms is None else np.array([str(name) for name in tomograms], dtype=np.str_),
        spacing_A=grid.stated(pixel) if _is_in_voxels(frame) else None,
        in_A=not _is_in_voxels(frame),
    )


def _blocks(path: Path) -> dict[str, pd.DataFrame]:
    import pandas as pd
    import starfile

    try:
        found = starfile.read(path, always_dict=True, parse_as_string=[_CLASS_NAME, *_NAMES])
    except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise InputError(f"{path} cannot be read as a STAR file: {error}") from error
    return {name: pd.DataFrame([block]) if isinstance(block, dict) else block for name, block in found.items()}


def _particles(path: Path, blocks: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    for columns in (_CENTRED, _VOXELS, *_ANGSTROM):
        for frame in blocks.values():
            if set(columns) <= set(frame.columns):
                return frame
    if not blocks:
        raise InputError(f"{path} is empty: a STAR file of particles has a data_ block with coordinates")
    listed = ", ".join(dict.fromkeys(str(column) for frame in blocks.values() for column in frame.columns))
    raise InputError(
        f"{path} has no particle coordinates (rlnCoordinateX/Y/Z, rlnCenteredCoordinateX/Y/ZAngst or "
        f"wrpCoordinateX1/Y1/Z1): found {listed}"
    )


def _is_centred(frame: pd.DataFrame) -> bool:
    return set(_CENTRED) <= set(frame.columns)


def _is_in_voxels(frame: pd.DataFrame) -> bool:
    return set(_VOXELS) <= set(frame.columns) and not _is_centred(frame)


def _positions(path: Path, frame: pd.DataFrame, grid: Grid) -> FloatArray:
    """(n, 3) zyx voxels of the tomogram."""
    shift_A = _origins_A(path, frame)
    if shift_A.any() and grid.spacing_A is None:
        raise InputError(
            f"{path} shifts particles by rlnOriginX/Y/ZAngst: give the spacing (--spacing) or the tomogram (--tomogram)"
        )
    shift = shift_A / grid.spacing_A if grid.spacing_A else shift_A
    if not _is_centred(frame):
        angstrom = next((columns for columns in _ANGSTROM if set(columns) <= set(frame.columns)), None)
        if angstrom and not set(_VOXELS) <= set(frame.columns):
            return grid.from_A(_matrix(path, frame, angstrom), path)
        return _matrix(path, frame, _VOXELS) / grid.binning - shift
    if grid.shape is None or grid.spacing_A is None:
        raise InputError(
            f"{path} counts Å from the tomogram's centre (RELION 5): give the tomogram (--tomogram), or its size and "
            "spacing (--size and --spacing, or --tomograms-star), which turn them into voxels"
        )
    return _matrix(path, frame, _CENTRED) / grid.spacing_A + np.array(grid.shape) / 2 - shift


def _origins_A(path: Path, frame: pd.DataFrame) -> FloatArray:
    shift = _matrix(path, frame, _ORIGINS, absent_as_zero=True)
    if _matrix(path, frame, _PIXEL_ORIGINS, absent_as_zero=True).any():
        raise InputError(f"{path} shifts particles by rlnOriginX/Y/Z in pixels of unknown size: convert to Å first")
    whole = _subtomograms(path, frame)
    if whole is None or not shift.any():
        return shift
    return np.asarray(rotation_of(whole).apply(shift[:, ::-1])[:, ::-1], dtype=np.float64)


def _angles(path: Path, frame: pd.DataFrame) -> FloatArray | None:
    whole = _subtomograms(path, frame)
    columns = next((columns for columns in _ALL_ANGLES if set(columns) <= set(frame.columns)), None)
    if columns is None:
        return whole
    own = _matrix(path, frame, columns)
    return own if whole is None else angles_of(rotation_of(whole) * rotation_of(own))


def _subtomograms(path: Path, frame: pd.DataFrame) -> FloatArray | None:
    """(n, 3) rot, tilt, psi of whole subtomograms; None where none is turned."""
    whole = _matrix(path, frame, _SUBTOMOGRAM, absent_as_zero=True)
    return whole if whole.any() else None


def _matrix(path: Path, frame: pd.DataFrame, columns: Sequence[str], *, absent_as_zero: bool = False) -> FloatArray:
    if absent_as_zero:
        zeros = np.zeros(len(frame))
        return np.stack([_numbers(path, frame, c) if c in frame else zeros for c in columns], axis=1)
    return np.stack([_numbers(path, frame, column) for column in columns], axis=1)


def _numbers(path: Path, frame: pd.DataFrame, column: str) -> FloatArray:
    import pandas as pd

    values = np.asarray(pd.to_numeric(frame[column], errors="coerce"), dtype=np.float64)
    bad = np.flatnonzero(np.isnan(values))
    if len(bad) and column not in (_SCORE, _PROBABILITY):
        raise InputError(
            f"particle {bad[0] + 1} of {path}: {column} is {str(frame[column].iloc[bad[0]])!r}, not a number"
        )
    return values


def _pixel_size(blocks: Mapping[str, pd.DataFrame], particles: pd.DataFrame) -> float | None:
    """Å per voxel of the unbinned tomogram, where the particles or the optics groups say so, and say one.

    The pixel size of boxes counts only together with their binning.
    """
    for frame in (particles, *blocks.values()):
        for column in _PIXEL_SIZES:
            if column in frame and len(frame):
                return _the_only(frame[column])
        if {_BOX_PIXEL, _BOX_BINNING} <= set(frame.columns) and len(frame):
            return _the_only(frame[_BOX_PIXEL].astype(float) / frame[_BOX_BINNING].astype(float))
    return None


def _the_only(values: pd.Series) -> float | None:
    """The value that all have to a thousandth, or None: groups of several pixel sizes speak of several tomograms."""
    numbers = np.asarray(values, dtype=np.float64)
    same = numbers[0] > 0 and np.allclose(numbers, numbers[0], rtol=1e-3, atol=0)
    return float(numbers[0]) if same else None


def write_relion4(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write an optics block and a particle block in voxels."""
    place = dict(zip(reversed(_VOXELS), options.voxels(particles).T[::-1], strict=True))
    _write(path, {"optics": _optics(particles, options), "particles": _rows(particles, options, place)})


def write_relion5(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write an optics block and a particle block in Å from the centre; needs the tomogram's shape and spacing."""
    place = dict(zip(reversed(_CENTRED), _centred_A(particles, options).T[::-1], strict=True))
    _write(path, {"optics": _optics(particles, options), "particles": _rows(particles, options, place)})


def write_warp(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write one block for `WarpTools ts_export_particles` or M: voxels, the series' name with .tomostar."""
    series = re.sub(r"_\d+\.\d+Apx$", "", options.tomogram_name)  # Warp's tomograms: SERIES_10.00Apx.mrc
    place = dict(zip(reversed(_VOXELS), options.voxels(particles).T[::-1], strict=True))
    rows = _rows(particles, options, place).drop(columns=[*_ORIGINS, "rlnOpticsGroup", "rlnTomoName"])
    rows.insert(0, "rlnMicrographName", f"{series}.tomostar")
    if (spacing_A := options.spacing_A(particles)) is not None:
        rows["rlnPixelSize"] = spacing_A
    _write(path, {"particles": rows})


def join_stars(parts: Sequence[Path], path: Path) -> None:
    """Make one file of those that the functions above wrote, each of a tomogram; equal optics become one group."""
    import pandas as pd

    optics: list[pd.DataFrame] = []
    particles: list[pd.DataFrame] = []
    for part in parts:
        blocks = _blocks(part)
        rows = blocks["particles"]
        if "optics" in blocks:
            own = blocks["optics"].drop(columns=["rlnOpticsGroup", "rlnOpticsGroupName"])
            number = next((i for i, other in enumerate(optics) if other.equals(own)), len(optics))
            optics += [own] if number == len(optics) else []
            rows = rows.assign(rlnOpticsGroup=number + 1)
        particles.append(rows)
    joined = pd.concat([rows for rows in particles if len(rows)] or particles[:1], ignore_index=True)
    if not optics:
        return _write(path, {"particles": joined})
    groups = pd.concat(optics, ignore_index=True)
    groups.insert(0, "rlnOpticsGroup", range(1, len(groups) + 1))
    groups.insert(1, "rlnOpticsGroupName", [f"opticsGroup{i}" for i in groups["rlnOpticsGroup"]])
    return _write(path, {"optics": groups, "particles": joined})


def _write(path: Path, blocks: dict[str, pd.DataFrame]) -> None:
    import starfile

    text = starfile.to_string(blocks, float_format="%.9g", na_rep="nan")
    body = [line for line in text.splitlines() if not line.startswith("# Created by")]  # it holds the time of day
    path.write_text("\n".join(["# Written by etpick", *body]) + "\n", encoding="utf-8")


def _optics(particles: Particles, options: WriteOptions) -> pd.DataFrame:
    import pandas as pd

    optics: dict[str, list[object]] = {"rlnOpticsGroup": [1], "rlnOpticsGroupName": ["opticsGroup1"]}
    if (spacing_A := options.spacing_A(particles)) is not None:
        optics["rlnTomoTiltSeriesPixelSize"] = [spacing_A]
    return pd.DataFrame(optics)


def _rows(particles: Particles, options: WriteOptions, place: Mapping[str, FloatArray]) -> pd.DataFrame:
    """All columns of the particles; `place` are those of the position."""
    import pandas as pd

    n = len(particles)
    columns: dict[str, object] = {"rlnTomoName": [options.tomogram_name] * n, **place}
    if particles.angles is not None:
        columns |= zip(_ANGLES, particles.angles.T, strict=True)
    columns |= {name: np.zeros(n) for name in reversed(_ORIGINS)}
    columns[_CLASS_NUMBER] = options.numbers(particles)
    columns["rlnOpticsGroup"] = np.ones(n, dtype=int)
    if particles.scores is not None:
        columns[_SCORE] = particles.scores
    if particles.class_probability is not None:
        columns[_PROBABILITY] = particles.class_probability
    columns[_CLASS_NAME] = [str(name) for name in particles.classes]
    return pd.DataFrame(columns)


def _centred_A(particles: Particles, options: WriteOptions) -> FloatArray:
    if options.tomogram_shape is None or particles.spacing_A is None:
        raise OutputError(
            "RELION 5 counts Å from the tomogram's centre: give its shape (--tomogram or --size), and particles with "
            "a spacing (--tomogram or --spacing)"
        )
    centred: FloatArray = (particles.positions - np.array(options.tomogram_shape) / 2) * particles.spacing_A
    return centred
