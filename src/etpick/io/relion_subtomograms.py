"""The STAR file of subtomograms for RELION 3.1, and the CSV that goes with a stack or a Zarr store.

RELION 3.1 wants (reconstructor.cpp, obs_model.cpp, ml_optimiser.cpp):

- boxes with an even edge n, an MRC each, particles bright; the middle is voxel n // 2 of each axis, from 0;
- `rlnOriginX/Y/ZAngst`: the shift in Å that brings the particle to the middle, so minus the remainder, where
  boxes are cut at whole voxels. `rlnCoordinateX/Y/Z` is that whole voxel, so that coordinate − origin is the
  centre, as in every RELION file;
- `rlnAngleRot/Tilt/Psi`: a point r of the reference lies at A r in the box, A = Rz(psi) Ry(tilt) Rz(rot) with
  RELION's matrices (Euler_angles2matrix), which turn coordinates rather than points: the inverse of scipy's
  intrinsic "ZYZ" of the same angles;
- `rlnCtfImage`: what multiplies the reference's transform, as FFTW lays out half of it: n × n × (n/2 + 1) in
  z, y, x with the origin first. (A full n³ with the origin in the middle is also read; a half is exact, for an
  even n, and takes half the space.)
- a block `optics` with the pixel size, box size and dimensionality of each group of images, with voltage and
  spherical aberration, which it demands and does not use for subtomograms.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etpick.types import FloatArray, Particles

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class SubtomogramSet:
    """The subtomograms of one tomogram.

    particles: n of them, in its voxels. numbers: (n,) their lines in the pick file, from 1. middles: (n, 3) zyx
    whole voxels on which the boxes are centred. images: (n,) paths of the boxes, `ctf` that of the wedge, as they
    shall stand in the STAR file.
    """

    name: str
    spacing_A: float
    box_vx: int
    particles: Particles
    numbers: NDArray[np.int64]
    middles: NDArray[np.int64]
    images: Sequence[str]
    ctf: str

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def remainders(self) -> FloatArray:
        """(n, 3) zyx voxels from the box's middle voxel to the particle's centre."""
        return np.asarray(self.particles.positions - self.middles, dtype=np.float64)


@dataclass(frozen=True)
class Microscope:
    """What the optics block says of the microscope."""

    voltage_kV: float
    spherical_aberration_mm: float
    amplitude_contrast: float


def write_subtomogram_star(path: Path, sets: Sequence[SubtomogramSet], microscope: Microscope) -> None:
    """Write the particles of several tomograms; those of one spacing and box share an optics group."""
    import pandas as pd
    import starfile

    groups = list(dict.fromkeys(_group(s) for s in sets))
    classes = sorted({str(name) for s in sets for name in s.particles.classes})
    particles = pd.concat([_particles(s, groups.index(_group(s)) + 1, classes) for s in sets], ignore_index=True)
    blocks = {"optics": _optics(groups, microscope), "particles": particles}
    text = starfile.to_string(blocks, float_format="%.9g", na_rep="nan")
    body = [line for line in text.splitlines() if not line.startswith("# Created by")]  # it holds the time of day
    path.write_text("\n".join(["# Written by etpick", *body]) + "\n", encoding="utf-8")


def _group(one: SubtomogramSet) -> tuple[float, int]:
    return float(f"{one.spacing_A:.5g}"), one.box_vx


def _optics(groups: Sequence[tuple[float, int]], microscope: Microscope) -> pd.DataFrame:
    import pandas as pd

    n = len(groups)
    return pd.DataFrame(
        {
            "rlnOpticsGroup": range(1, n + 1),
            "rlnOpticsGroupName": [f"opticsGroup{i + 1}" for i in range(n)],
            "rlnVoltage": [microscope.voltage_kV] * n,
            "rlnSphericalAberration": [microscope.spherical_aberration_mm] * n,
            "rlnAmplitudeContrast": [microscope.amplitude_contrast] * n,
            "rlnImagePixelSize": [spacing_A for spacing_A, _ in groups],
            "rlnImageSize": [box_vx for _, box_vx in groups],
            "rlnImageDimensionality": [3] * n,
        }
    )


def _particles(one: SubtomogramSet, group: int, classes: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    particles, n = one.particles, len(one.particles)
    angles = np.zeros((n, 3)) if particles.angles is None else particles.angles
    columns: dict[str, object] = {"rlnMicrographName": [one.name] * n}
    columns |= zip([f"rlnCoordinate{axis}" for axis in "XYZ"], one.middles.T[::-1], strict=True)
    columns |= {"rlnImageName": list(one.images), "rlnCtfImage": [one.ctf] * n}
    columns |= zip([f"rlnAngle{name}" for name in ("Rot", "Tilt", "Psi")], angles.T, strict=True)
    origins_A = -one.remainders * one.spacing_A + 0.0  # no minus zeros
    columns |= zip([f"rlnOrigin{axis}Angst" for axis in "XYZ"], origins_A.T[::-1], strict=True)
    columns["rlnOpticsGroup"] = [group] * n
    columns["rlnClassNumber"] = [classes.index(str(name)) + 1 for name in particles.classes]
    if particles.scores is not None:
        columns["rlnAutopickFigureOfMerit"] = particles.scores
    if particles.class_probability is not None:
        columns["etpickClassProbability"] = particles.class_probability
    columns["etpickClassName"] = [str(name) for name in particles.classes]
    return pd.DataFrame(columns)


def write_subtomogram_csv(path: Path, sets: Sequence[SubtomogramSet]) -> None:
    """A line for each row of a stack: a pick file, with the shift from the box's middle to the particle's centre."""
    head = ("row", "class", "x", "y", "z", "score", "rot", "tilt", "psi", "tomogram", "spacing_A")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*head, "shift_x", "shift_y", "shift_z"])
        row = 0
        for one in sets:
            for i, line in enumerate(_lines(one), start=row):
                writer.writerow([i, *line])
            row += len(one.particles)


def _lines(one: SubtomogramSet) -> list[list[str]]:
    particles, n = one.particles, len(one.particles)
    scores = np.full(n, np.nan) if particles.scores is None else particles.scores
    angles = np.full((n, 3), np.nan) if particles.angles is None else particles.angles
    numbers = zip(particles.positions[:, ::-1], scores, angles, one.remainders[:, ::-1], strict=True)
    return [
        [
            str(name),
            *_cells(position),
            *_cells([score]),
            *_cells(turn),
            one.name,
            f"{one.spacing_A:.7g}",
            *_cells(shift),
        ]
        for name, (position, score, turn, shift) in zip(particles.classes, numbers, strict=True)
    ]


def _cells(values: Sequence[float] | FloatArray) -> list[str]:
    """Numbers as text; NaN, which stands for unknown, as nothing."""
    return ["" if np.isnan(value) else f"{value:.7g}" for value in values]
