"""OME-Zarr images (versions 0.4 and 0.5 of the format, ngff.openmicroscopy.org), read as they are asked for.

A voxel's coordinate is its centre's, so that with a translation of 0 the first voxel lies around the origin.
Levels of a pyramid are taken to cover the same field of view, corner on corner.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etpick.errors import InputError
from etpick.io.table import copick_spacing_A
from etpick.io.volume import ANGSTROMS, UNKNOWN, Stored
from etpick.types import Volume

if TYPE_CHECKING:
    import zarr

FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""What lies at the top of a Zarr folder."""


class Inner:
    """The last three axes of an array whose others have length 1."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array, self._first = array, (0,) * (array.ndim - 3)
        self.shape, self.dtype = array.shape[-3:], np.dtype(array.dtype)

    def __getitem__(self, key: Any, /) -> Any:
        return self._array[(*self._first, *(key if isinstance(key, tuple) else (key,)))]


def import_zarr(path: Path) -> Any:
    """The library; raises InputError where it is not installed."""
    try:
        import zarr
    except ImportError as error:
        raise InputError(f"{path} needs the package zarr: pip install 'etpick[zarr]'") from error
    return zarr


def read_omezarr(path: Path) -> Stored:
    """Open an OME-Zarr image, finest level first, or a bare Zarr array; nothing is read but metadata.

    The spacing is the scale of each level times that of the whole; unknown where no unit is named. A copick
    folder's spacing stands in for one that is unknown, and must agree with one that is not. Raises InputError
    for other axes than z, y, x, for missing levels, and where zarr is not installed.
    """
    zarr = import_zarr(path)
    try:
        node = zarr.open(str(path), mode="r")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read as a Zarr: {error}") from error
    if isinstance(node, zarr.Array):
        return Stored(_volume(path, node), UNKNOWN)
    levels = _levels(path, node)
    first, *rest = sorted(levels, key=lambda level: -int(np.prod(level.data.shape)))
    return _as_copick(path, Stored(first.data, first.spacing_A, tuple(rest)))


def _levels(path: Path, group: zarr.Group) -> list[Stored]:
    about: Mapping[str, Any] = dict(group.attrs)
    about = about.get("ome", about)  # 0.5 has its own key, 0.4 has not
    images = about.get("multiscales")
    if not images or not images[0].get("datasets"):
        inside = ", ".join(sorted(group.keys())[:8]) or "nothing"
        raise InputError(
            f"{path} is no OME-Zarr image (it has no multiscales; inside is {inside}): name an image in it"
        )
    image = images[0]
    axes = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes", "zyx")]
    names = "".join(str(a.get("name")) for a in axes).lower()
    if not names.endswith("zyx"):
        raise InputError(
            f"{path} has the axes {', '.join(names)}: etpick reads z, y, x, with others of length 1 before"
        )
    units = [ANGSTROMS.get(str(a.get("unit", "")).lower(), np.nan) for a in axes[-3:]]
    return [_level(path, group, entry, image, units) for entry in image["datasets"]]


def _level(path: Path, group: zarr.Group, entry: Mapping[str, Any], image: Mapping[str, Any], units: Any) -> Stored:
    try:
        array = group[str(entry["path"])]
    except KeyError as error:
        raise InputError(f"{path} lacks the level {entry.get('path')!r} that it promises: copy it again") from error
    z, y, x = (_scale(entry, np.nan) * _scale(image, 1.0) * np.array(units)).tolist()
    return Stored(_volume(path, array), (z, y, x))


def _scale(holder: Mapping[str, Any], absent: float) -> np.ndarray[Any, Any]:
    """The scale along z, y, x among the coordinate transformations; `absent` where none is given."""
    for transformation in holder.get("coordinateTransformations", ()):
        if transformation.get("type") == "scale":
            return np.array(transformation["scale"][-3:], dtype=np.float64)
    return np.full(3, absent)


def _volume(path: Path, array: Any) -> Volume:
    if not hasattr(array, "ndim") or array.ndim < 3 or max((1, *array.shape[:-3])) > 1:
        shape = getattr(array, "shape", "a group")
        raise InputError(f"{path} holds {shape}, not one volume (z, y, x): extract a time and a channel first")
    volume: Volume = array if array.ndim == 3 else Inner(array)
    return volume


def _as_copick(path: Path, image: Stored) -> Stored:
    named = copick_spacing_A(path)
    if named is None:
        return image
    if np.isnan(image.spacing_A).all():
        return Stored(image.data, (named,) * 3)
    if abs(np.mean(image.spacing_A) / named - 1) > 0.01:
        raise InputError(
            f"{path} lies in a folder for {named:g} Å but states {np.mean(image.spacing_A):g} Å voxels: correct one"
        )
    return image
