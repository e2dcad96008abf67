"""Particles and look-alikes described by formulas.

A formula takes points (..., 3), zyx in Å from the body's centre, and the width in Å over which an edge
falls off; it gives densities (...) where the inside of a protein is about 1 and water is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from etpick.types import FloatArray, ParticleClass

Formula = Callable[[FloatArray, float], FloatArray]

BUILT_IN_CLASSES: tuple[ParticleClass, ...] = (
    ParticleClass("ribosome", 280.0, "#e41a1c"),
    ParticleClass("proteasome", 150.0, "#377eb8"),
)

# Lobes of the ribosome: centre and semi-axes in Å (zyx), density. Large subunit with its central bump and
# two stalks; the smaller subunit, long and flat, beyond a cleft; a head leaning over it.
_LOBES: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], ...] = (
    ((-38.0, 0.0, 0.0), (88.0, 118.0, 122.0), 1.0),
    ((12.0, 96.0, -16.0), (32.0, 40.0, 32.0), 0.9),
    ((12.0, -22.0, 120.0), (24.0, 26.0, 44.0), 0.8),
    ((-5.0, 44.0, -120.0), (20.0, 24.0, 42.0), 0.8),
    ((92.0, -28.0, 0.0), (38.0, 100.0, 66.0), 0.95),
    ((94.0, 90.0, 24.0), (38.0, 40.0, 50.0), 0.95),
)
_TEXTURE_WAVES = 24
_TEXTURE_PERIODS_A = (55.0, 95.0)
_TEXTURE_DEPTH = 0.35


def ribosome(points: FloatArray, edge_A: float) -> FloatArray:
    """Two unequal lobes with a cleft, stalks and a folded texture, about 280 Å across; without symmetry."""
    body = np.zeros(points.shape[:-1])
    for centre, axes, density in _LOBES:
        body = np.maximum(body, density * ellipsoid(axes)(points - np.array(centre), edge_A))
    return np.asarray(body * np.clip(1.0 + _TEXTURE_DEPTH * _texture(points), 0.2, 1.8))


def proteasome(points: FloatArray, edge_A: float) -> FloatArray:
    """Hollow barrel of four stacked rings of seven subunits, 150 Å long (z) and 110 Å wide."""
    z, y, x = np.moveaxis(points, -1, 0)
    axis_distance, turn = np.hypot(y, x), np.arctan2(y, x)
    rings = np.zeros(z.shape)
    for level, twist in ((-56.0, 0.0), (-18.5, 0.45), (18.5, 0.45), (56.0, 0.0)):
        # The outer rings close in on the axis and leave a narrow gate.
        radius = 33.0 if abs(level) > 40 else 37.0
        from_tube = np.hypot((z - level) / 1.05, axis_distance - radius)
        beads = 1.0 + 0.2 * np.cos(7 * (turn - twist))
        rings = np.maximum(rings, beads * _inside(from_tube - 18.0, edge_A))
    return np.asarray(rings)


BUILT_IN_FORMULAS: dict[str, Formula] = {"ribosome": ribosome, "proteasome": proteasome}


def ellipsoid(axes_A: tuple[float, float, float]) -> Formula:
    """A solid ellipsoid with these semi-axes (zyx)."""
    axes = np.array(axes_A)

    def formula(points: FloatArray, edge_A: float) -> FloatArray:
        return _inside((np.linalg.norm(points / axes, axis=-1) - 1.0) * axes.min(), edge_A)

    return formula


def cylinder(radius_A: float, half_length_A: float) -> Formula:
    """A solid cylinder along z: a rod or, when short, a disc."""

    def formula(points: FloatArray, edge_A: float) -> FloatArray:
        z, y, x = np.moveaxis(points, -1, 0)
        return _inside(np.maximum(np.abs(z) - half_length_A, np.hypot(y, x) - radius_A), edge_A)

    return formula


def lookalikes(diameter_A: float) -> tuple[Formula, ...]:
    """Bodies of a particle's size without its shape: a solid ellipsoid, a rod and a disc."""
    r = diameter_A / 2
    return ellipsoid((0.95 * r, 0.85 * r, 0.8 * r)), cylinder(r / 3, r), cylinder(0.9 * r, r / 3)


def _inside(distance_A: FloatArray, edge_A: float) -> FloatArray:
    """Signed distance to a surface, negative inside → 1 inside, 0 outside, with a soft edge."""
    return np.asarray(expit(-distance_A / (0.3 * edge_A)), dtype=np.float64)


def _texture(points: FloatArray) -> FloatArray:
    """A fixed sum of plane waves with mean 0 and standard deviation 1."""
    rng = np.random.default_rng(20)  # the texture belongs to the built-in particle: never a user's seed
    directions = rng.standard_normal((_TEXTURE_WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    waves = 2 * np.pi / rng.uniform(*_TEXTURE_PERIODS_A, (_TEXTURE_WAVES, 1)) * directions
    phases = rng.uniform(0, 2 * np.pi, _TEXTURE_WAVES)
    total = np.zeros(points.shape[:-1])
    for wave, phase in zip(waves, phases, strict=True):
        total += np.cos(points @ wave + phase)
    return np.asarray(total / np.sqrt(_TEXTURE_WAVES / 2))
