"""Tilt angles: given as a range, or in the text files that IMOD and others write, one angle a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from etpick.errors import InputError
from etpick.io.table import belongs_to, tomogram_name
from etpick.types import FloatArray

TILT_SUFFIXES = (".tlt", ".rawtlt")
USUAL = "-60,60,3"


def tilts_of(source: str, tomograms: Sequence[Path]) -> Mapping[Path, FloatArray]:
    """(n,) tilt angles in degrees of each tomogram.

    `source` is LOWEST,HIGHEST,STEP; a .tlt file for all; or a folder with one of each tomogram's name, where
    .tlt (refined) goes before .rawtlt. Raises InputError.
    """
    path = Path(source)
    if path.is_dir():
        return {tomogram: read_tilts(_in_folder(path, tomogram)) for tomogram in tomograms}
    tilts = read_tilts(path) if path.exists() or path.suffix in TILT_SUFFIXES else _range(source)
    return dict.fromkeys(tomograms, tilts)


def read_tilts(path: Path) -> FloatArray:
    """The angles of a text file, the first number of each line. Raises InputError."""
    try:
        tilts = np.array([float(line.split()[0]) for line in path.read_text().splitlines() if line.strip()])
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as tilt angles, one a line: {error}") from error
    return _checked(tilts, str(path))


def _range(text: str) -> FloatArray:
    try:
        low, high, step = map(float, text.split(","))
    except ValueError:
        raise InputError(
            f"tilts {text!r} are neither LOWEST,HIGHEST,STEP in degrees ({USUAL}) nor a .tlt file or a folder of them"
        ) from None
    if not (step > 0 and low < high):
        raise InputError(f"tilts {text!r}: the lowest must come first and the step be positive, as in {USUAL}")
    return _checked(np.arange(low, high + step / 1000, step), text)


def _checked(tilts: FloatArray, where: str) -> FloatArray:
    if not len(tilts) or not np.isfinite(tilts).all() or np.abs(tilts).max() > 90:
        raise InputError(f"tilts of {where}: expected angles between −90 and 90 degrees, found {tilts.tolist()}")
    return tilts


def _in_folder(folder: Path, tomogram: Path) -> Path:
    name = tomogram_name(tomogram)
    for suffix in TILT_SUFFIXES:
        found = [p for p in sorted(folder.glob(f"*{suffix}")) if belongs_to(name, p.stem)]
        if found:  # TS_1.tlt and TS_1_b.tlt both begin TS_1_b_10Apx: the longer name is meant
            return max(found, key=lambda p: len(p.stem))
    raise InputError(
        f"no tilt angles of {name} in {folder}: looked for {' and '.join(name + s for s in TILT_SUFFIXES)}"
    )
