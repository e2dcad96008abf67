"""Where not to pick: the zones of a tomogram, and the candidates that lie in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from etpick.config import ExclusionConfig
from etpick.errors import InputError
from etpick.geometry import rescale
from etpick.ops.coarse import coarsen
from etpick.ops.gold import Beads, find_beads
from etpick.ops.lamella import Plane, Slab, find_slab
from etpick.ops.masks import grid_scale, near_mask
from etpick.types import FloatArray, Particles, Shape3, Tomogram, Volume

COARSE_A: Final = 30.0  # grid on which lamella and gold are sought: noise averages out, a 5 nm bead stays
LARGEST_BEAD_A: Final = 250.0  # radius; what is wider is no bead

EDGE: Final = "at the edge"
SLAB: Final = "outside the lamella"
GOLD: Final = "near gold"
MASK: Final = "outside the mask"
AVOID: Final = "at the mask to avoid"
ZONES: Final = (EDGE, SLAB, GOLD, MASK, AVOID)
"""Names of the zones, in the order in which one is held responsible."""


@dataclass(frozen=True, eq=False)
class Masks:
    """Of one tomogram: where picking is allowed, and what it keeps away from; non-zero voxels [z, y, x] count.

    A mask covers the tomogram's field of view, perhaps at another binning; None where there is none.
    """

    allowed: Volume | None = None
    avoided: Volume | None = None


@dataclass(frozen=True, eq=False)
class Zones:
    """Where not to pick in one tomogram, in its voxels. What is None or 0 excludes nothing."""

    shape: Shape3
    spacing_A: float
    config: ExclusionConfig = field(default_factory=ExclusionConfig)
    slab: Slab | None = None
    beads: Beads | None = None
    masks: Masks = field(default_factory=Masks)

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """The zones that were asked for."""
        wanted = {
            EDGE: self.config.edge_A > 0, SLAB: self.slab is not None, GOLD: self.beads is not None,
            MASK: self.masks.allowed is not None, AVOID: self.masks.avoided is not None,
        }  # fmt: skip
        return tuple(name for name in ZONES if wanted[name])

    def of(self, positions: FloatArray) -> NDArray[np.str_]:
        """(n, 3) zyx voxels → (n,) name of the first zone that excludes each position, "" where none does."""
        names = np.full(len(positions), "", dtype=f"<U{max(map(len, ZONES))}")
        for zone in self.asked:
            free = np.flatnonzero(names == "")
            names[free[self._within(zone, positions[free])]] = zone
        return names

    def _within(self, zone: str, positions: FloatArray) -> NDArray[np.bool_]:
        c, voxel_A = self.config, self.spacing_A
        if zone == EDGE:
            to_edge = np.minimum(positions + 0.5, np.array(self.shape) - 0.5 - positions).min(axis=1)
            return np.asarray(to_edge * voxel_A < c.edge_A)
        if zone == SLAB and self.slab is not None:
            return np.asarray(self.slab.depth(positions) * voxel_A < c.slab_margin_A)
        if zone == GOLD and self.beads is not None:
            return np.asarray(self.beads.distance(positions) * voxel_A <= c.gold_margin_A)
        if zone == MASK and self.masks.allowed is not None:
            return ~self._near(self.masks.allowed, positions, 0.0)
        assert self.masks.avoided is not None  # or it was not asked for
        return self._near(self.masks.avoided, positions, c.avoid_margin_A)

    def _near(self, mask: Volume, positions: FloatArray, reach_A: float) -> NDArray[np.bool_]:
        scale = _scale(mask, self.shape, "mask")
        inside = np.clip(rescale(positions, scale), 0, np.array(mask.shape) - 1)  # sizes may have been rounded
        return near_mask(mask, inside, reach_A / self.spacing_A * scale)

    def holding(self, particles: Particles) -> Excluded:
        """Those of the particles that lie in a zone."""
        names = self.of(particles.positions)
        return Excluded(particles.select(names != ""), names[names != ""])

    def describe(self, zone: str) -> str:
        """A few words on what a zone is in this tomogram."""
        c = self.config
        if zone == EDGE:
            return f"{c.edge_A:g} Å"
        if zone == SLAB and self.slab is not None:
            return "none found, everything is searched" if self.slab.is_everything else self._lamella(self.slab)
        if zone == GOLD and self.beads is not None:
            beads = f"{len(self.beads)} bead{'s' if len(self.beads) != 1 else ''}"
            return f"{beads}, {c.gold_margin_A:g} Å around" if len(self.beads) else "none found"
        return f"{c.avoid_margin_A:g} Å around" if zone == AVOID and c.avoid_margin_A else ""

    def _lamella(self, slab: Slab) -> str:
        """Its faces in the middle of the field of view, and the larger tilt of the two."""
        middle = np.array([[0.0, (self.shape[1] - 1) / 2, (self.shape[2] - 1) / 2]])
        z = [_crossing(p, middle, end) for p, end in ((slab.low, 0.0), (slab.high, self.shape[0] - 1.0))]
        tilt = max(p.tilt_deg for p in (slab.low, slab.high) if p is not None)
        margin = self.config.slab_margin_A
        inwards = f", {margin:g} Å inwards" if margin > 0 else f", {-margin:g} Å beyond" if margin else ""
        return f"z {z[0]:.0f}–{z[1]:.0f}{f', tilted {tilt:.0f}°' if tilt >= 0.5 else ''}{inwards}"


def _crossing(plane: Plane | None, place: FloatArray, end: float) -> float:
    return end if plane is None else float(plane.height(place)[0])


def _scale(mask: Volume, shape: Shape3, name: str) -> float:
    if len(mask.shape) != 3:
        raise InputError(f"the {name} has {len(mask.shape)} dimensions {mask.shape}; a mask has three (z, y, x)")
    z, y, x = mask.shape
    try:
        return grid_scale(shape, (z, y, x))
    except InputError as error:
        raise InputError(f"the {name} does not fit its tomogram: {error}") from None


def find_zones(tomogram: Tomogram, config: ExclusionConfig, masks: Masks | None = None) -> Zones:
    """Look for what was asked for. The tomogram is read once where lamella or gold are.

    Raises InputError where a mask is no binned copy of the tomogram's field of view.
    """
    masks = masks or Masks()
    for mask, name in ((masks.allowed, "mask"), (masks.avoided, "mask to avoid")):
        if mask is not None:
            _scale(mask, tomogram.shape, f"{name} of {tomogram.name}")
    slab = beads = None
    if config.slab or config.gold:
        coarse = coarsen(tomogram.data, round(COARSE_A / tomogram.spacing_A))
        slab = find_slab(coarse) if config.slab else None
        beads = find_beads(coarse, LARGEST_BEAD_A / tomogram.spacing_A) if config.gold else None
    return Zones(tomogram.shape, tomogram.spacing_A, config, slab, beads, masks)


@dataclass(frozen=True, eq=False)
class Excluded:
    """Particles that lie in zones where nothing is picked, and the zone (n,) of each."""

    particles: Particles = field(default_factory=Particles.empty)
    zones: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, np.str_))

    def __len__(self) -> int:
        return len(self.particles)

    def counts(self) -> dict[str, int]:
        """How many lie in each zone that holds any."""
        return {zone: count for zone in ZONES if (count := int((self.zones == zone).sum()))}


def sentence(excluded: Excluded, zones: Zones) -> str:
    """`7 near gold (3 beads, 100 Å around), 5 outside the lamella (z 31–95)`, of the zones asked for."""
    counts = excluded.counts()
    told = ((zone, zones.describe(zone)) for zone in zones.asked)
    return ", ".join(f"{counts.get(zone, 0)} {zone}{f' ({what})' if what else ''}" for zone, what in told)
