"""Sets of rotations to try: evenly over all, and close around one. Matrices turn zyx vectors of the reference."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

_PHI = 2**0.5
_PSI = 1.533751168755204288118041  # ψ⁴ = ψ + 4
_ALL = 8 * np.pi**2  # volume of all rotations, in radians³


def number_of_rotations(spacing_deg: float) -> int:
    """How many rotations cover all orientations at a mean spacing."""
    return int(np.ceil(_ALL / np.deg2rad(spacing_deg) ** 3))


def evenly_spaced(spacing_deg: float, rng: np.random.Generator) -> Tensor:
    """(r, 3, 3) rotations spread evenly, turned as a whole at random, so that no iteration sees the same grid.

    Super-Fibonacci spirals (Alexa, CVPR 2022, algorithm 1).
    """
    s = np.arange(number_of_rotations(spacing_deg)) + 0.5
    t = s / len(s)
    alpha, beta = 2 * np.pi * s / _PHI, 2 * np.pi * s / _PSI
    inner, outer = np.sqrt(t), np.sqrt(1 - t)
    quaternions = np.stack(
        [inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta)], axis=1
    )
    return _matrices(Rotation.from_quat(quaternions) * Rotation.random(rng=rng))


def random_rotations(count: int, rng: np.random.Generator) -> Tensor:
    """(count, 3, 3) rotations drawn evenly."""
    return _matrices(Rotation.random(count, rng=rng))


def neighbours(spacing_deg: float, rng: np.random.Generator) -> Tensor:
    """(27, 3, 3) small rotations, 0 and ±spacing about three axes at right angles, the axes turned at random."""
    steps = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)))
    return _matrices(Rotation.from_rotvec(np.deg2rad(spacing_deg) * Rotation.random(rng=rng).apply(steps)))


def angle_between(one: Tensor, other: Tensor) -> Tensor:
    """(n,) degrees of the rotation from each of (n, 3, 3) matrices to its counterpart."""
    trace = torch.einsum("nij,nij->n", one.double(), other.double())
    return torch.rad2deg(torch.arccos(((trace - 1) / 2).clamp(-1, 1)))


def _matrices(rotations: Rotation) -> Tensor:
    return torch.from_numpy(rotations.as_matrix()).float()
