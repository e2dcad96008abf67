"""copick picks: a JSON file for each object, user and session, in ExperimentRuns/RUN/Picks.

A location is Å from the centre of the first voxel (napari, ChimeraX and octopi divide by the spacing and take
the result for an index), to which the translation of the 4×4 matrix is added; the matrix puts the reference
into the tomogram:

    index = (location + translation) / spacing

`trust_orientation` false means that the rotation says nothing. Source: copick, models.py (CopickPicksFile,
CopickPoint) and impl/filesystem.py for the names USER_SESSION_OBJECT.json. Why the package copick is not used:
`etpick.io.copick_project`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from etpick.errors import InputError, OutputError
from etpick.io.atomic import atomic_write, refuse_existing
from etpick.io.formats.base import WriteOptions, finite, single_class
from etpick.io.formats.documents import has_key, read_json
from etpick.io.table import Grid, PickTable
from etpick.orientation import angles_of_matrices, matrices_of
from etpick.types import FloatArray, Particles

PICKS: Final = "Picks"
ETPICK: Final = "etpick"
"""The user that picks are written as; its session is 0, as copick has it for tools."""

_SESSION: Final = "0"
_FORBIDDEN = r"[<>:\"/\\|?*\x00-\x1F\x7F\s_]"


def is_copick(path: Path) -> bool:
    """Whether a file is one of copick's picks, or a folder is that of a run or its Picks."""
    return bool(_files(path)) if path.is_dir() else has_key(path, "pickable_object_name")


def read_copick(path: Path, grid: Grid) -> PickTable:
    """Read a file of picks, or all files of a run; raises InputError, also where two hold the same object."""
    if not path.is_dir():
        return _read_file(path, grid)
    files = _files(path)
    if not files:
        raise InputError(f"{path} is a folder without copick's picks: looked for *.json in it and in {PICKS}")
    contents = [_content(file) for file in files]
    names = [content["pickable_object_name"] for content in contents]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        listed = ", ".join(file.name for file, name in zip(files, names, strict=True) if name == twice[0])
        raise InputError(f"{path} holds {twice[0]} of several users or sessions ({listed}): name one file")
    return _joined([_read_file(file, grid) for file in files])


def _files(folder: Path) -> list[Path]:
    found = folder if folder.name == PICKS else folder / PICKS
    return sorted(file for file in found.glob("*.json") if not file.name.startswith("."))


def _joined(tables: Sequence[PickTable]) -> PickTable:
    """One table; scores and angles are kept where all have them."""
    scores = [table.scores for table in tables if table.scores is not None]
    angles = [table.angles for table in tables if table.angles is not None]
    stated = {table.spacing_A for table in tables}
    return PickTable(
        np.concatenate([table.positions for table in tables]),
        np.concatenate([table.labels for table in tables]),
        np.concatenate(scores) if len(scores) == len(tables) else None,
        angles=np.concatenate(angles) if len(angles) == len(tables) else None,
        tomograms=tables[0].tomograms if len(tables) == 1 else None,
        spacing_A=stated.pop() if len(stated) == 1 else None,
        in_A=True,
    )


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("pickable_object_name"), str):
        raise InputError(f"{path} has no pickable_object_name: it is not a file of copick's picks")
    if (unit := content.get("unit", "angstrom")) != "angstrom":
        raise InputError(f"{path} counts in {unit!r}: only angstrom is known")
    return content


def _read_file(path: Path, grid: Grid) -> PickTable:
    content = _content(path)
    points = content.get("points") or []
    try:
        locations = np.array([[p["location"][axis] for axis in "xyz"] for p in points], dtype=np.float64)
        matrices = np.array([p.get("transformation_") or np.eye(4) for p in points], dtype=np.float64)
        scores = np.array([np.nan if p.get("score") is None else p["score"] for p in points], dtype=np.float64)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} has a point that is not copick's (location x, y, z; 4×4 matrix): {error}") from error
    matrices = matrices.reshape(-1, 4, 4)
    positions_A = (locations.reshape(-1, 3) + matrices[:, :3, 3])[:, ::-1]
    stated_A = content.get("voxel_spacing")
    grid = grid if grid.spacing_A or not stated_A else Grid(grid.shape, float(stated_A))
    oriented = content.get("trust_orientation", True) and len(points)
    return PickTable(
        positions=finite(path, grid.from_A(positions_A, path)),
        labels=np.full(len(points), content["pickable_object_name"]),
        scores=scores if _scored(content, scores) else None,
        angles=angles_of_matrices(matrices[:, :3, :3]) if oriented else None,
        tomograms=np.full(len(points), content["run_name"]) if content.get("run_name") else None,
        spacing_A=grid.spacing_A,
        in_A=True,
    )


def _scored(content: dict[str, Any], scores: FloatArray) -> bool:
    """copick's score is 1 where nobody scored."""
    known = scores[~np.isnan(scores)]
    return len(known) > 0 and (content.get("user_id") == ETPICK or bool((known != 1).any()))


def write_copick(path: Path, particles: Particles, options: WriteOptions) -> None:
    """Write a file of one class; raises OutputError where there are several."""
    name = single_class(particles, "a file of copick's")
    path.write_text(_document(particles, name, options), encoding="utf-8")


def write_run(folder: Path, particles: Particles, options: WriteOptions, overwrite: bool) -> list[Path]:
    """Write Picks/etpick_0_OBJECT.json into the folder of a run, a file for each class; returns the files."""
    names = sorted({str(name) for name in particles.classes})
    if bad := [name for name in names if re.search(_FORBIDDEN, name)]:
        raise OutputError(f"copick does not take {bad[0]!r} as the name of an object: no blank, _ or / in it")
    targets = files_in_run(folder, names)
    for target in targets:
        refuse_existing(target, overwrite)
    for name, target in zip(names, targets, strict=True):
        with atomic_write(target, overwrite=overwrite) as temporary:
            temporary.write_text(_document(particles.of_class(name), name, options), encoding="utf-8")
    return targets


def files_in_run(folder: Path, objects: Iterable[str]) -> list[Path]:
    """Where `write_run` puts the picks of each object."""
    picks = folder if folder.name == PICKS else folder / PICKS
    return [picks / f"{ETPICK}_{_SESSION}_{name}.json" for name in sorted(objects)]


def left_in_run(folder: Path, written: Sequence[Path]) -> list[str]:
    """The names of etpick's files of picks in a run's folder that were not written now."""
    found = {path for pattern in files_in_run(folder, ["*"]) for path in pattern.parent.glob(pattern.name)}
    return sorted(path.name for path in found - set(written))


def _document(particles: Particles, name: str, options: WriteOptions) -> str:
    spacing_A = options.known_spacing_A(particles, "copick")
    n = len(particles)
    transforms = np.tile(np.eye(4), (n, 1, 1))
    if particles.angles is not None and n:
        transforms[:, :3, :3] = matrices_of(particles.angles)
    content = {
        "pickable_object_name": name,
        "user_id": ETPICK,
        "session_id": _SESSION,
        "run_name": options.tomogram_name,
        "voxel_spacing": spacing_A,
        "unit": "angstrom",
        "points": _points(particles, particles.positions * spacing_A, transforms),
        "trust_orientation": particles.angles is not None,
    }
    return json.dumps(content, indent=4) + "\n"


def _points(particles: Particles, positions_A: FloatArray, transforms: FloatArray) -> list[dict[str, Any]]:
    scores = [None] * len(particles) if particles.scores is None else particles.scores.tolist()
    return [
        {
            "location": {"x": round(x, 4), "y": round(y, 4), "z": round(z, 4)},
            "transformation_": np.round(transform, 9).tolist(),
            "instance_id": 0,
            "score": score,
        }
        for (z, y, x), transform, score in zip(positions_A.tolist(), transforms, scores, strict=True)
    ]
