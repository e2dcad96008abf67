"""The project file: which tomograms, which pick files, which classes; TOML, paths relative to the file."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from etpick.errors import InputError
from etpick.io.picks import read_picks
from etpick.io.sanity import describe_outside, describe_spacing, repeated
from etpick.io.tomograms import open_tomogram
from etpick.types import COLORS, NEGATIVE, Dataset, ParticleClass, Particles, Tomogram, TrainingItem

logger = logging.getLogger(__name__)
Labels = Literal["complete", "partial"]
_Spacing = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassEntry(_Entry):
    """A `[[classes]]` table."""

    name: Annotated[str, Field(min_length=1)]
    diameter_A: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None


class TomogramEntry(_Entry):
    """A `[[tomograms]]` table; `picks` is a path or a list of paths."""

    path: Path
    picks: tuple[Path, ...]
    spacing_A: _Spacing | None = None
    binning: _Spacing = 1.0
    validate_on: Annotated[bool, Field(alias="validate")] = False

    @field_validator("picks", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class ProjectFile(_Entry):
    """A whole project file."""

    labels: Labels
    spacing_A: _Spacing | None = None
    classes: Annotated[tuple[ClassEntry, ...], Field(min_length=1)]
    tomograms: Annotated[tuple[TomogramEntry, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> ProjectFile:
        for what, names in (
            ("class", [entry.name for entry in self.classes]),
            ("tomogram", [str(entry.path) for entry in self.tomograms]),
        ):
            if NEGATIVE in names:
                raise ValueError(f"{what} {NEGATIVE} is the mark of places without a particle: name it otherwise")
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what} {twice[0]} stands there twice")
        return self


def read_project(path: Path | str) -> ProjectFile:
    """The content of a project file, checked but without opening what it names; raises InputError."""
    path = Path(path)
    try:
        return parse_project(path.read_text(encoding="utf-8"), path)
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, no project file: `etpick init {path} …` writes one") from error
    except OSError as error:
        raise InputError(f"no project file {path}: {error.strerror}; `etpick init` writes one") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


def parse_project(text: str, path: Path) -> ProjectFile:
    """The content of a project file that is, or will be, at `path`; raises InputError."""
    try:
        return ProjectFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error)}") from error


_KNOWN_KEYS: dict[str, type[_Entry]] = {"classes": ClassEntry, "tomograms": TomogramEntry}


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, in the words of the file: `classes 2: …`."""
    first = error.errors()[0]
    *parents, last = first["loc"] or ("",)
    where = " ".join(str(part + 1) if isinstance(part, int) else str(part) for part in parents)
    place = f"in {where} " if where else ""
    if first["type"] == "extra_forbidden":
        model: type[_Entry] = _KNOWN_KEYS[str(parents[0])] if parents else ProjectFile
        known = ", ".join(field.alias or name for name, field in model.model_fields.items())
        return f"unknown key {last!r} {place}(known: {known})"
    if first["type"] == "missing":
        return f"{last!r} is missing {place}".strip()
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{last!r} {place}is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def classes_of(project: ProjectFile) -> tuple[ParticleClass, ...]:
    """The classes of a project, each with a colour."""
    return tuple(
        ParticleClass(entry.name, entry.diameter_A, entry.color or COLORS[i % len(COLORS)])
        for i, entry in enumerate(project.classes)
    )


def load_project(path: Path | str) -> Dataset:
    """Open the tomograms of a project (memory-mapped) and read their picks.

    A particle that is listed twice within a voxel in one class is kept once, with a warning in the log.
    Raises InputError for whatever is wrong in the project or its files, picks outside the volume too.
    """
    path = Path(path)
    project = read_project(path)
    classes = classes_of(project)
    names = [entry.name for entry in classes]
    items = tuple(_load_item(path.parent, entry, project.spacing_A, names) for entry in project.tomograms)
    return Dataset(classes, items, project.labels == "partial")


def _load_item(folder: Path, entry: TomogramEntry, spacing_A: float | None, classes: Sequence[str]) -> TrainingItem:
    tomogram = open_entry(folder, entry, spacing_A)
    parts = [_load_picks(folder / picks, tomogram, entry, classes) for picks in entry.picks]
    return TrainingItem(tomogram, _without_repeats(_join(parts, tomogram), tomogram), entry.validate_on)


def open_entry(folder: Path, entry: TomogramEntry, spacing_A: float | None) -> Tomogram:
    """The tomogram of an entry: its own spacing goes before the project's, that before the header."""
    return open_tomogram(folder / entry.path, spacing_A=entry.spacing_A or spacing_A)


def _load_picks(path: Path, tomogram: Tomogram, entry: TomogramEntry, classes: Sequence[str]) -> Particles:
    """A pick file's own spacing must be the tomogram's, unless the entry says the binning, be it 1."""
    particles = read_picks(path, classes=classes, tomogram=tomogram, binning=entry.binning)
    problem = None
    if "binning" not in entry.model_fields_set and (doubt := describe_spacing(particles.spacing_A, tomogram)):
        problem = f"{doubt}, or binning = 1 where the pick file's is"
    if problem := problem or describe_outside(particles.positions, tomogram.shape):
        raise InputError(f"{path.name} does not fit {tomogram.name}: {problem}")
    return particles


def _join(parts: Sequence[Particles], tomogram: Tomogram) -> Particles:
    """Manual picks in one; scores, where all files have them, are kept."""
    scores = [part.scores for part in parts if part.scores is not None]
    return Particles(
        np.concatenate([part.positions for part in parts] or [np.zeros((0, 3))]),
        np.concatenate([part.classes for part in parts] or [np.zeros(0, dtype=np.str_)]),
        np.concatenate(scores) if scores and len(scores) == len(parts) else None,
        spacing_A=tomogram.spacing_A,
        tomogram=tomogram.name,
    )


def _without_repeats(particles: Particles, tomogram: Tomogram) -> Particles:
    again = np.zeros(len(particles), dtype=bool)
    for name in np.unique(particles.classes):
        rows = np.flatnonzero(particles.classes == name)
        again[rows] = repeated(particles.positions[rows])
    if count := int(again.sum()):
        logger.warning("%s: %d particle(s) listed twice within a voxel, kept once", tomogram.name, count)
    return particles.select(~again)
