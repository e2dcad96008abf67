"""RELION's tomograms.star: name, size and pixel size of each unbinned tomogram, and the binning of its picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from etpick.errors import InputError
from etpick.types import Shape3

if TYPE_CHECKING:
    import pandas as pd

_NAME, _PIXEL, _BINNING = "rlnTomoName", "rlnTomoTiltSeriesPixelSize", "rlnTomoTomogramBinning"
_SIZES = ("rlnTomoSizeZ", "rlnTomoSizeY", "rlnTomoSizeX")


@dataclass(frozen=True)
class StarTomogram:
    """A tomogram as RELION keeps it: unbinned voxels of `pixel_A`, of which `binning` make one of the picture's."""

    name: str
    shape: Shape3
    pixel_A: float
    binning: float = 1.0

    @property
    def spacing_A(self) -> float:
        """Å per voxel of the picture."""
        return self.pixel_A * self.binning

    @property
    def binned_shape(self) -> tuple[float, float, float]:
        """Sizes z, y, x of the unbinned tomogram in voxels of the picture; not rounded, so that its centre stays."""
        z, y, x = (n / self.binning for n in self.shape)
        return z, y, x


def read_tomograms_star(path: Path) -> dict[str, StarTomogram]:
    """The tomograms of a tomograms.star by name; raises InputError where a column is missing."""
    import starfile

    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=[_NAME])
    except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise InputError(f"{path} cannot be read as a STAR file: {error}") from error
    frames = [_frame(block) for block in blocks.values()]
    wanted = {_NAME, _PIXEL, *_SIZES}
    frame = next((frame for frame in frames if wanted <= set(frame.columns)), None)
    if frame is None:
        raise InputError(f"{path} is not RELION's tomograms.star: it needs the columns {', '.join(sorted(wanted))}")
    return {str(row[_NAME]): _tomogram(path, row) for row in frame.to_dict("records")}


def _frame(block: pd.DataFrame | dict[str, object]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([block]) if isinstance(block, dict) else block


def _tomogram(path: Path, row: Mapping[object, object]) -> StarTomogram:
    try:
        pixel_A, binning = float(str(row[_PIXEL])), float(str(row.get(_BINNING, 1)))
        z, y, x = (int(float(str(row[name]))) for name in _SIZES)
    except ValueError as error:
        raise InputError(f"tomogram {row[_NAME]} of {path}: {error}") from error
    if min(z, y, x) < 1 or not (np.isfinite(pixel_A) and pixel_A > 0 and binning > 0):
        raise InputError(f"tomogram {row[_NAME]} of {path} has a size, pixel size or binning that is not positive")
    return StarTomogram(str(row[_NAME]), (z, y, x), pixel_A, binning)


def write_tomograms_star(path: Path, tomogram: StarTomogram) -> None:
    """Write a table of one tomogram, without its tilt series, of which picks know nothing."""
    import pandas as pd
    import starfile

    columns: dict[str, object] = {_NAME: [tomogram.name], _PIXEL: [tomogram.pixel_A], _BINNING: [tomogram.binning]}
    columns |= {name: [size] for name, size in zip(_SIZES[::-1], tomogram.shape[::-1], strict=True)}
    text = starfile.to_string({"global": pd.DataFrame(columns)}, float_format="%.9g")
    body = [line for line in text.splitlines() if not line.startswith("# Created by")]
    path.write_text("\n".join(["# Written by etpick", *body]) + "\n", encoding="utf-8")
