"""What is in files of any kind, in lines to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etpick.checkpoint import DESCRIPTION, load_model
from etpick.errors import InputError, SpacingError
from etpick.inspection import inspect_picks, inspect_project, inspect_tomogram
from etpick.io.pairing import pick_files_in, picks_beside
from etpick.io.picks import is_pick_file, read_picks
from etpick.io.table import belongs_to
from etpick.io.tomograms import find_tomograms, open_tomogram, tomograms_in_folder
from etpick.quantising import read_int8
from etpick.types import Tomogram


def info(paths: Sequence[Path | str], *, spacing_A: float | None = None) -> list[str]:
    """Lines about tomograms, pick files, project files and model folders: what they hold, what looks wrong.

    A folder stands for its tomograms, or, where it holds none, for its pick files. Pick files that are named are held
    against the only tomogram, others against the one whose name theirs begins with; a tomogram for which there are none
    is shown with those beside it. Raises EtpickError for what cannot be read.
    """
    models = [Path(p) for p in paths if (Path(p) / DESCRIPTION).exists()]
    projects = [Path(p) for p in paths if Path(p).suffix == ".toml"]
    picks = [Path(p) for p in paths if is_pick_file(Path(p))]
    folders = [p for p in map(Path, paths) if p.is_dir() and not tomograms_in_folder(p) and p not in models]
    of_picks = {folder: found for folder in folders if (found := list(pick_files_in(folder).values()))}
    rest = [p for p in paths if Path(p) not in {*models, *projects, *picks, *of_picks}]
    in_folders = [file for found in of_picks.values() for file in sorted(found)]
    picks += in_folders
    lines: list[str] = []
    tomograms: list[Tomogram] = []
    for path in find_tomograms(rest) if rest else []:
        try:
            tomograms.append(open_tomogram(path, spacing_A=spacing_A))
        except SpacingError as error:  # the rest is told as it is, in voxels
            lines += [f"{path.name}: {error}; below as if of 1 Å", ""]
            tomograms.append(open_tomogram(path, spacing_A=1.0))
    for tomogram in tomograms:
        own = [p for p in picks if (len(tomograms) == 1 and p not in in_folders) or belongs_to(p.stem, tomogram.name)]
        beside = (
            [] if own or tomogram.path is None else picks_beside(tomogram.path, [t.path for t in tomograms if t.path])
        )
        sets = [(p.name, read_picks(p, tomogram=tomogram)) for p in own or beside]
        lines += [*inspect_tomogram(tomogram, sets).lines(), ""]
        picks = [p for p in picks if p not in own]
    for path in picks:
        try:
            lines += [*inspect_picks(path.name, read_picks(path, spacing_A=spacing_A)).lines(), ""]
        except InputError as error:
            if path not in in_folders:
                raise
            lines += [f"{path.name}: {error}", ""]  # a table of something else, say
    for path in projects:
        lines += [*inspect_project(path).lines(), ""]
    for path in models:
        model = load_model(path)
        int8 = read_int8(model, path)
        lines += [*model.lines(), *([f"  {int8.line()}"] if int8 else []), ""]
    return lines[:-1]
