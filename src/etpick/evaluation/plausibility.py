"""Do picks lie as particles can? Distances to the nearest other pick, and how many lie in each slab of the tomogram.

Two particles cannot be in one place: picks closer than a diameter are doubles, overlaps, or elongated particles. And
picks that crowd at the top or bottom face, or lie evenly where there is no sample, are not all particles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.types import FloatArray, Shape3

SLABS: Final = 10
_CLOSE: Final = 0.9  # diameters, below which two picks overlap
_MANY: Final = 0.05  # share of overlapping picks from which it is said
_EXCESS: Final = 3.0  # times the mean of the others in a slab at a face
_FEW: Final = 20  # picks, below which nothing is said of slabs


@dataclass(frozen=True, eq=False)
class Plausibility:
    """Of the picks of one class in one tomogram.

    nearest: (n,) distance to the nearest other pick in diameters, infinite for a lone one. slabs: (10,) picks from the
    lowest z to the highest.
    """

    count: int
    nearest: FloatArray
    slabs: NDArray[np.intp]

    @property
    def overlapping(self) -> int:
        """Picks whose nearest neighbour is closer than 0.9 of a diameter."""
        return int((self.nearest < _CLOSE).sum())

    def remarks(self) -> list[str]:
        """What looks wrong, each in a sentence; empty where nothing does."""
        said = []
        if self.count and self.overlapping > _MANY * self.count:
            said.append(
                f"{self.overlapping} of {self.count} picks are closer than {_CLOSE:g} diameters to another: "
                "doubles, or a diameter given too large"
            )
        for slab, face in ((0, "lowest"), (SLABS - 1, "highest")):
            others = np.delete(self.slabs, slab).mean()
            if self.count >= _FEW and self.slabs[slab] > _EXCESS * max(others, 1):
                said.append(
                    f"{self.slabs[slab]} of {self.count} picks lie in the {face} tenth of the tomogram, "
                    f"{self.slabs[slab] / max(others, 1):.1f} times as many as elsewhere: noise at the face?"
                )
        return said

    def line(self) -> str:
        """Numbers in a sentence."""
        known = self.nearest[np.isfinite(self.nearest)]
        middle = f"{np.median(known):.1f}" if len(known) else "–"
        return (
            f"nearest neighbours {middle} diameters apart (median), {self.overlapping} of {self.count} overlap; "
            f"picks from low z to high: {' '.join(map(str, self.slabs))}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        known = self.nearest[np.isfinite(self.nearest)]
        return {
            "count": self.count, "overlapping": self.overlapping, "slabs": self.slabs.tolist(),
            "median_nearest_diameters": float(np.median(known)) if len(known) else None, "remarks": self.remarks(),
        }  # fmt: skip


def plausibility(positions: FloatArray, shape: Shape3, diameter_vx: float) -> Plausibility:
    """Of (n, 3) zyx positions in a tomogram of a shape."""
    from scipy.spatial import KDTree

    nearest = np.full(len(positions), np.inf)
    if len(positions) > 1:
        nearest = np.asarray(KDTree(positions).query(positions, k=2)[0])[:, 1] / diameter_vx
    slab = ((positions[:, 0] + 0.5) * SLABS / shape[0]).astype(np.intp).clip(0, SLABS - 1)
    return Plausibility(len(positions), nearest, np.bincount(slab, minlength=SLABS))
