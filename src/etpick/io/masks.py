"""Which mask belongs to which tomogram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etpick.errors import InputError
from etpick.io.table import belongs_to, tomogram_name
from etpick.io.tomograms import find_tomograms, open_mask


def find_masks(
    source: Path | str | None, tomograms: Sequence[Path], option: str, opened: Sequence[Path] | None = None
) -> dict[Path, Path]:
    """The mask of each tomogram; empty without a source.

    `source` is the mask of the only tomogram, or a folder in which each has one of its name, or of its name, a
    separator and more: t1.mrc, t1_mask.mrc. Those of `opened` (all if not given) are opened once, so that a
    broken one is known before hours of work. `option` names the source in errors. Raises InputError.
    """
    if source is None:
        return {}
    source = Path(source)
    found = _in_folder(source, tomograms, option) if source.is_dir() else _single(source, tomograms, option)
    for path in tomograms if opened is None else opened:
        open_mask(found[path])
    return found


def _single(source: Path, tomograms: Sequence[Path], option: str) -> dict[Path, Path]:
    if len(tomograms) != 1:
        raise InputError(
            f"{option} {source} is one file and there are {len(tomograms)} tomograms: give a folder with a mask of "
            "each tomogram's name"
        )
    return {tomograms[0]: source}


def _in_folder(folder: Path, tomograms: Sequence[Path], option: str) -> dict[Path, Path]:
    own = {path.resolve() for path in tomograms}
    masks = [path for path in find_tomograms([folder]) if path.resolve() not in own]
    found = {path: _of(path, masks, tomograms, option) for path in tomograms}
    missing = [path.name for path, mask in found.items() if mask is None]
    if missing:
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise InputError(
            f"no mask in {folder} ({option}) for {listed}: name masks as their tomograms, {tomogram_name(missing[0])}"
            f".mrc or {tomogram_name(missing[0])}_mask.mrc"
        )
    return {path: mask for path, mask in found.items() if mask is not None}


def _of(path: Path, masks: Sequence[Path], tomograms: Sequence[Path], option: str) -> Path | None:
    """The mask of one tomogram: of masks that begin with several tomograms' names, the longest name is meant."""
    name = tomogram_name(path)
    longer = [other for t in tomograms if len(other := tomogram_name(t)) > len(name)]
    fitting = [
        mask
        for mask in masks
        if belongs_to(stem := tomogram_name(mask), name) and not any(belongs_to(stem, other) for other in longer)
    ]
    exact = [mask for mask in fitting if tomogram_name(mask) == name]
    fitting = exact or fitting
    if len(fitting) > 1:
        listed = ", ".join(mask.name for mask in fitting)
        raise InputError(f"several masks for {path.name} ({option}): {listed}; leave one of them in the folder")
    return fitting[0] if fitting else None
