"""Which picks belong to which tomogram."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from etpick.errors import InputError
from etpick.io.copick_project import choose_picks
from etpick.io.formats.copick import PICKS
from etpick.io.formats.registry import SEARCHED, format_to_read, is_pick_file
from etpick.io.table import Grid, belongs_to, copick_spacing_A, tomogram_name

_OF_WARP: Final = re.compile(r"(.+)_\d+(?:\.\d+)?Apx(?:[_.-].*)?")  # TS_01_10.00Apx.mrc, reconstructed from TS_01


def find_picks(source: Path, tomograms: Sequence[Path]) -> dict[Path, Path]:
    """The pick file of each tomogram that has one.

    `source` is a folder in which it has the tomogram's name, or the name, a separator and more (t1_ribosomes.csv;
    of several formats side by side the first that etpick knows is taken), or one file: about the only tomogram,
    or about several that it names. Raises InputError where nothing fits, or more than one file does.
    """
    names = {tomogram_name(path): path for path in tomograms}
    if len(names) < len(tomograms):
        raise InputError("two of the tomograms have one name, by which their picks are found: extract them in two runs")
    found = _in_folder(source, names) if source.is_dir() else _single(source, names)
    if not found:
        raise InputError(
            f"{source} holds no picks of {', '.join(list(names)[:5])}: pick files are named as their tomograms "
            f"({', '.join(SEARCHED)})"
        )
    return found


def labels_beside(path: Path, tomograms: Sequence[Path]) -> list[Path]:
    """The pick files beside a tomogram to learn from; raises InputError where in copick they are of several people."""
    files = picks_beside(path, tomograms)
    return files if copick_spacing_A(path) is None else choose_picks(files)


def picks_beside(path: Path, tomograms: Sequence[Path]) -> list[Path]:
    """The pick files in the folder of a tomogram that carry its name and not the longer one of another.

    A copick tomogram's are all of its run.
    """
    if copick_spacing_A(path) is not None:
        return sorted((path.parent.parent / PICKS).glob("*.json"))
    return picks_named(
        path.parent, tomogram_name(path), [tomogram_name(t) for t in tomograms if t.parent == path.parent]
    )


def picks_named(folder: Path, name: str, names: Iterable[str]) -> list[Path]:
    """The pick files of a folder that carry a tomogram's name and not the longer one of another of `names`.

    Of several formats of one file side by side, the first that etpick looks for. Warp names tomograms by their tilt
    series and spacing, TS_01_10.00Apx: where nothing carries that name, TS_01.csv does, if no other is of TS_01.
    """
    names = list(names)
    files = _carrying(folder, name, names)
    series = _OF_WARP.fullmatch(name)
    if files or series is None or sum(belongs_to(other, series[1]) for other in names) > 1:
        return files
    return _carrying(folder, series[1], names)


def _carrying(folder: Path, name: str, names: Sequence[str]) -> list[Path]:
    longer = [other for other in names if len(other) > len(name)]
    chosen: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        mine = belongs_to(file.stem, name) and not any(belongs_to(file.stem, other) for other in longer)
        if mine and file.is_file() and file.suffix.lower() in SEARCHED and is_pick_file(file):
            best = chosen.get(file.stem, file)
            chosen[file.stem] = min(best, file, key=lambda f: SEARCHED.index(f.suffix.lower()))
    return [chosen[stem] for stem in sorted(chosen)]


def _in_folder(folder: Path, names: Mapping[str, Path]) -> dict[Path, Path]:
    found = {path: _of(name, picks_named(folder, name, names)) for name, path in names.items()}
    return {path: file for path, file in found.items() if file is not None}


def _of(name: str, files: Sequence[Path]) -> Path | None:
    """The file of exactly that name, or the only one that carries it."""
    mine = [f for f in files if f.stem == name] or list(files)
    if len(mine) > 1:
        listed = ", ".join(f.name for f in mine)
        raise InputError(f"several pick files for {name}: {listed}; leave one of them in the folder, or name it")
    return mine[0] if mine else None


def _single(file: Path, names: Mapping[str, Path]) -> dict[Path, Path]:
    if not file.is_file():
        raise InputError(f"no pick file {file}: nothing is there")
    if len(names) == 1:
        return dict.fromkeys(names.values(), file)
    stated = {tomogram_name(name) for name in tomograms_in(file)}
    if len(stated) < 2:
        raise InputError(
            f"{file} does not say which of the {len(names)} tomograms its picks are in: give one tomogram, or a "
            "folder with a pick file of each tomogram's name"
        )
    return {path: file for name, path in names.items() if any(belongs_to(name, other) for other in stated)}


def pick_files_in(folder: Path) -> dict[str, Path]:
    """The pick files of a folder by name without suffix; where formats stand side by side, the first of `SEARCHED`."""
    found = (p for suffix in reversed(list(SEARCHED)) for p in sorted(folder.glob(f"*{suffix}")))
    return {p.stem: p for p in found if is_pick_file(p)}


def tomograms_in(file: Path, style: str | None = None) -> list[str]:
    """The names of tomograms that a pick file gives in its rows, as written, each once; raises InputError."""
    anywhere = Grid((1, 1, 1), 1.0)  # only the names are wanted
    table = format_to_read(file, style).read(file, anywhere)
    return [] if table.tomograms is None else list(dict.fromkeys(str(name) for name in table.tomograms))
