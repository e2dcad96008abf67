"""How each class is drawn: its colour, and its diameter where a project file or a model beside the picks knows it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from etpick.errors import InputError
from etpick.io.formats.base import class_order
from etpick.io.project import read_project
from etpick.types import COLORS, NAMELESS, ParticleClass, Particles

DEFAULT_DIAMETER_A: Final = 200.0
"""Drawn where nothing tells the diameter, and said so."""

_MODEL = "model.json"


def looks_of(particles: Particles, known: Sequence[ParticleClass] = ()) -> tuple[dict[str, ParticleClass], list[str]]:
    """Each class's look, in the order of its number, and the classes whose diameter is only the default."""
    by_name = {entry.name: entry for entry in known}
    taken = {entry.color for entry in known}
    free = [color for color in COLORS if color not in taken] or list(COLORS)
    looks: dict[str, ParticleClass] = {}
    unknown = []
    for name in class_order(particles.classes, [entry.name for entry in known]):
        if name not in by_name:
            unknown.append(name)
        looks[name] = by_name.get(name) or ParticleClass(name, DEFAULT_DIAMETER_A, free[(len(unknown) - 1) % len(free)])
    return looks, unknown


def with_diameters(known: Iterable[ParticleClass], diameters_A: Mapping[str, float]) -> tuple[ParticleClass, ...]:
    """The classes with the diameters that a user gives; those of new names get colours in turn."""
    classes = {entry.name: entry for entry in known}
    for name, diameter_A in diameters_A.items():
        color = classes[name].color if name in classes else COLORS[len(classes) % len(COLORS)]
        classes[name] = ParticleClass(name, diameter_A, color)
    return tuple(classes.values())


def classes_near(path: Path, picked: Collection[str] = ()) -> tuple[ParticleClass, ...]:
    """The classes of the project file or model nearest to a pick file: in its folder, or in the one above.

    A model is looked for in the folders beside, too (`picks/t1.csv` and `model/`). One that knows none of the classes
    `picked` belongs to other work and is passed over. Empty where there is none, or where several differ, since then
    nothing says which is meant.
    """
    names = set(picked) - {NAMELESS}
    for folder in list(path.resolve().parents)[:2]:
        found = {
            classes
            for file in _candidates(folder)
            if (classes := _classes_in(file)) and (not names or names & {entry.name for entry in classes})
        }
        if found:
            return found.pop() if len(found) == 1 else ()
    return ()


def classes_of_model(folder: Path) -> tuple[ParticleClass, ...]:
    """The classes of a model folder, without loading its network; raises InputError where it is none."""
    found = _classes_of_model(folder / _MODEL)
    if not found:
        raise InputError(f"{folder} is not a model: give the folder that etpick train wrote")
    return found


def _candidates(folder: Path) -> list[Path]:
    try:
        return [*sorted(folder.glob("*.toml")), *sorted(folder.glob(_MODEL)), *sorted(folder.glob(f"*/{_MODEL}"))]
    except OSError:  # a folder that may not be read tells nothing
        return []


def _classes_in(file: Path) -> tuple[ParticleClass, ...]:
    if file.name == _MODEL:
        return _classes_of_model(file)
    try:
        entries = read_project(file).classes
    except InputError:  # another program's TOML
        return ()
    return tuple(
        ParticleClass(entry.name, entry.diameter_A, entry.color or COLORS[i % len(COLORS)])
        for i, entry in enumerate(entries)
    )


def _classes_of_model(file: Path) -> tuple[ParticleClass, ...]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))["classes"]
        return tuple(ParticleClass(str(c["name"]), float(c["diameter_A"]), str(c["color"])) for c in entries)
    except (OSError, ValueError, KeyError, TypeError):  # another program's model.json
        return ()
