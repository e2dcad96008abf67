"""Pick files of plain text: columns with or without a header, separated by commas or blanks.

With a header, x, y, z may stand in any order, with class (or label, name), score, class_probability,
rot, tilt, psi, tomogram, spacing_A where known; other columns are passed over. Without a header a line is
`x y z` or `class x y z`. Positions are voxels from 0, x along the fastest axis of the array.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError, OutputError
from etpick.io.formats.base import WriteOptions
from etpick.io.table import Grid, PickTable
from etpick.types import FloatArray, Particles

_POSITION = ("z", "y", "x")
_ANGLES = ("rot", "tilt", "psi")
_CLASS = ("class", "label", "name")


def read_text(path: Path, grid: Grid) -> PickTable:
    """Read a CSV, .txt or .coords file; raises InputError naming the line that cannot be read."""
    lines = list(_rows(path))
    if not lines:
        if not path.read_bytes().strip():
            raise InputError(f"{path} is empty: a pick file has lines of x, y, z, or at least a header")
        return PickTable(np.zeros((0, 3)), np.zeros(0, dtype=np.str_))
    names = _header(lines[0].fields)
    if names is None:
        names = _implied_names(path, lines[0])
    else:
        lines = lines[1:]
    columns = _columns(path, names, lines)
    return _table(path, columns, grid)


def has_positions(path: Path) -> bool:
    """Whether the first line names columns x, y, z, or holds three numbers with or without a class before."""
    try:
        first = next(_rows(path), None)
    except InputError:
        return False
    if first is None:
        return False
    names = _header(first.fields)
    if names is not None:
        return set(_POSITION) <= set(names)
    return len(first.fields) in (3, 4) and all(_is_number(field) for field in first.fields[-3:])


@dataclass(frozen=True)
class _Line:
    number: int
    fields: list[str]


@dataclass(frozen=True)
class _Columns:
    """Columns by name, and the line that each row comes from."""

    path: Path
    values: dict[str, list[str]]
    lines: list[int]

    def text(self, *aliases: str) -> NDArray[np.str_] | None:
        found = [self.values[name] for name in aliases if name in self.values]
        return np.array(found[0], dtype=np.str_) if found else None

    def numbers(self, *names: str) -> FloatArray:
        """Columns that must be there and full, (n, columns)."""
        rows = range(len(self.lines))
        values = [[self._number(name, row) for name in names] for row in rows]
        return np.array(values, dtype=np.float64).reshape(-1, len(names))

    def known(self, name: str) -> FloatArray | None:
        """A column with empty cells as NaN; None where there is none, or nothing but empty cells."""
        cells = self.values.get(name, [])
        if name not in self.values or (cells and not any(cells)):
            return None
        values = [self._number(name, row) if cell else np.nan for row, cell in enumerate(cells)]
        return np.array(values, dtype=np.float64)

    def _number(self, name: str, row: int) -> float:
        text = self.values[name][row]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            raise InputError(f"line {self.lines[row]} of {self.path}: {name} is {text!r}, not a number")
        return value


def _rows(path: Path) -> Iterator[_Line]:
    """Non-empty lines without comments, cut into fields."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: give picks as CSV, text or STAR") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield _Line(number, _cut(line))


def _cut(line: str) -> list[str]:
    for separator in (",", ";"):
        if separator in line:
            return [field.strip() for field in next(csv.reader([line], delimiter=separator))]
    return line.split()


def _header(fields: Sequence[str]) -> list[str] | None:
    """Column names without remarks in brackets (commas and all), or None where the line holds numbers."""
    if any(_is_number(field) for field in fields):
        return None
    words = re.sub(r"\([^)]*\)?", "", ",".join(fields)).split(",")
    return [word.strip().lower() for word in words]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _implied_names(path: Path, line: _Line) -> list[str]:
    names = {3: ["x", "y", "z"], 4: ["class", "x", "y", "z"]}.get(len(line.fields))
    if names is None:
        raise InputError(
            f"line {line.number} of {path} has {len(line.fields)} columns and no header names them: "
            "write `x y z` or `class x y z`, or add a header"
        )
    return names


def _columns(path: Path, names: Sequence[str], lines: Sequence[_Line]) -> _Columns:
    missing = [name for name in ("x", "y", "z") if name not in names]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}: found {', '.join(names)}")
    for line in lines:
        if len(line.fields) != len(names):
            raise InputError(
                f"line {line.number} of {path} has {len(line.fields)} columns, not the {len(names)} of its "
                f"first line ({', '.join(names)})"
            )
    values = {
        name: [line.fields[index] for line in lines] for index, name in reversed(list(enumerate(names)))
    }  # reversed: of two columns with one name the first counts
    return _Columns(path, values, [line.number for line in lines])


def _table(path: Path, columns: _Columns, grid: Grid) -> PickTable:
    position = columns.numbers(*_POSITION)
    labels = columns.text(*_CLASS)
    spacing = _spacing(path, columns.known("spacing_a"))
    has_angles = all(any(columns.values.get(name, [])) for name in _ANGLES)
    return PickTable(
        positions=position / grid.binning,
        labels=np.full(len(position), "", dtype=np.str_) if labels is None else labels,
        scores=columns.known("score"),
        class_probability=columns.known("class_probability"),
        angles=columns.numbers(*_ANGLES) if has_angles else None,
        tomograms=columns.text("tomogram"),
        spacing_A=None if spacing is None else spacing * grid.binning,
    )


def _spacing(path: Path, values: FloatArray | None) -> float | None:
    found = np.unique(values[~np.isnan(values)]) if values is not None else np.zeros(0)
    if len(found) > 1:
        raise InputError(f"{path} mixes the spacings {', '.join(f'{v:g}' for v in found)} Å in one file: split it")
    return float(found[0]) if len(found) else None


def write_csv(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Columns class, x, y, z, score (voxels from 0, x along the fastest axis), then those that are known.

    An unknown score is an empty cell. Positions keep four decimals of a voxel.
    """
    columns = _csv_columns(particles, options)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def join_csvs(parts: Sequence[Path], path: Path) -> None:
    """Make one file of those that `write_csv` wrote; a column that some lack is empty there."""
    rows: list[dict[str, str]] = []
    columns: dict[str, None] = {}
    for part in parts:
        with part.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns |= dict.fromkeys(reader.fieldnames or ())
            rows += reader
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _csv_columns(particles: Particles, options: WriteOptions) -> dict[str, list[str]]:
    z, y, x = (_text(axis, ".4f") for axis in options.voxels(particles).T)
    n = len(particles)
    scores = particles.scores
    columns = {"class": [str(name) for name in particles.classes], "x": x, "y": y, "z": z}
    columns["score"] = [""] * n if scores is None else _text(scores, ".7g")
    if particles.class_probability is not None:
        columns["class_probability"] = _text(particles.class_probability, ".7g")
    if particles.angles is not None:
        columns |= {name: _text(angle, ".4f") for name, angle in zip(_ANGLES, particles.angles.T, strict=True)}
    if particles.tomogram is not None:
        columns["tomogram"] = [particles.tomogram] * n
    if (spacing_A := options.spacing_A(particles)) is not None:
        columns["spacing_A"] = [f"{spacing_A:.7g}"] * n
    return columns


def _text(values: NDArray[np.float64], form: str) -> list[str]:
    """Numbers as text; NaN, which stands for unknown, as nothing."""
    return ["" if np.isnan(value) else format(float(value), form) for value in values]


def write_coords(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Lines `class x y z` with four decimals of a voxel; this format has no place for scores or angles."""
    names = [str(name) for name in particles.classes]
    if bad := sorted({name for name in names if re.search(r"[\s,;#]", name) or not name}):
        raise OutputError(f"class {bad[0]!r} cannot stand in a line of blanks and numbers: write CSV instead")
    lines = [
        f"{name} {x:.4f} {y:.4f} {z:.4f}" for name, (z, y, x) in zip(names, options.voxels(particles), strict=True)
    ]
    path.write_text("\n".join(lines or ["# class x y z"]) + "\n", encoding="utf-8")


def write_deepetpicker(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Lines of class number, x, y, z with tabs between, as DeepETPicker reads them."""
    numbers = options.numbers(particles)
    lines = [f"{n}\t{x:.4f}\t{y:.4f}\t{z:.4f}" for n, (z, y, x) in zip(numbers, options.voxels(particles), strict=True)]
    path.write_text("\n".join(lines or ["# class x y z"]) + "\n", encoding="utf-8")
