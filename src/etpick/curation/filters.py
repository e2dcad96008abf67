"""Which picks to show, and which to ask about first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.types import FloatArray, Particles, Shape3


@dataclass(frozen=True)
class Filters:
    """What a pick must fulfil to be shown.

    min_score: by class; 0 for classes that are not named. classes: None for all. edge_A: how far from the faces of
    the tomogram. apart_A: how far from its nearest neighbour; near_A: it must have one within so many Å. Neighbours
    are picks that fulfil score and class.
    """

    min_score: Mapping[str, float] = field(default_factory=dict)
    classes: frozenset[str] | None = None
    edge_A: float = 0.0
    apart_A: float = 0.0
    near_A: float | None = None

    def __post_init__(self) -> None:
        for name in ("edge_A", "apart_A", "near_A"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} = {value} is not a distance in Å: give 0 or more")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"classes": None if self.classes is None else sorted(self.classes)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Filters:
        """What `to_dict` gave. Raises InputError."""
        try:
            classes = content.get("classes")
            return cls(**{**content, "classes": None if classes is None else frozenset(classes)})
        except TypeError as error:
            raise InputError(f"these are no filters of picks: {error}") from None

    @property
    def what(self) -> str:
        """In words: `score from 0.40, at least 200 Å from the edge`."""
        limits = sorted(set(self.min_score.values()))
        if len(limits) > 1:
            parts = ["score from " + ", ".join(f"{v:.2f} ({name})" for name, v in self.min_score.items())]
        else:
            parts = [f"score from {limits[0]:.2f}"] if limits else []
        parts += [f"only {', '.join(sorted(self.classes))}"] if self.classes is not None else []
        parts += [f"at least {self.edge_A:g} Å from the edge"] if self.edge_A else []
        parts += [f"nearest neighbour at least {self.apart_A:g} Å away"] if self.apart_A else []
        parts += [f"nearest neighbour at most {self.near_A:g} Å away"] if self.near_A is not None else []
        return ", ".join(parts) or "all of them"

    def passing(self, picks: Particles, shape: Shape3, spacing_A: float) -> NDArray[np.bool_]:
        """(n,) whether each pick of a tomogram of that shape zyx is shown."""
        shown = self.above(picks)
        if self.classes is not None:
            shown &= np.isin(picks.classes, sorted(self.classes))
        if self.apart_A or self.near_A is not None:
            distances_A = np.full(len(picks), np.inf)
            distances_A[shown] = nearest_neighbour(picks.positions[shown]) * spacing_A
            shown &= distances_A >= self.apart_A
            if self.near_A is not None:
                shown &= distances_A <= self.near_A
        return np.asarray(shown & (edge_distance(picks.positions, shape) * spacing_A >= self.edge_A))

    def above(self, picks: Particles) -> NDArray[np.bool_]:
        """(n,) whether each pick reaches its class's least score; one without a score does."""
        if picks.scores is None:
            return np.ones(len(picks), dtype=bool)
        limits = np.array([self.min_score.get(str(name), 0.0) for name in picks.classes])
        return np.asarray(np.isnan(picks.scores) | (picks.scores >= limits))


def edge_distance(positions: FloatArray, shape: Shape3) -> FloatArray:
    """(n, 3) zyx → (n,) voxels from each position to the nearest face of the tomogram; negative outside it."""
    low, high = positions + 0.5, np.array(shape) - 0.5 - positions
    return np.asarray(np.minimum(low, high).min(axis=1)) if len(positions) else np.zeros(0)


def nearest_neighbour(positions: FloatArray) -> FloatArray:
    """(n, 3) → (n,) voxels from each position to the nearest other one; infinite where there is none."""
    from scipy.spatial import KDTree

    if len(positions) < 2:
        return np.full(len(positions), np.inf)
    distances, _ = KDTree(positions).query(positions, k=2)
    return np.asarray(distances, dtype=np.float64)[:, 1]


def doubt(picks: Particles) -> FloatArray:
    """(n,) how little is known of each pick: the entropy, in bits, of no particle, its class, another class.

    Scores are chances that a particle is there, `class_probability` that its class is right; what is asked where
    the entropy is highest teaches most (uncertainty sampling, Lewis and Gale, SIGIR 1994). 0 without a score.
    """
    scores = np.zeros(len(picks)) if picks.scores is None else np.nan_to_num(np.clip(picks.scores, 0, 1))
    right = np.ones(len(picks)) if picks.class_probability is None else picks.class_probability
    right = np.clip(np.nan_to_num(right, nan=1.0), 0, 1)
    chances = np.stack([1 - scores, scores * right, scores * (1 - right)])
    logarithms = np.log2(chances, out=np.zeros_like(chances), where=chances > 0)
    return np.asarray(np.abs(chances * logarithms).sum(axis=0))


def least_sure_first(picks: Particles) -> NDArray[np.intp]:
    """Rows, the picks of which least is known first."""
    return np.argsort(-doubt(picks), kind="stable")
