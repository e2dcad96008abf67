"""EM files, as TOM, Dynamo, PyTom and AV3 write them; the layout is the emfile library's."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from etpick.errors import InputError
from etpick.io.volume import UNKNOWN, Stored

_HEADER_BYTES = 512
_LITTLE_ENDIAN = (1, 6)  # VAX, PC
_COMPLEX = (8, 10)


def read_em(path: Path) -> Stored:
    """Map an EM file into memory.

    The header's pixel size is not used: by the format it is in nm × 1000, but programs differ by ten, so the
    spacing counts as unknown. Raises InputError for complex numbers, other byte order, and damaged files.
    """
    import emfile
    from emfile.specs import dtype_spec

    try:
        header, _ = emfile.read(path, header_only=True)
    except (struct.error, OSError) as error:
        raise InputError(f"{path} cannot be read as an EM file: {error}") from error
    kind, shape = header["dtype"], (header["zdim"], header["ydim"], header["xdim"])
    if kind in _COMPLEX:
        raise InputError(f"{path} holds complex numbers (EM type {kind}), a Fourier transform: give the volume itself")
    if kind not in dtype_spec or header["machine"] not in _LITTLE_ENDIAN or min(shape) < 1:
        raise InputError(
            f"{path} has EM type {kind} of machine {header['machine']} and {shape} voxels: etpick reads types "
            f"{', '.join(str(k) for k in dtype_spec if k not in _COMPLEX)} of a PC (6); convert it to MRC"
        )
    dtype = np.dtype(dtype_spec[kind]).newbyteorder("<")
    promised, found = dtype.itemsize * int(np.prod(shape, dtype=np.int64)), path.stat().st_size - _HEADER_BYTES
    if found < promised:
        raise InputError(f"{path} is truncated: its header promises {promised} bytes of voxels, {found} are there")
    return Stored(np.memmap(path, dtype, "r", _HEADER_BYTES, shape), UNKNOWN)
