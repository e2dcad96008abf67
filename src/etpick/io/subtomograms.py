"""Where subtomograms go: an MRC each for RELION, one MRC of all, or a Zarr store. Rows count from 0.

A stack and a store grow under the name NAME.partial and get their own name when every row is there, so that an
extraction that was stopped can go on; opened again, they go back to that name first.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.io.mrc import read_mrc, write_mrc
from etpick.types import FloatArray

SubtomogramFormat = Literal["relion", "stack", "zarr"]
Box = NDArray[np.float32]
_PARTIAL = ".partial"


class SubtomogramStore(Protocol):
    """Boxes [z, y, x] by row."""

    def write(self, row: int, box: Box) -> None:
        """Keep a box; a row written twice holds the last."""

    def read(self, row: int) -> Box:
        """The box of a row that has been written."""

    def finish(self) -> Path:
        """Say that every row is there; returns what to open. Rows can still be read."""

    def close(self) -> None:
        """Let go of files."""


class RelionFiles:
    """An MRC file for each box. paths: (n,) of the rows; spacings_A: (n,)."""

    def __init__(self, folder: Path, paths: Sequence[Path], spacings_A: Sequence[float]) -> None:
        self.folder, self.paths, self.spacings_A = folder, paths, spacings_A

    def write(self, row: int, box: Box) -> None:
        """Keep a box."""
        write_mrc(self.paths[row], box, self.spacings_A[row], overwrite=True)

    def read(self, row: int) -> Box:
        """A box, mapped into memory."""
        return np.asarray(read_mrc(self.paths[row]).data)

    def finish(self) -> Path:
        """Nothing to do; every file has its name already."""
        return self.folder

    def close(self) -> None:
        """Nothing to do."""


class Stack:
    """One MRC of n volumes one above the other (a volume stack, space group 401)."""

    def __init__(self, path: Path, count: int, box_vx: int, spacing_A: float) -> None:
        import mrcfile

        self.path, self.partial = path, path.with_name(path.name + _PARTIAL)
        _reopen(self.path, self.partial)
        if not self.partial.exists():
            with mrcfile.new_mmap(self.partial, (count, box_vx, box_vx, box_vx), mrc_mode=2) as mrc:
                mrc.voxel_size = spacing_A
                mrc.header.label[0] = "Written by etpick"  # the library's label holds the time of day
        self._file = mrcfile.mmap(self.partial, mode="r+")

    def write(self, row: int, box: Box) -> None:
        """Keep a box."""
        self._file.data[row] = box

    def read(self, row: int) -> Box:
        """A box."""
        return np.asarray(self._file.data[row])

    def finish(self) -> Path:
        """Put statistics into the header, and give the file its name; it stays open to be read."""
        boxes, header = self._file.data, self._file.header
        header.dmin, header.dmax = boxes.min(), boxes.max()
        header.dmean = np.mean([box.mean(dtype=np.float64) for box in boxes])
        header.rms = -1  # not computed (MRC2014)
        self._file.flush()
        self.partial.replace(self.path)
        return self.path

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class ZarrStore:
    """A Zarr group: `subtomograms` (n, z, y, x), a chunk a box, and what is known of each beside it."""

    def __init__(
        self, path: Path, count: int, box_vx: int, columns: Mapping[str, FloatArray], attributes: Mapping[str, Any]
    ) -> None:
        zarr = import_zarr()
        self.path, self.partial = path, path.with_name(path.name + _PARTIAL)
        _reopen(self.path, self.partial)
        there = self.partial.exists()
        group = zarr.open_group(self.partial, mode="a")
        if not there:
            box = (box_vx,) * 3
            group.create_array("subtomograms", shape=(count, *box), chunks=(1, *box), dtype="float32")
            for name, values in columns.items():
                group.create_array(name, data=np.asarray(values))
            group.attrs.update(attributes)
        self._boxes = group["subtomograms"]

    def write(self, row: int, box: Box) -> None:
        """Keep a box."""
        self._boxes[row] = box

    def read(self, row: int) -> Box:
        """A box."""
        return np.asarray(self._boxes[row])

    def finish(self) -> Path:
        """Give the store its name."""
        self.partial.replace(self.path)
        self._boxes = import_zarr().open_group(self.path, mode="r")["subtomograms"]
        return self.path

    def close(self) -> None:
        """Nothing to do."""


def remove_unfinished(path: Path) -> None:
    """Take away what an extraction into `path` left behind when it was stopped."""
    partial = path.with_name(path.name + _PARTIAL)
    shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)


def _reopen(path: Path, partial: Path) -> None:
    """What was stopped between the last box and the end has its own name already."""
    if path.exists():
        path.replace(partial)


def import_zarr() -> Any:
    """The package; raises InputError where it is not installed."""
    try:
        import zarr
    except ImportError as error:
        raise InputError("subtomograms as Zarr need the package zarr: pip install 'etpick[zarr]'") from error
    return zarr
