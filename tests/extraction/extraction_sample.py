"""A particle without symmetry, and the tomogram of it that tests of extraction share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etpick.simulate import Species
from etpick.simulate.species import species_from_density
from etpick.types import Particles, Tomogram

SPACING_A = 10.0


@dataclass(frozen=True, eq=False)
class Sample:
    folder: Path
    tomogram: Tomogram
    truth: Particles
    species: Species

    @property
    def picks(self) -> Path:
        return self.folder / "t1.csv"

    @property
    def path(self) -> Path:
        return self.folder / "t1.mrc"


def handed_species() -> Species:
    """Four balls of different sizes at the ends and the bends of a screw: no mirror image of itself."""
    z, y, x = np.indices((23, 23, 23)) - 11
    density = np.zeros((23, 23, 23))
    for (bz, by, bx), radius in zip(
        [(-5, 4, 0), (-2, -3, 3), (2, -3, -4), (5, 3, -2)], (4.0, 3.5, 3.0, 2.5), strict=True
    ):
        density += (z - bz) ** 2 + (y - by) ** 2 + (x - bx) ** 2 < radius**2
    return species_from_density("screw", density.clip(max=1), SPACING_A, SPACING_A)
