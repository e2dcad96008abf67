"""The subtomograms of an extraction as spectra, and the STAR file that goes with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from etpick.averaging.expectation import Poses, Spectra
from etpick.averaging.grid import FourierGrid
from etpick.errors import InputError
from etpick.io.atomic import atomic_write
from etpick.io.mrc import read_mrc
from etpick.orientation import angles_of_matrices, matrices_of

if TYPE_CHECKING:
    import pandas as pd

LARGEST_BOX_VX: Final = 48
"""Larger subtomograms are binned to it by the light path."""

_VOXELS_AT_ONCE: Final = 2**22
_ANGLES: Final = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
_ORIGINS: Final = ["rlnOriginZAngst", "rlnOriginYAngst", "rlnOriginXAngst"]


@dataclass(frozen=True, eq=False)
class Extracted:
    """Subtomograms in a folder. spacing_A: of the grid, to which they are binned."""

    folder: Path
    optics: pd.DataFrame
    table: pd.DataFrame
    spectra: Spectra
    grid: FourierGrid
    spacing_A: float

    def __len__(self) -> int:
        return len(self.table)

    @property
    def box_A(self) -> float:
        """Edge of the box."""
        return self.grid.box_vx * self.spacing_A

    def at(self, poses: Poses) -> pd.DataFrame:
        """The table with other angles and origins."""
        return self.table.assign(**_columns(poses, self.spacing_A))


def read_extracted(folder: Path) -> Extracted:
    """The particles of FOLDER/particles.star. Raises InputError where their boxes or spacings differ."""
    import starfile

    blocks: dict[str, Any] = starfile.read(folder / "particles.star", always_dict=True)
    optics, table = blocks["optics"], blocks["particles"]
    if len(optics) > 1:
        found = ", ".join(f"{s:g} Å" for s in optics["rlnImagePixelSize"])
        raise InputError(f"the tomograms have different spacings ({found}): assess those of one spacing at a time")
    size, spacing_A = int(optics["rlnImageSize"].iloc[0]), float(optics["rlnImagePixelSize"].iloc[0])
    grid = FourierGrid(min(size, LARGEST_BOX_VX))
    wedges = list(dict.fromkeys(table["rlnCtfImage"]))
    measured = torch.stack([grid.of_half(_volume(folder / name)) for name in wedges])
    group = torch.tensor([wedges.index(name) for name in table["rlnCtfImage"]])
    names = list(table["rlnImageName"])
    values = torch.empty(len(names), len(grid.k), dtype=torch.complex64)
    at_once = max(1, _VOXELS_AT_ONCE // size**3)
    for i in range(0, len(names), at_once):
        boxes = torch.stack([_volume(folder / name) for name in names[i : i + at_once]])
        values[i : i + at_once] = grid.spectra(boxes)
    return Extracted(folder, optics, table, Spectra(values, measured, group), grid, spacing_A * size / grid.box_vx)


def poses_in(table: pd.DataFrame, spacing_A: float) -> Poses:
    """The angles and origins of a RELION table, in voxels of a spacing."""
    turns = matrices_of(table[_ANGLES].to_numpy(dtype=np.float64))[:, ::-1, ::-1]
    shifts = -table[_ORIGINS].to_numpy(dtype=np.float64) / spacing_A
    return Poses(torch.from_numpy(turns.copy()).float(), torch.from_numpy(shifts).float())


def write_star(path: Path, optics: pd.DataFrame, table: pd.DataFrame) -> None:
    """Write particles for RELION 3.1."""
    import starfile

    with atomic_write(path, overwrite=True) as temporary:
        starfile.write({"optics": optics, "particles": table}, temporary, float_format="%.6f")


def _columns(poses: Poses, spacing_A: float) -> dict[str, Any]:
    angles = angles_of_matrices(poses.rotations.double().numpy()[:, ::-1, ::-1])
    origins_A = -poses.shifts_vx.double().numpy() * spacing_A
    return dict(zip(_ANGLES, angles.T, strict=True)) | dict(zip(_ORIGINS, origins_A.T, strict=True))


def _volume(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(read_mrc(path).data, dtype=np.float32))
