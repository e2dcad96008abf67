"""Rows of a pick file in tomogram voxels, before classes and tomogram are settled."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.types import FloatArray


@dataclass(frozen=True)
class Grid:
    """What a reader must know of the tomogram: its shape zyx, its spacing, and the binning of its voxels.

    `binning` is how many voxels of the pick file fit into one voxel of the tomogram along an axis; positions in
    Å do not heed it.
    """

    shape: tuple[float, float, float] | None = None
    spacing_A: float | None = None
    binning: float = 1.0

    def from_A(self, positions_A: FloatArray, path: Path) -> FloatArray:
        """Å from the centre of the first voxel → voxels of the tomogram; raises InputError without a spacing."""
        return positions_A / self.known_spacing_A(path)

    def known_spacing_A(self, path: Path) -> float:
        """The spacing, or an InputError that says how to give it."""
        if self.spacing_A is None:
            raise InputError(f"{path} gives positions in Å: give the tomogram (--tomogram), or its spacing (--spacing)")
        return self.spacing_A

    def known_shape(self, path: Path) -> FloatArray:
        """The shape zyx, or an InputError that says how to give it."""
        if self.shape is None:
            raise InputError(
                f"{path} counts from the tomogram's centre: give the tomogram (--tomogram), or its size (--size)"
            )
        return np.array(self.shape, dtype=np.float64)

    def stated(self, spacing_A: float | None) -> float | None:
        """The spacing of the tomogram that follows from the one which the file states for its own voxels."""
        return spacing_A * self.binning if spacing_A else None


@dataclass(frozen=True, eq=False)
class PickTable:
    """One row per pick. positions: (n, 3) zyx voxels of the tomogram. labels: (n,) as written, "" where none.

    scores and class_probability: (n,) or None; angles: (n, 3) or None; tomograms: (n,) names or None;
    spacing_A: of the tomogram's voxels, where the file says so. in_A: whether the file gives positions in Å.
    """

    positions: FloatArray
    labels: NDArray[np.str_]
    scores: FloatArray | None = None
    class_probability: FloatArray | None = None
    angles: FloatArray | None = None
    tomograms: NDArray[np.str_] | None = None
    spacing_A: float | None = None
    in_A: bool = False

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, rows: NDArray[np.bool_]) -> Self:
        """The rows at a mask."""
        names = ("positions", "labels", "scores", "class_probability", "angles", "tomograms")
        kept: dict[str, Any] = {name: value[rows] for name in names if (value := getattr(self, name)) is not None}
        return replace(self, **kept)

    def of_tomogram(self, name: str | None, path: Path) -> Self:
        """The rows of one tomogram. A file about a single tomogram is believed to be about this one.

        Raises InputError where the file covers several and none, or no name at all, fits.
        """
        if self.tomograms is None or len(found := sorted({str(name) for name in self.tomograms})) < 2:
            return self
        listed = ", ".join(found[:10]) + (" …" if len(found) > 10 else "")
        if name is None:
            raise InputError(
                f"{path} holds picks of {len(found)} tomograms ({listed}): name one of them, too (in convert --name)"
            )
        fitting = [entry for entry in found if belongs_to(name, tomogram_name(entry))]
        if fitting:  # TS_01 and TS_01_b both begin TS_01_b_10Apx: the longer name is meant
            return self.select(self.tomograms == max(fitting, key=lambda entry: len(tomogram_name(entry))))
        raise InputError(f"{path} has no picks of {name}: it is about {listed}; rename, or choose another file")


def tomogram_name(path: Path | str) -> str:
    """File name without folder and without the suffixes of images: `a/t1.mrc.gz` → `t1`.

    A copick tomogram, `RUN/VoxelSpacing10.000/wbp.zarr`, has the name of its run.
    """
    path = Path(path)
    if path.suffix == ".zarr" and _COPICK_SPACING.fullmatch(path.parent.name) and path.parent.parent.name:
        return path.parent.parent.name
    name = path.name
    for suffixes in (_PACKED, _IMAGES, _OME):
        stem, dot, suffix = name.rpartition(".")
        if stem and dot and suffix.lower() in suffixes:
            name = stem
    return name


_PACKED = ("gz", "bz2")
_IMAGES = ("mrc", "rec", "st", "map", "npy", "tomostar", "mrcs", "zarr", "tif", "tiff", "em")
_OME = ("ome",)
_COPICK_SPACING = re.compile(r"VoxelSpacing(\d+(?:\.\d+)?)")


def copick_spacing_A(path: Path) -> float | None:
    """The spacing that the folder of a copick tomogram is named for, None elsewhere."""
    found = _COPICK_SPACING.fullmatch(path.parent.name)
    return float(found[1]) if found else None


_SEPARATORS = "_-. "


def belongs_to(name: str, stem: str) -> bool:
    """Whether `name` is `stem`, or `stem`, a separator and more: t_1 and t_1_ribosomes, never t_10."""
    return name == stem or (name.startswith(stem) and name[len(stem)] in _SEPARATORS)
