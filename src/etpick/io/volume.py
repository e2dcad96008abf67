"""What a reader of tomograms finds in a file, before anybody judges its header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from etpick.types import Volume

Spacing = tuple[float, float, float]
UNKNOWN: Final[Spacing] = (float("nan"),) * 3

ANGSTROMS: Final = {
    "angstrom": 1.0, "ångström": 1.0, "å": 1.0, "\u212b": 1.0, "a": 1.0, "nanometer": 10.0, "nm": 10.0,
    "micrometer": 1e4, "micron": 1e4, "microns": 1e4, "um": 1e4, "µm": 1e4, "μm": 1e4, "picometer": 0.01, "pm": 0.01,
}  # fmt: skip
"""Å in a unit of length, by its name in lower case; units in which nobody gives voxels are not among them."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Data [z, y, x] and the spacing in Å along z, y, x that the file states, believable or not.

    `coarser` are copies of the same field of view at larger spacings, where the file holds any.
    """

    data: Volume
    spacing_A: Spacing
    coarser: tuple[Stored, ...] = ()
