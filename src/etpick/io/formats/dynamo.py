"""Dynamo tables (.tbl): columns 24–26 are x, y, z, 4–6 shifts in the same voxels, 7–9 tdrot, tilt, narot.

Dynamo runs in MATLAB, which counts from 1:

    index = column + shift − 1      (z from 26 and 6, y from 25 and 5, x from 24 and 4)

dynamo2m, ArtiaX and copick leave the 1 out; picks that went through them differ by one voxel of the table. The
score is column 10 (cc), the class 22, the tomogram's number 20, Å per voxel 36. Numbers become names by a map
beside the table, NAME.doc (number and path on each line) or NAME.vll (a path on each line, numbered from 1).
Source: Dynamo's wiki, "Table convention"; angles: `etpick.orientation.to_dynamo`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.io.formats.base import WriteOptions, finite, numbers_as_labels, numbers_as_names, read_lines
from etpick.io.table import Grid, PickTable, tomogram_name
from etpick.orientation import from_dynamo, to_dynamo
from etpick.types import FloatArray, Particles

if TYPE_CHECKING:
    import pandas as pd

_POSITION, _SHIFT, _ANGLES = ["z", "y", "x"], ["dz", "dy", "dx"], ["tdrot", "tilt", "narot"]
_FEWEST_COLUMNS = 26


def read_dynamo(path: Path, grid: Grid) -> PickTable:
    """Read a table and the map beside it; raises InputError."""
    frame = _frame(path)
    positions = (_numbers(path, frame, _POSITION) + _numbers(path, frame, _SHIFT) - 1) / grid.binning
    apix = frame["apix"].iloc[0] if "apix" in frame and len(frame) else 0
    classes = _numbers(path, frame, ["class"])[:, 0]
    return PickTable(
        positions=finite(path, positions),
        labels=numbers_as_labels(classes) if classes.any() else np.full(len(frame), "", dtype=np.str_),
        scores=_numbers(path, frame, ["cc"])[:, 0],
        angles=from_dynamo(_numbers(path, frame, _ANGLES)) if len(frame) else None,
        tomograms=_tomograms(path, _numbers(path, frame, ["tomo"])[:, 0]),
        spacing_A=grid.stated(float(apix)),
    )


def _frame(path: Path) -> pd.DataFrame:
    import dynamotable
    import pandas as pd

    if not any(line.strip() for line in read_lines(path)):
        return pd.DataFrame(columns=pd.Index([*_POSITION, *_SHIFT, *_ANGLES, "class", "cc", "tomo"]))
    try:
        frame: pd.DataFrame = dynamotable.read(str(path))
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path} cannot be read as a Dynamo table: {error}") from error
    if frame.shape[1] < _FEWEST_COLUMNS:
        raise InputError(
            f"{path} has {frame.shape[1]} columns; a Dynamo table has at least {_FEWEST_COLUMNS}, "
            "x, y and z being columns 24 to 26"
        )
    return frame


def _numbers(path: Path, frame: pd.DataFrame, columns: list[str]) -> FloatArray:
    try:
        return np.asarray(frame[columns], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path} cannot be read as a Dynamo table: {', '.join(columns)}: {error}") from error


def _tomograms(path: Path, numbers: FloatArray) -> NDArray[np.str_] | None:
    names = _map(path)
    if not names:
        return numbers_as_names(numbers)
    if unknown := sorted(set(numbers_as_labels(numbers)) - set(names)):
        raise InputError(f"the map beside {path} does not name tomogram {unknown[0]}: it has {', '.join(names)}")
    return np.array([names[number] for number in numbers_as_labels(numbers)], dtype=np.str_)


def _map(path: Path) -> dict[str, str]:
    """Tomogram names by number, from NAME.doc or NAME.vll; empty where neither is there."""
    doc, vll = path.with_suffix(".doc"), path.with_suffix(".vll")
    if doc.is_file():
        rows = [line.split(maxsplit=1) for line in read_lines(doc) if line.strip()]
        if bad := [row for row in rows if len(row) < 2]:
            raise InputError(f"{doc} has a line {' '.join(bad[0])!r}: write a number and the path of its tomogram")
        return {number: tomogram_name(name.strip()) for number, name in rows}
    if vll.is_file():
        paths = [line.strip() for line in read_lines(vll) if line.strip() and line.strip()[0] not in "*>#%"]
        return {str(number): tomogram_name(name) for number, name in enumerate(paths, start=1)}
    return {}


def write_dynamo(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write a table of one tomogram, number 1; positions keep four decimals of a voxel."""
    import dynamotable
    import pandas as pd

    n = len(particles)
    z, y, x = np.round(options.voxels(particles) + 1, 4).T
    columns: dict[str, object] = {"averaged_value": np.ones(n, int), "tomo": np.ones(n, int), "x": x, "y": y, "z": z}
    columns["class"] = options.numbers(particles)
    if particles.scores is not None:
        columns["cc"] = particles.scores
    if particles.angles is not None:
        columns |= zip(_ANGLES, np.round(to_dynamo(particles.angles), 4).T, strict=True)
    if (spacing_A := options.spacing_A(particles)) is not None:
        columns["apix"] = np.full(n, spacing_A)
    dynamotable.write(pd.DataFrame(columns), str(path))


def write_map(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write the map that names tomogram 1."""
    path.write_text(f"1 {options.tomogram_name}\n", encoding="utf-8")
