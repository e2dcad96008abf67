"""MRC files, read and written (format MRC2014: Cheng et al. 2015, J. Struct. Biol. 192, 146)."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.io.atomic import atomic_write
from etpick.io.volume import Spacing, Stored
from etpick.types import Volume

_HEADER_BYTES = 1024
_CHUNK_BYTES = 1 << 20
_KEPT = (np.int8, np.int16, np.uint16, np.float16, np.float32)  # modes 0, 1, 6, 12, 2
_READ_MODES = (0, 1, 2, 6, 12)
_OTHER_MODES = {
    3: "holds complex numbers, a Fourier transform",
    4: "holds complex numbers, a Fourier transform",
    16: "holds colours",
    101: "holds voxels of four bits",
}
_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2"}
_IMOD_STAMP = 1146047817
"""Marks files of IMOD, whose bytes of mode 0 are unsigned unless a flag says otherwise."""


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    spacing_A: Spacing

    @property
    def data_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)


def read_mrc(path: Path | str) -> Stored:
    """Map a file into memory, or unpack a gzip or bzip2 file into it (told by content, not by name).

    Modes 0, 1, 2, 6 and 12 of either byte order. Axis-order fields are ignored, as most programs of the
    field do. Raises InputError for other modes, stacks of volumes, and truncated or damaged files.
    """
    path = Path(path)
    packed = _packing(path)
    header = _read_header(path)
    if packed is None:
        found = path.stat().st_size - header.offset
        _refuse_truncated(path, header, found)
        data: NDArray[Any] = np.memmap(path, header.dtype, "r", header.offset, header.shape)
    else:
        data = _unpack(path, header)
    return Stored(data, header.spacing_A)


def _packing(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return _PACKED.get(file.read(2))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Errors of the library as ours, and its warnings kept to itself: what matters is checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(f"{path} is truncated or damaged ({error}): copy or reconstruct it again") from error
        except ValueError as error:
            raise InputError(f"{path} cannot be read as an MRC file: {error}") from error


def _read_header(path: Path) -> _Header:
    import mrcfile
    from mrcfile.utils import data_shape_from_header

    with _sentences(path), mrcfile.open(path, permissive=True, header_only=True) as mrc:
        header = mrc.header.copy()
    mode = int(header.mode)
    if mode not in _READ_MODES:
        what = f"{_OTHER_MODES[mode]} (MRC mode {mode})" if mode in _OTHER_MODES else f"has MRC mode {mode}"
        raise InputError(
            f"{path} {what}: etpick reads modes {', '.join(map(str, _READ_MODES))}; "
            "convert it, or check that it is an MRC file"
        )
    counts = [int(header[axis]) for axis in ("nx", "ny", "nz")]
    if min(counts) < 1:
        raise InputError(f"{path} has {' × '.join(map(str, counts))} voxels in its header: it is no tomogram")
    shape = tuple(int(n) for n in data_shape_from_header(header))
    if len(shape) != 3:
        what = "a stack of volumes" if len(shape) == 4 else "a single image"
        raise InputError(f"{path} holds {what} {shape}, not one volume: extract a volume (z, y, x) first")
    return _Header(_dtype(header), shape, _HEADER_BYTES + int(header.nsymbt), _spacing(header))


def _dtype(header: Any) -> np.dtype[Any]:
    from mrcfile.utils import data_dtype_from_header

    dtype: np.dtype[Any] = data_dtype_from_header(header)
    stamp, flags = np.frombuffer(header.extra2.tobytes()[40:48], header.mode.dtype)
    if dtype == np.int8 and stamp == _IMOD_STAMP and not flags & 1:
        return np.dtype(np.uint8)
    return dtype


def _spacing(header: Any) -> Spacing:
    """Cell edge over number of intervals, along z, y, x; NaN or infinite where the header has zeros."""
    cell = np.array([header.cella.z, header.cella.y, header.cella.x], dtype=np.float64)
    count = np.array([header.mz, header.my, header.mx], dtype=np.float64)
    with np.errstate(all="ignore"):
        z, y, x = np.where(cell == 0, 0.0, cell / count)
    return float(z), float(y), float(x)


def _refuse_truncated(path: Path, header: _Header, found: int) -> None:
    if found < header.data_bytes:
        raise InputError(
            f"{path} is truncated: its header promises {header.data_bytes} bytes of voxels "
            f"{header.shape}, {max(found, 0)} are there; copy or reconstruct it again"
        )


def _unpack(path: Path, header: _Header) -> NDArray[Any]:
    """The voxels of a compressed file, read to its end, where the checksum stands."""
    import bz2
    import gzip

    opener = gzip.open if _packing(path) == "gzip" else bz2.open
    raw = bytearray()  # grows with what is there: a damaged header may promise any size
    with _sentences(path), opener(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if len(raw) < header.offset + header.data_bytes:
                raw += chunk
    _refuse_truncated(path, header, len(raw) - header.offset)
    return np.frombuffer(raw, header.dtype, math.prod(header.shape), header.offset).reshape(header.shape)


def write_mrc(path: Path | str, data: Volume, spacing_A: float, *, overwrite: bool = False) -> Path:
    """Write a volume [z, y, x] with voxels of `spacing_A` Å; returns the path.

    int8, int16, uint16, float16 and float32 are kept, everything else becomes float32. Raises OutputError.
    """
    import mrcfile

    array: NDArray[np.generic] = np.asarray(data)
    if array.dtype not in _KEPT:
        array = array.astype(np.float32)
    with atomic_write(path, overwrite=overwrite) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statistics of NaN; they are the data's business
        with mrcfile.new(temporary) as mrc:
            mrc.set_data(array)
            mrc.set_volume()
            mrc.voxel_size = spacing_A
            mrc.header.label[0] = "Written by etpick"  # the library's label holds the time of day
    return Path(path)
