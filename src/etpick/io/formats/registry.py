"""The table of formats, and which of them a file has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from etpick.errors import InputError, OutputError
from etpick.io.formats.base import PickFormat
from etpick.io.formats.chimerax import read_cxc, write_cxc
from etpick.io.formats.copick import is_copick, read_copick, write_copick, write_run
from etpick.io.formats.deepfinder import is_object_list, read_deepfinder, write_deepfinder
from etpick.io.formats.dynamo import read_dynamo, write_dynamo, write_map
from etpick.io.formats.eman import is_eman, read_box, read_eman, write_box, write_eman
from etpick.io.formats.imod import (
    is_motl,
    read_model,
    read_peet,
    read_points,
    write_model,
    write_peet,
    write_peet_model,
    write_points,
)
from etpick.io.formats.motl import is_motive_list, read_motive_list, write_motive_list
from etpick.io.formats.portal import read_portal, write_portal
from etpick.io.formats.star import join_stars, read_star, write_relion4, write_relion5, write_warp
from etpick.io.formats.text import join_csvs, read_text, write_coords, write_csv, write_deepetpicker

_FROM_0 = "voxels from 0"
_ALL = frozenset({"class names", "scores", "angles", "spacing", "tomogram"})
_STAR = _ALL | {"class numbers"}

BY_NAME: Mapping[str, PickFormat] = MappingProxyType(
    {
        form.name: form
        for form in (
            PickFormat("csv", "CSV with a header", (".csv",), read_text, write_csv, positions=_FROM_0, holds=_ALL,
                       join=join_csvs),
            PickFormat("relion4", "RELION 3.1 and 4", (".star",), read_star, write_relion4,
                       positions=_FROM_0, holds=_STAR, join=join_stars),
            PickFormat("relion5", "RELION 5", (".star",), read_star, write_relion5,
                       positions="Å from size / 2", holds=_STAR, join=join_stars),
            PickFormat("warp", "Warp; M is read", (".star",), read_star, write_warp,
                       positions=f"{_FROM_0}; M: Å", holds=_STAR, join=join_stars),
            PickFormat("coords", "plain text", (".coords", ".txt"), read_text, write_coords,
                       positions=_FROM_0, holds=frozenset({"class names"})),
            PickFormat("deepetpicker", "DeepETPicker", (".coords",), read_text, write_deepetpicker,
                       positions=_FROM_0, holds=frozenset({"class numbers"})),
            PickFormat("dynamo", "Dynamo table", (".tbl",), read_dynamo, write_dynamo,
                       beside=MappingProxyType({".doc": write_map}), positions="voxels from 1, plus shifts",
                       holds=frozenset({"class numbers", "scores", "angles", "spacing", "tomogram"})),
            PickFormat("imod", "IMOD model", (".mod",), read_model, write_model,
                       positions="x, y: voxel centres at ½; z: from 0", holds=frozenset({"class names", "spacing"})),
            PickFormat("imod-text", "IMOD point file", (".point", ".txt"), read_points, write_points,
                       positions="as in the model", holds=frozenset({"class numbers"})),
            PickFormat("peet", "PEET motive list and model", (".csv",), read_peet, write_peet, is_motl,
                       beside=MappingProxyType({".mod": write_peet_model}), positions="model, plus offsets",
                       holds=frozenset({"class numbers", "scores", "angles", "spacing"})),
            PickFormat("copick", "copick", (".json",), read_copick, write_copick, is_copick, write_folder=write_run,
                       positions="Å from the first voxel's centre", holds=_ALL),
            PickFormat("eman2", "EMAN2 info file", (".json",), read_eman, write_eman, is_eman,
                       positions="unbinned voxels from size // 2", holds=frozenset({"class names", "scores"})),
            PickFormat("eman2-box", "EMAN2 box text", (".box",), read_box, write_box, positions=_FROM_0),
            PickFormat("artiax", "TOM, Artiatomi, ArtiaX motive list", (".em",), read_motive_list, write_motive_list,
                       is_motive_list, positions="voxels from 1, plus shifts",
                       holds=frozenset({"class numbers", "scores", "angles"})),
            PickFormat("chimerax", "ChimeraX markers", (".cxc",), read_cxc, write_cxc,
                       positions="Å from the first voxel's centre",
                       holds=frozenset({"class names", "spacing", "tomogram"})),
            PickFormat("deepfinder", "DeepFinder object list", (".xml",), read_deepfinder, write_deepfinder,
                       is_object_list, positions=_FROM_0, holds=frozenset({"class numbers", "angles"})),
            PickFormat("portal", "CryoET Data Portal", (".ndjson",), read_portal, write_portal,
                       positions=_FROM_0, holds=frozenset({"angles"})),
        )
    }
)  # fmt: skip
"""By name; where several share a suffix, the first is written unless another is asked for."""

FORMATS: Mapping[str, tuple[PickFormat, ...]] = MappingProxyType(
    {
        suffix: tuple(form for form in BY_NAME.values() if suffix in form.suffixes)
        for suffix in dict.fromkeys(suffix for form in BY_NAME.values() for suffix in form.suffixes)
    }
)
"""By suffix; the order says which is read where several files of one name stand side by side."""

SEARCHED = tuple(suffix for suffix in FORMATS if suffix not in (".mod", ".point"))
"""Looked for in folders; models and their points hold anything, mostly gold beads, and are opened by name."""


def format_to_read(path: Path, name: str | None = None) -> PickFormat:
    """The format of a file or folder, by name, suffix and content; raises InputError where it is none of ours."""
    if not path.exists():
        raise InputError(f"no pick file {path}: nothing is there")
    if name is not None:
        return _named(name, InputError)
    candidates = FORMATS.get(path.suffix.lower(), ())
    if path.is_dir():
        candidates = tuple(form for form in BY_NAME.values() if form.write_folder)
    if not candidates:
        raise InputError(f"unknown pick format {path.suffix!r} of {path}: use one of {', '.join(FORMATS)}")
    fallback = next((form for form in candidates if form.recognises is None), None)
    found = next((form for form in candidates if form.recognises and form.recognises(path)), fallback)
    if found is None and path.is_dir():
        raise InputError(f"no pick file {path}: it is a folder, and not that of a run of copick")
    if found is None:
        kinds = " or ".join(form.title for form in candidates)
        raise InputError(f"{path} holds no picks: a {path.suffix} file with picks is one of {kinds}")
    return found


def format_to_write(path: Path, name: str | None = None) -> PickFormat:
    """The format to write, by name, or the first that has the suffix; raises OutputError."""
    suffix = path.suffix.lower()
    if name is not None:
        form = _named(name, OutputError)
        if suffix not in form.suffixes and not (form.write_folder and not suffix):
            raise OutputError(f"{path} does not end as {form.title} does: call it {' or '.join(form.suffixes)}")
    elif suffix in FORMATS:
        form = FORMATS[suffix][0]
    else:
        raise OutputError(f"unknown pick format {path.suffix!r} of {path}: use one of {', '.join(FORMATS)}")
    return form


def is_pick_file(path: Path) -> bool:
    """Whether a file has a suffix of picks and, where others use that suffix too, looks like picks."""
    candidates = FORMATS.get(path.suffix.lower(), ())
    return any(form.recognises is None or (path.is_file() and form.recognises(path)) for form in candidates)


def _named(name: str, error: type[InputError] | type[OutputError]) -> PickFormat:
    if name not in BY_NAME:
        raise error(f"unknown pick format {name!r}: use one of {', '.join(BY_NAME)}")
    return BY_NAME[name]
