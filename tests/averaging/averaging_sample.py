"""Subtomograms of a handed particle with known poses, noise and a missing wedge, made in Fourier space."""

import numpy as np
import torch
from torch import Tensor

from etpick.averaging.expectation import Poses, Spectra
from etpick.averaging.grid import FourierGrid
from etpick.averaging.rotations import random_rotations
from etpick.ops.wedge import wedge

TILTS = np.arange(-60.0, 61.0, 3.0)
DIAMETER_VX = 11.0


def handed_particle(box_vx: int) -> Tensor:
    """Four balls of different sizes at the ends and the bends of a screw, the centre of mass near the middle."""
    z, y, x = np.indices((box_vx,) * 3) - box_vx // 2
    density = np.zeros((box_vx,) * 3)
    for (bz, by, bx), radius in zip(
        [(-4, 3, 0), (-1, -3, 2), (2, -1, -4), (4, 3, 1)], (2.6, 2.3, 2.0, 1.7), strict=True
    ):
        density += np.exp(-((z - bz) ** 2 + (y - by) ** 2 + (x - bx) ** 2) / radius**2)
    return torch.from_numpy(density).float()


def simulated(
    count: int, grid: FourierGrid, volume: Tensor, noise: float, seed: int = 0, reach_vx: float = 1.0
) -> tuple[Spectra, Poses]:
    """Particles turned and shifted at random; `noise` is the standard deviation of a voxel."""
    rng = np.random.default_rng(seed)
    poses = Poses(random_rotations(count, rng), torch.from_numpy(rng.uniform(-reach_vx, reach_vx, (count, 3))).float())
    measured = grid.of_half(torch.from_numpy(wedge(TILTS, grid.box_vx)))[None]
    turned = grid.read(grid.transform(volume), poses.rotations, len(grid.k)) * grid.phases(poses.shifts_vx).conj()
    grains = torch.from_numpy(rng.standard_normal((count, *(grid.box_vx,) * 3))).float() * noise
    values = measured * (turned + grid.spectra(grains))
    return Spectra(values, measured, torch.zeros(count, dtype=torch.long)), poses
