"""Change a project file in place: comments and order stay, and what would not be valid is not written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit import TOMLDocument

from etpick.errors import InputError
from etpick.io.atomic import atomic_write
from etpick.io.project import Labels, parse_project
from etpick.types import COLORS, ParticleClass


def new_project(path: Path, tomograms: Sequence[Path], classes: Sequence[ParticleClass], labels: Labels) -> None:
    """Write a project of tomograms without picks yet. Raises OutputError where the file exists."""
    document = tomlkit.document()
    document["labels"] = labels
    document["classes"] = tomlkit.aot()
    document["tomograms"] = tomlkit.aot()
    _put_classes(document, classes)
    _append(document, path, [(tomogram, []) for tomogram in tomograms])
    _write(path, document, overwrite=False)


def add_tomograms(path: Path, tomograms: Sequence[tuple[Path, Sequence[Path]]]) -> None:
    """Append tomograms, each with its pick files."""
    _change(path, lambda document: _append(document, path, tomograms))


def set_classes(path: Path, classes: Sequence[ParticleClass]) -> None:
    """Put classes in place of those there are."""
    _change(path, lambda document: _put_classes(document, classes))


def set_picks(path: Path, tomogram: Path, picks: Sequence[Path]) -> None:
    """Let a tomogram's picks be in other files, counted in its own voxels."""

    def put(document: TOMLDocument) -> None:
        entry = _entry(document, path, tomogram)
        entry["picks"] = _files(path, picks)
        entry.pop("binning", None)

    _change(path, put)


def set_validation(path: Path, tomogram: Path, validate: bool) -> None:
    """Let a tomogram choose the model instead of training it, or the other way round."""
    _change(path, lambda document: _entry(document, path, tomogram).update({"validate": validate}))


def set_labels(path: Path, labels: Labels) -> None:
    """Say whether every particle in the tomograms is marked."""
    _change(path, lambda document: document.update({"labels": labels}))


def _put_classes(document: TOMLDocument, classes: Sequence[ParticleClass]) -> None:
    tables = tomlkit.aot()
    for c in classes:
        table = tomlkit.table()
        table.update({"name": c.name, "diameter_A": c.diameter_A, "color": c.color})
        tables.append(table)
    document["classes"] = tables


def _append(document: TOMLDocument, path: Path, tomograms: Sequence[tuple[Path, Sequence[Path]]]) -> None:
    for tomogram, picks in tomograms:
        table = tomlkit.table()
        table["path"] = _relative(path, tomogram)
        table["picks"] = _files(path, picks)
        document["tomograms"].append(table)


def _entry(document: TOMLDocument, path: Path, tomogram: Path) -> Any:
    for table in document["tomograms"]:
        if (path.parent / str(table["path"])).resolve() == tomogram.resolve():
            return table
    raise InputError(f"{path} does not name the tomogram {tomogram}")


def _files(path: Path, picks: Sequence[Path]) -> list[str]:
    return [_relative(path, file) for file in picks]


def _relative(project: Path, path: Path) -> str:
    """As the project file names it: relative where they share more than the root."""
    here, there = project.resolve().parent, path.resolve()
    common = Path(os.path.commonpath([here, there]))
    return os.path.relpath(there, here) if common != Path(common.anchor) else str(there)


def _change(path: Path, change: Callable[[TOMLDocument], None]) -> None:
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    change(document)
    _write(path, document, overwrite=True)


def _write(path: Path, document: TOMLDocument, *, overwrite: bool) -> None:
    text = tomlkit.dumps(document)
    parse_project(text, path)
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def next_color(classes: Sequence[ParticleClass]) -> str:
    """A colour that no class has yet, as far as there are."""
    used = {c.color for c in classes}
    return next((color for color in COLORS if color not in used), COLORS[len(classes) % len(COLORS)])
