"""copick projects on local disks: which runs, tomograms and picks a configuration file names, and where new ones go.

A run is a folder `ROOT/ExperimentRuns/RUN` with `VoxelSpacing10.000/wbp.zarr` and `Picks/USER_SESSION_OBJECT.json`,
below the static root, which is only read, and the overlay root, which is read and written. Source: copick,
models.py (CopickConfig, PickableObject) and impl/filesystem.py. The package itself brings some seventy others and
needs zarr below 3 (copick 1.31), so it cannot be installed beside `etpick[zarr]`; the documented JSON and folders are
read directly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, ValidationError

from etpick.errors import InputError, OutputError
from etpick.io.formats.copick import ETPICK, PICKS
from etpick.io.formats.documents import has_key, read_json
from etpick.io.table import copick_spacing_A

RUNS: Final = "ExperimentRuns"
_LOCAL = re.compile(r"(?:(?P<protocol>[a-z0-9+]+)://)?(?P<path>.*)", re.DOTALL)


class CopickObject(BaseModel):
    """An entry of `pickable_objects`: particles, or what is only segmented; the radius in Å where it is told."""

    name: str
    is_particle: bool = True
    radius_A: Annotated[float | None, Field(alias="radius")] = None


class _Configuration(BaseModel):
    pickable_objects: tuple[CopickObject, ...]
    overlay_root: str
    static_root: str | None = None
    config_type: str = "filesystem"


@dataclass(frozen=True)
class CopickProject:
    """A configuration file, its folders of runs (first that to write in), and its objects."""

    path: Path
    folders: tuple[Path, ...]
    objects: tuple[CopickObject, ...]

    @property
    def runs(self) -> list[str]:
        """The names of all runs, by the alphabet."""
        return sorted({run.name for folder in self.folders if folder.is_dir() for run in folder.iterdir()
                       if run.is_dir() and not run.name.startswith(".")})  # fmt: skip

    @property
    def diameters_A(self) -> dict[str, float]:
        """Twice the radius of each kind of particle that has one, in Å."""
        return {o.name: 2 * o.radius_A for o in self.objects if o.is_particle and o.radius_A and o.radius_A > 0}

    def tomograms(self, kind: str | None = None) -> list[Path]:
        """The tomogram of each run that has one of a kind, such as wbp@10 (type and Å per voxel).

        Without `kind` there must be one kind in all. Raises InputError, which lists what there is.
        """
        found = [path for run in self.runs for path in self._in_run(run, "VoxelSpacing*/*.zarr")]
        kinds = sorted({_kind(path) for path in found})
        if not kinds:
            places = " and ".join(map(str, self.folders))
            raise InputError(f"{self.path} has no tomogram: looked for RUN/VoxelSpacing*/*.zarr in {places}")
        wanted = _same_kind(kind, kinds) if kind is not None else kinds
        if len(wanted) != 1:
            problem = f"no tomograms {kind}" if kind is not None else f"tomograms of {len(kinds)} kinds"
            raise InputError(
                f"{self.path} has {problem}: say which with --copick-tomograms, {' or '.join(kinds)}, or name the "
                f"tomograms themselves ({found[0].parent.parent.parent}/*/{found[0].parent.name}/{found[0].name})"
            )
        return [path for path in found if _kind(path) == wanted[0]]

    def picks(self, run: str) -> list[Path]:
        """The files of picks of particles in a run, whoever made them."""
        names = [o.name for o in self.objects if o.is_particle]
        return [file for file in self._in_run(run, f"{PICKS}/*.json") if file.stem.rpartition("_")[2] in names]

    def refuse_unknown(self, run: str, objects: Iterable[str]) -> None:
        """Raise OutputError for a run, or particles, that the project has not: copick would pass over their picks."""
        if run not in self.runs:
            raise OutputError(f"{self.path} has no run {run}: it has {', '.join(self.runs[:5]) or 'none'}")
        known = [o.name for o in self.objects if o.is_particle]
        if unknown := sorted(set(objects) - set(known)):
            raise OutputError(
                f"{self.path} has no particles called {', '.join(unknown)}: it has {', '.join(known) or 'none'}; add "
                "them there (copick add object), or write other names"
            )

    def _in_run(self, run: str, pattern: str) -> list[Path]:
        """What lies in a run; the overlay's files hide those of the same name below the static root."""
        found: dict[Path, Path] = {}
        for folder in reversed(self.folders):
            found |= {path.relative_to(folder): path for path in sorted((folder / run).glob(pattern)) if _shown(path)}
        return [found[key] for key in sorted(found)]


def is_copick_project(path: Path) -> bool:
    """Whether a file is the configuration of a copick project."""
    return path.suffix.lower() == ".json" and path.is_file() and has_key(path, "pickable_objects")


def read_copick_project(path: Path | str) -> CopickProject:
    """Read a configuration; raises InputError for one that is no configuration, or whose files lie elsewhere."""
    path = Path(path)
    content: Any = read_json(path)
    try:
        configuration = _Configuration.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is no configuration of a copick project: {where}: {first['msg']}") from error
    if configuration.config_type != "filesystem":
        raise InputError(f"{path} is about a project of the {configuration.config_type}: {_COPY}")
    roots = [configuration.overlay_root, configuration.static_root]
    folders = dict.fromkeys(_local(path, root) / RUNS for root in roots if root)
    return CopickProject(path, tuple(folders), configuration.pickable_objects)


def choose_picks(files: Sequence[Path], who: str | None = None) -> list[Path]:
    """Of files USER_SESSION_OBJECT.json those of one user and session for each object.

    `who` is USER/SESSION, with * for any; without it etpick's own picks are passed over. Raises InputError where an
    object has more than one file.
    """
    chosen: dict[str, Path] = {}
    for file in files:
        name = file.stem.rpartition("_")[2]
        if not _is_by(file, who):
            continue
        if (other := chosen.setdefault(name, file)) != file:
            raise InputError(
                f"{file.parent} has {name} of several users or sessions ({other.name}, {file.name}): say whose "
                "with --copick-picks USER/SESSION"
            )
    return list(chosen.values())


def author_of(file: Path) -> str:
    """USER/SESSION of a file USER_SESSION_OBJECT.json."""
    return "/".join(file.stem.split("_")[:2])


def _is_by(file: Path, who: str | None) -> bool:
    if file.stem.count("_") != 2:
        return False
    if who is None:
        return not author_of(file).startswith(f"{ETPICK}/")
    return fnmatchcase(author_of(file), who if "/" in who else f"{who}/*")


_COPY = "etpick reads local files only; copy it with `copick sync`, and name the copy's configuration"


def _local(path: Path, root: str) -> Path:
    match = _LOCAL.fullmatch(root)
    protocol = match["protocol"] if match else None
    if match is None or protocol not in (None, "local", "file") or "::" in root:
        raise InputError(f"{path} keeps its files at {root}: {_COPY}")
    return Path(match["path"]).expanduser()


def _kind(tomogram: Path) -> str:
    return f"{tomogram.stem}@{copick_spacing_A(tomogram) or 0:g}"


def _same_kind(kind: str, kinds: Sequence[str]) -> list[str]:
    name, _, spacing = kind.partition("@")
    try:
        wanted_A = float(spacing) if spacing else None
    except ValueError:
        return []
    named = [one.partition("@") for one in kinds]
    return [f"{n}@{own}" for n, _, own in named if n == name and wanted_A in (None, float(own))]


def _shown(path: Path) -> bool:
    """Not hidden, and no features of a tomogram."""
    return not path.name.startswith(".") and not path.name.endswith("_features.zarr")
