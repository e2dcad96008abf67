"""Open tomograms of any format, and find them in folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError, SpacingError
from etpick.io.copick_project import is_copick_project, read_copick_project
from etpick.io.em import read_em
from etpick.io.mrc import read_mrc
from etpick.io.omezarr import FILES as ZARR_FILES
from etpick.io.omezarr import read_omezarr
from etpick.io.table import tomogram_name
from etpick.io.tiff import read_tiff
from etpick.io.volume import UNKNOWN, Stored
from etpick.types import Tomogram, Volume


def _read_npy(path: Path) -> Stored:
    try:
        return Stored(np.load(path, mmap_mode="r", allow_pickle=False), UNKNOWN)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} cannot be read as a NumPy array: {error}") from error


_MRC_SUFFIXES = (
    ".mrc",
    ".rec",
    ".map",
    ".st",
    ".mrc.gz",
    ".mrc.bz2",
    ".rec.gz",
    ".rec.bz2",
    ".map.gz",
    ".map.bz2",
)

READERS: Mapping[str, Callable[[Path], Stored]] = MappingProxyType({
    **dict.fromkeys(_MRC_SUFFIXES, read_mrc),
    ".npy": _read_npy, ".zarr": read_omezarr, ".em": read_em, ".tif": read_tiff, ".tiff": read_tiff,
})  # fmt: skip
"""By suffix; the longest that fits is taken."""

SEARCHED = tuple(s for s in READERS if s not in (".st", ".em", ".tif", ".tiff") and not s.startswith(".map"))
"""Looked for in folders, where .st are tilt series, .map and .em density maps or motive lists, .tif mostly movies;
those are opened by name."""


def open_tomogram(
    source: Path | str | NDArray[Any] | Tomogram, *, spacing_A: float | None = None, name: str | None = None
) -> Tomogram:
    """A tomogram from a file, an array [z, y, x], or itself; files are mapped into memory, not read.

    `spacing_A` in Å per voxel overrides the header. Without it a header of 0, 1, NaN or with axes that differ
    by more than 1 % is not believed. The name is the file's without its suffixes.

    Raises SpacingError where the spacing is missing or not believed, InputError where there is no such file
    or it is no volume of numbers.
    """
    if isinstance(source, Tomogram):
        return Tomogram(source.data, spacing_A or source.spacing_A, name or source.name, source.path)
    if isinstance(source, (str, Path)):
        return _open_file(Path(source), spacing_A, name)
    if spacing_A is None:
        raise SpacingError("an array has no voxel size: pass spacing_A, the Å per voxel")
    return _checked(Tomogram(np.asarray(source), spacing_A, name or "array"))


def _open_file(path: Path, spacing_A: float | None, name: str | None) -> Tomogram:
    contents = _reader(path)(path)
    own = spacing_A or _believed(contents.spacing_A, path)
    name = name or tomogram_name(path)
    return _checked(Tomogram(contents.data, own, name, path, _coarser(contents, own, name, path)))


def _coarser(contents: Stored, own_A: float, name: str, path: Path) -> tuple[Tomogram, ...]:
    """Copies with larger voxels, whose spacing follows from the sizes: they show the same field of view."""
    copies = []
    for copy in contents.coarser:
        ratios = [fine / coarse for fine, coarse in zip(contents.data.shape, copy.data.shape, strict=True)]
        if max(ratios) < 1.05 * min(ratios):  # else it is coarser along some axes only
            copies.append(Tomogram(copy.data, own_A * float(np.mean(ratios)), name, path))
    return tuple(copies)


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in ZARR_FILES)


def _reader(path: Path) -> Callable[[Path], Stored]:
    if path.is_dir() and _is_zarr(path):
        return read_omezarr
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a tomogram: name a file in it ({', '.join(READERS)})")
    if not path.exists():
        raise InputError(f"no tomogram {path}: nothing is there; check the path")
    suffix = _suffix(path, READERS)
    if suffix is None:
        raise InputError(f"unknown tomogram format {path.suffix!r} of {path}: use one of {', '.join(READERS)}")
    return READERS[suffix]


def _suffix(path: Path, suffixes: Iterable[str]) -> str | None:
    return next((s for s in sorted(suffixes, key=len, reverse=True) if path.name.lower().endswith(s)), None)


def _believed(spacing_A: tuple[float, float, float], path: Path) -> float:
    values = np.array(spacing_A)
    mend = "pass --spacing or set spacing_A in the project file"
    if np.isnan(values).all():
        raise SpacingError(f"no voxel size in {path.name}: {mend}")
    if not (np.isfinite(values).all() and (values > 0).all()) or np.allclose(values, 1, atol=1e-4):
        shown = next((v for v in values if not (np.isfinite(v) and v > 0)), values[0])
        raise SpacingError(f"voxel size {shown:.1f} Å in {path.name}: {mend}")
    if values.max() > 1.01 * values.min():
        shown = " × ".join(f"{v:.2f}" for v in values[::-1])
        raise SpacingError(f"voxel size {shown} Å (x, y, z) in {path.name} differs between axes: {mend}")
    return float(f"{values.mean():.6g}")  # headers are float32: 31.36, not 31.360000610351562


def _checked(tomogram: Tomogram) -> Tomogram:
    if min(tomogram.shape) < 2:
        raise InputError(f"{tomogram.name} is {tomogram.shape} voxels (z, y, x): an image or nothing, not a volume")
    if tomogram.data.dtype.kind not in "iuf":
        raise InputError(f"{tomogram.name} holds {tomogram.data.dtype}, not real numbers")
    return tomogram


def open_mask(path: Path) -> Volume:
    """The voxels [z, y, x] of a mask, numbers or truth values, mapped into memory; its spacing does not matter.

    Raises InputError where there is no such file or it is no volume.
    """
    data = _reader(path)(path).data
    return data if data.dtype == bool else _checked(Tomogram(data, 1.0, path.name)).data


def find_tomograms(paths: Iterable[Path | str], copick_tomograms: str | None = None) -> list[Path]:
    """Files as given, and for each folder its tomograms in natural order (t2 before t10), each once.

    Folders are searched for .mrc, .rec, .npy, packed or not, and .zarr; .st (tilt series, mostly), .map, .em (density
    maps) and .tif are taken where named. The configuration of a copick project stands for the tomograms of its runs, of
    the kind `copick_tomograms` (wbp@10) where there are several. Raises InputError where a path does not exist or a
    folder holds no tomogram.
    """
    found: dict[Path, None] = {}
    sources = [Path(path) for path in paths]
    if copick_tomograms is not None and not any(is_copick_project(source) for source in sources):
        raise InputError("--copick-tomograms chooses in a copick project, and no configuration of one was named")
    for path in sources:
        found |= dict.fromkeys(_at(path, copick_tomograms))
    if not found:
        raise InputError("no tomogram given: name files or folders")
    return list(found)


def _at(path: Path, copick_tomograms: str | None) -> list[Path]:
    if is_copick_project(path):
        return read_copick_project(path).tomograms(copick_tomograms)
    if path.is_dir() and not _is_zarr(path):
        return _in_folder(path)
    _reader(path)
    return [path]


def tomograms_in_folder(folder: Path) -> list[Path]:
    """The tomograms of a folder in natural order; none, where it holds none."""
    return sorted((path for path in _files_in(folder) if _suffix(path, SEARCHED)), key=_natural)


def _files_in(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if (p.is_file() or _is_zarr(p)) and not p.name.startswith(".")]


def _in_folder(folder: Path) -> list[Path]:
    if found := tomograms_in_folder(folder):
        return found
    here = _files_in(folder)
    others = sorted((path for path in here if _suffix(path, READERS)), key=_natural)
    hint = f"; {others[0].name} is read where you name it" if others else ""
    raise InputError(f"no tomogram in {folder}: looked for {', '.join(SEARCHED)} among {len(here)} files{hint}")


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
