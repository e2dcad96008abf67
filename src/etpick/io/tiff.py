"""TIFF stacks, plain, of ImageJ and of OME, read through tifffile."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.io.volume import ANGSTROMS, UNKNOWN, Spacing, Stored

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

_CACHE_BYTES = 256 << 20
_DEPTH_AXES = "ZQI"  # Q and I: a third axis that the file does not name


class Pages:
    """The pages of a compressed TIFF as a volume [z, y, x]; those used last are kept, up to 256 MiB."""

    def __init__(self, path: Path, series: TiffPageSeries, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, np.dtype(series.dtype)
        self._path = path
        size = self.dtype.itemsize * shape[1] * shape[2]
        self._page = lru_cache(maxsize=max(1, _CACHE_BYTES // max(1, size)))(self._decode)

    def _decode(self, z: int) -> NDArray[Any]:
        import tifffile

        with tifffile.TiffFile(self._path) as tif:
            page = tif.series[0].pages[z]
            if page is None:
                raise InputError(f"{self._path} lacks page {z + 1}: write it again")
            return np.asarray(page.asarray()).reshape(self.shape[1:])

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        depth, *plane = key if isinstance(key, tuple) else (key,)
        if not isinstance(depth, slice):
            return np.asarray(self._page(int(depth))[tuple(plane)])
        wanted = range(*depth.indices(self.shape[0]))
        if not len(wanted):
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *plane)]
        return np.stack([self._page(z)[tuple(plane)] for z in wanted])


def read_tiff(path: Path) -> Stored:
    """Map a TIFF stack into memory, or decode its pages as they are asked for, where it is compressed.

    The spacing comes from OME or ImageJ metadata; a plain TIFF's resolution is for printing and not believed.
    Raises InputError for colours, movies, several channels, and what tifffile cannot read.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            series = tif.series[0]
            spacing = _spacing(tif)
            shape = _volume_shape(path, series)
            if series.dataoffset is not None and not series.keyframe.is_tiled:  # contiguous and not compressed
                dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
                return Stored(np.memmap(path, dtype, "r", series.dataoffset, shape), spacing)
            pages = Pages(path, series, shape)
        pages[0]  # a missing codec is known now, not after an hour
    except (OSError, ValueError, IndexError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as a TIFF stack: {error}") from error
    return Stored(pages, spacing)


def _volume_shape(path: Path, series: TiffPageSeries) -> tuple[int, ...]:
    """Sizes along z, y, x, other axes being of length 1."""
    axes = {name: size for name, size in zip(series.axes, series.shape, strict=True) if size > 1 or name in "YX"}
    names = "".join(axes)
    if len(names) != 3 or names[0] not in _DEPTH_AXES or names[1:] != "YX":
        sizes = ", ".join(f"{name} {size}" for name, size in zip(series.axes, series.shape, strict=True))
        raise InputError(
            f"{path} has the axes {sizes}, not z, y, x: extract one volume (S are colours, T times, C channels)"
        )
    return tuple(axes.values())


def _spacing(tif: TiffFile) -> Spacing:
    if tif.is_ome:
        return _ome_spacing(tif.ome_metadata or "")
    return _imagej_spacing(tif) if tif.is_imagej else UNKNOWN


def _ome_spacing(text: str) -> Spacing:
    """PhysicalSizeZ, Y, X of the first image; OME's unit is µm where none is named."""
    from xml.etree import ElementTree

    for element in ElementTree.fromstring(text).iter():
        if element.tag.endswith("}Pixels"):
            sizes = [element.get(f"PhysicalSize{axis}", "nan") for axis in "ZYX"]
            units = [element.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"]
            z, y, x = (float(s) * ANGSTROMS.get(u.lower(), np.nan) for s, u in zip(sizes, units, strict=True))
            return z, y, x
    return UNKNOWN


def _imagej_spacing(tif: TiffFile) -> Spacing:
    """Slice distance (1 where ImageJ leaves it out) and the pages' pixels for each unit."""
    about = tif.imagej_metadata or {}
    unit = ANGSTROMS.get(str(about.get("unit", "")).replace("\\u00B5", "µ").lower())
    tags = tif.pages.first.tags
    if unit is None or "XResolution" not in tags or "YResolution" not in tags:
        return UNKNOWN
    y, x = (tags[name].value for name in ("YResolution", "XResolution"))
    if not (y[0] and x[0]):
        return UNKNOWN
    return float(about.get("spacing", 1.0)) * unit, y[1] / y[0] * unit, x[1] / x[0] * unit
