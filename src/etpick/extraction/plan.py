"""What an extraction will cut from each tomogram, before a voxel is read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from etpick.config import ExtractionConfig
from etpick.errors import InputError
from etpick.geometry import rescale
from etpick.io.picks import read_picks, read_table
from etpick.io.sanity import describe_outside, is_outside, same_spacing
from etpick.ops.subtomograms import Cuts, plan_cuts
from etpick.types import NEGATIVE, Particles, Tomogram

MOST_OUTSIDE: Final = 0.05  # share of picks outside the tomogram from which they are held for another's


@dataclass(frozen=True, eq=False)
class Job:
    """What is cut from one tomogram. particles: those that get a box; numbers: theirs in the pick file, from 1."""

    tomogram: Tomogram
    particles: Particles
    numbers: NDArray[np.int64]
    cuts: Cuts
    box_vx: int

    @property
    def digest(self) -> str:
        """Tells other particles or boxes from these."""
        content = self.particles.positions.tobytes() + "\n".join(self.particles.classes).encode()
        return f"{len(self.cuts)} boxes of {self.box_vx} voxels, {hashlib.sha256(content).hexdigest()[:12]}"


def plan(
    tomogram: Tomogram, file: Path, config: ExtractionConfig, classes: Sequence[str], picks_spacing_A: float | None
) -> Job:
    """Read the picks of a tomogram, bring them to its voxels, and lay boxes around them.

    Raises InputError where the picks do not fit the tomogram.
    """
    particles = in_voxels_of(tomogram, file, picks_spacing_A)
    wanted = (particles.classes != NEGATIVE) & (np.isin(particles.classes, classes) if classes else True)
    numbers = np.flatnonzero(wanted)
    chosen = particles.select(numbers)
    outside = is_outside(chosen.positions, tomogram.shape)
    if len(chosen) and outside.mean() > MOST_OUTSIDE:
        problem = describe_outside(chosen.positions, tomogram.shape)
        raise InputError(f"{file} does not fit {tomogram.name}: {problem}")
    box_vx = config.box_of(tomogram.spacing_A)
    if config.background_A and config.background_A > box_vx * tomogram.spacing_A:
        raise InputError(
            f"a ball of {config.background_A:g} Å leaves too little background in a box of "
            f"{box_vx * tomogram.spacing_A:g} Å: give a smaller --background, or a larger --box"
        )
    return job_of(tomogram, chosen, config, numbers + 1)


def job_of(
    tomogram: Tomogram, particles: Particles, config: ExtractionConfig, numbers: NDArray[np.int64] | None = None
) -> Job:
    """Boxes around particles in the tomogram's voxels; `numbers` are their lines in the pick file, else 1 … n."""
    box_vx = config.box_of(tomogram.spacing_A)
    cuts = plan_cuts(particles.positions, tomogram.shape, box_vx, config.edge)
    lines = np.arange(1, len(particles) + 1) if numbers is None else numbers
    return Job(tomogram, particles.select(cuts.kept), lines[cuts.kept], cuts, box_vx)


def in_voxels_of(tomogram: Tomogram, file: Path, picks_spacing_A: float | None) -> Particles:
    """Particles in the voxels of a tomogram that may be binned otherwise than the one that was picked."""
    table = read_table(file, tomogram=tomogram)
    if picks_spacing_A and table.in_A:
        raise InputError(f"{file} gives positions in Å, which are the same at every binning: leave out --picks-spacing")
    stated_A = picks_spacing_A or table.spacing_A or tomogram.spacing_A
    particles = read_picks(file, tomogram=tomogram, spacing_A=stated_A)
    scale = 1.0 if same_spacing(stated_A, tomogram.spacing_A) else stated_A / tomogram.spacing_A
    return replace(
        particles, positions=rescale(particles.positions, scale), spacing_A=tomogram.spacing_A, tomogram=tomogram.name
    )
