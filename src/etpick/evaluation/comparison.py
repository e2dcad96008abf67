"""Sets of picks held against each other, none of them the truth: what they share and what each has alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from etpick.evaluation.matching import match, radii_vx
from etpick.types import FloatArray, ParticleClass, Particles

ABSENT = -1


@dataclass(frozen=True, eq=False)
class Places:
    """The places at which the sets of one tomogram have picks.

    members: (n, s) row number of the pick of each of the s sets at each place, or ABSENT. Every pick is at one
    place, and a place holds at most one pick of each set.
    """

    sets: tuple[Particles, ...]
    members: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.members)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n, s) whether each set has a pick at each place."""
        return np.asarray(self.members != ABSENT)

    def regions(self) -> dict[tuple[bool, ...], NDArray[np.intp]]:
        """Place numbers by the sets that are there (one truth value a set), all 2^s − 1 regions of a Venn diagram."""
        wanted = [tuple(i in chosen for i in range(len(self.sets))) for chosen in _subsets(len(self.sets))]
        return {region: np.flatnonzero((self.present == region).all(axis=1)) for region in wanted}

    def picks(self, places: NDArray[np.intp]) -> Particles:
        """The picks at places, each by the first set that is there."""
        first = self.present[places].argmax(axis=1)
        parts = [s.select(self.members[places[first == i], i]) for i, s in enumerate(self.sets) if (first == i).any()]
        return joined(parts) if parts else self.sets[0].select(np.zeros(0, np.intp))

    def distances_vx(self, one: int, other: int) -> FloatArray:
        """Between the picks of two sets, at each place that both have."""
        a, b = self._rows_of_both(one, other)
        return np.asarray(np.linalg.norm(self.sets[one].positions[a] - self.sets[other].positions[b], axis=1))

    def same_class(self, one: int, other: int) -> NDArray[np.bool_]:
        """Whether two sets give a pick the same class, at each place that both have."""
        a, b = self._rows_of_both(one, other)
        return np.asarray(self.sets[one].classes[a] == self.sets[other].classes[b])

    def scores(self, number: int, shared: bool) -> FloatArray:
        """Scores of a set's picks at places that others have too, or that it has alone; empty without scores."""
        scores = self.sets[number].scores
        if scores is None:
            return np.zeros(0)
        rows = self.members[:, number]
        wanted = (rows != ABSENT) & ((self.present.sum(axis=1) > 1) == shared)
        return np.asarray(scores[rows[wanted]])

    def _rows_of_both(self, one: int, other: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        both = self.present[:, one] & self.present[:, other]
        return self.members[both, one], self.members[both, other]


def find_places(sets: Sequence[Particles], classes: Sequence[ParticleClass], spacing_A: float) -> Places:
    """The places of the picks of several sets in one tomogram, whatever their classes.

    The sets come in one after another: a set's picks are paired one to one with the places found so far, within
    half the diameter of the pick that founded the place, most pairs first, then nearest; a pick left over founds a
    place. With two sets that is one-to-one matching; with more, the order can decide where picks crowd within a
    radius. Raises InputError for picks of a class without a diameter.
    """
    members = np.zeros((0, len(sets)), dtype=np.intp)
    centres, radii = np.zeros((0, 3)), np.zeros(0)
    for number, picks in enumerate(sets):
        pairs = match(picks.positions, centres, radii)
        members[pairs.truth, number] = pairs.predicted
        new = np.delete(np.arange(len(picks)), pairs.predicted)
        founded = np.full((len(new), len(sets)), ABSENT, dtype=np.intp)
        founded[:, number] = new
        members = np.concatenate([members, founded])
        centres = np.concatenate([centres, picks.positions[new]])
        radii = np.concatenate([radii, radii_vx(picks.select(new), classes, spacing_A)])
    return Places(tuple(sets), members)


def joined(parts: Sequence[Particles]) -> Particles:
    """Picks of one tomogram one after the other; what some of them lack is left out of all."""
    columns: dict[str, FloatArray | None] = {}
    for name in ("scores", "class_probability", "angles"):
        values: list[FloatArray | None] = [getattr(part, name) for part in parts]
        known = [value for value in values if value is not None]
        columns[name] = np.concatenate(known) if len(known) == len(parts) else None
    return Particles(
        np.concatenate([p.positions for p in parts]), np.concatenate([p.classes for p in parts]), **columns,
        spacing_A=parts[0].spacing_A, tomogram=parts[0].tomogram,
    )  # fmt: skip


def region_name(region: Sequence[bool], names: Sequence[str]) -> str:
    """`only A`, `A and B`, …; of all sets, `all`."""
    there = [name for name, present in zip(names, region, strict=True) if present]
    if len(there) == 1:
        return f"only {there[0]}"
    return "all" if len(there) == len(names) > 2 else " and ".join(there)


def counts(places: Sequence[Places]) -> Mapping[tuple[bool, ...], int]:
    """How many places of all tomograms lie in each region."""
    each = [p.regions() for p in places]
    return {region: sum(len(regions[region]) for regions in each) for region in each[0]}


def _subsets(count: int) -> list[tuple[int, ...]]:
    """Of 0 … count − 1, the largest first; none empty."""
    return [chosen for size in range(count, 0, -1) for chosen in combinations(range(count), size)]
