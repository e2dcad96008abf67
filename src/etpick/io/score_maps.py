"""Score maps, written slab by slab as a network gives them: MRC, or OME-Zarr with a channel for each class."""

from __future__ import annotations

import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.errors import OutputError
from etpick.io.atomic import atomic_write, make_folder
from etpick.io.omezarr import import_zarr
from etpick.types import Shape3

ANY: Final = "any particle"
_CHUNK_VX: Final = 64

Put = Callable[[int, NDArray[np.floating], NDArray[np.floating]], None]
"""put(start, foreground, classes): (z, y, x) and (c, z, y, x) scores of the slices from `start` on."""


@dataclass(frozen=True)
class MapGrid:
    """The voxels of a score map: shape zyx, spacing in Å, and where the centre of the first one lies, in Å zyx from
    the centre of the tomogram's first voxel."""

    shape: Shape3
    spacing_A: float
    origin_A: tuple[float, float, float]


@contextmanager
def writing_scores(path: Path, grid: MapGrid, classes: Sequence[str], *, overwrite: bool = False) -> Iterator[Put]:
    """Yield a function that takes slabs in any order, again where they come again; the file appears when all is done.

    .mrc holds the chance of any particle, .zarr (OME-Zarr 0.5) that and each class's as channels. Raises
    OutputError where the file exists or cannot be written, InputError where zarr is not installed.
    """
    writer = _zarr if path.suffix == ".zarr" else _mrc
    with writer(path, grid, classes, overwrite) as put:
        yield put


@contextmanager
def _mrc(path: Path, grid: MapGrid, classes: Sequence[str], overwrite: bool) -> Iterator[Put]:
    import mrcfile

    with atomic_write(path, overwrite=overwrite) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.new_mmap(temporary, grid.shape, mrc_mode=2) as mrc:
            mrc.voxel_size = grid.spacing_A
            mrc.header.origin.z, mrc.header.origin.y, mrc.header.origin.x = grid.origin_A
            mrc.header.label[0] = "Written by etpick"

            def put(start: int, foreground: NDArray[np.floating], classes: NDArray[np.floating]) -> None:
                mrc.data[start : start + len(foreground)] = foreground

            yield put
            mrc.update_header_stats()


@contextmanager
def _zarr(path: Path, grid: MapGrid, classes: Sequence[str], overwrite: bool) -> Iterator[Put]:
    zarr = import_zarr(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: add --overwrite to replace it, or choose another name")
    make_folder(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        group = zarr.open_group(str(temporary), mode="w", zarr_format=3)
        names = [ANY, *classes]
        shape = (len(names), *grid.shape)
        chunks = (1, *(min(_CHUNK_VX, n) for n in grid.shape))
        array: Any = group.create_array("0", shape=shape, chunks=chunks, dtype="float16")
        group.attrs["ome"] = _about(grid, names)

        def put(start: int, foreground: NDArray[np.floating], classes: NDArray[np.floating]) -> None:
            stop = start + len(foreground)
            array[0, start:stop] = foreground.astype(np.float16)
            array[1:, start:stop] = classes.astype(np.float16)

        yield put
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        raise OutputError(f"could not write {path}: {error.strerror or error}; choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _about(grid: MapGrid, names: Sequence[str]) -> dict[str, Any]:
    """The metadata of OME-Zarr 0.5."""
    space = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
    placed = [
        {"type": "scale", "scale": [1.0, *[grid.spacing_A] * 3]},
        {"type": "translation", "translation": [0.0, *grid.origin_A]},
    ]
    image = {
        "name": "scores", "axes": [{"name": "c", "type": "channel"}, *space],
        "datasets": [{"path": "0", "coordinateTransformations": placed}],
    }  # fmt: skip
    window = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
    channels = [
        {"label": name, "active": name == ANY, "color": "FFFFFF" if name == ANY else "00FFFF", "window": window}
        for name in names
    ]
    return {"version": "0.5", "multiscales": [image], "omero": {"channels": channels}}
