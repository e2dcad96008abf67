"""From particles without orientations to two half-maps that were refined apart.

A common start from nothing but the particles: random orientations, and the iterations of `expectation` at low
resolution, several times; the likeliest result is kept. Then each random half goes its own way from that start,
first trying all orientations, then ever closer ones, up to the resolution that the two halves share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from etpick.averaging.expectation import (
    Poses,
    Spectra,
    Step,
    average,
    correlations,
    noise_alone,
    search_everywhere,
    search_nearby,
)  # fmt: skip
from etpick.averaging.grid import PADDING, FourierGrid, ball, lattice
from etpick.averaging.rotations import evenly_spaced, neighbours, random_rotations
from etpick.evaluation.density import fourier_shell_correlation
from etpick.evaluation.resolution import FIXED_THRESHOLD, last_shell_above
from etpick.types import FloatArray

_STARTS: Final = 3
_START_ITERATIONS: Final = 10
_START_PARTICLES: Final = 300  # that the starts are tried with
_COMMON_ITERATIONS: Final = 4
_START_LENGTH: Final = 0.3  # of the diameter is the shortest wave of the start
_COARSE_DEG: Final = 20.0
_FINE_DEG: Final = 15.0
_APART_ITERATIONS: Final = 3
_STEPS_DEG: Final = (7.5, 4.0, 2.0)
_STEPS_VX: Final = (1.0, 0.5, 0.25)
_NEAR_ITERATIONS: Final = 3
_MORE_SHELLS: Final = 2  # beyond those that the halves share
_TAU: Final = 0.5
_LEAST_SHARED, _MOST_SHARED = 1e-3, 0.999
_SMALL: Final = 1e-3
SHIFTS_PER_WAVE: Final = 3
_NEAR_SHIFTS: Final = 1.8  # steps to each side: 19 places
START_ITERATIONS: Final = _STARTS * _START_ITERATIONS + _COMMON_ITERATIONS
ITERATIONS: Final = START_ITERATIONS + 2 * (_APART_ITERATIONS + _NEAR_ITERATIONS * len(_STEPS_DEG)) + 2


@dataclass(frozen=True, eq=False)
class Refined:
    """Two half-maps and what each particle gave to them.

    half_maps: two volumes [z, y, x], not filtered. half: (n,) 0 or 1. poses: the final ones. evidence: (n,) natural
    logarithm of how much likelier the particle is than noise. top: (n,) chance of its likeliest pose. correlation:
    (n,) with its half-map. start_shell: up to which the halves had a common start.
    """

    half_maps: tuple[Tensor, Tensor]
    half: Tensor
    poses: Poses
    evidence: Tensor
    top: Tensor
    correlation: Tensor
    start_shell: int


@dataclass(frozen=True, eq=False)
class Start:
    """Where both halves begin: a reference at low resolution, the variance of the noise, the particles' poses."""

    reference: Tensor
    variance: Tensor
    poses: Poses


class Refiner:
    """Refines the particles of one set. Sizes in voxels of the grid; `on_step` is told of each iteration.

    first_shell: up to which the common start goes, instead of waves of 0.3 of the diameter. tau: trust in the power
    of its reference, which nothing can check, as RELION's --tau2_fudge.
    """

    def __init__(
        self, spectra: Spectra, grid: FourierGrid, diameter_vx: float, reach_vx: float, seed: int,
        on_step: Callable[[], None] = lambda: None, first_shell: int | None = None, tau: float = _TAU,
    ) -> None:  # fmt: skip
        self.spectra, self.grid, self.reach_vx, self.on_step = spectra, grid, reach_vx, on_step
        self.tau = tau
        self.mask = ball(grid.box_vx, mask_diameter(diameter_vx, grid.box_vx)).to(grid.device)
        self.start_shell = first_shell or start_shell(grid.box_vx, diameter_vx, grid.shells)
        # turns of 15 degrees tell nothing of finer waves
        self.coarse_shell = min(self.start_shell + _MORE_SHELLS, grid.shells)
        self.rng = np.random.default_rng(seed)
        self.small = torch.full((grid.shells + 1,), _SMALL, device=grid.device)  # damping that only keeps from infinity
        self.off_vx = torch.zeros(3, device=grid.device)  # by which the last reference was moved

    def run(self) -> Refined:
        """All of it."""
        start = self.common_start()
        order = self._drawn(len(self.spectra))
        half = torch.zeros_like(order)
        half[order[len(order) // 2 :]] = 1
        parts = tuple(self.spectra.select(half == h) for h in (0, 1))
        return self._apart(parts, half, start)

    def common_start(self, tries: int = _STARTS) -> Start:
        """A reference of all particles at low resolution, from random orientations; the likeliest of some tries."""
        some = self.spectra.select(self._drawn(len(self.spectra))[:_START_PARTICLES])
        found = [self._from_random(some) for _ in range(tries)]
        reference, variance, step = max(found, key=lambda one: float(one[2].evidence.sum()))
        for _ in range(_COMMON_ITERATIONS):
            reference, variance, step = self._iterate(self.spectra, reference, variance)
        return Start(reference, variance, self._moved(step.poses))

    def _from_random(self, spectra: Spectra) -> tuple[Tensor, Tensor, Step]:
        rotations = random_rotations(len(spectra), self.rng).to(self.grid.device)
        sums = average(spectra, self.grid, Poses(rotations, self._middles(spectra)))
        reference = self.grid.solve(sums, self.small, self.start_shell) * self.mask
        variance = noise_alone(spectra, self.grid)
        for _ in range(_START_ITERATIONS):
            reference, variance, step = self._iterate(spectra, reference, variance)
        return reference, variance, step

    def _iterate(self, spectra: Spectra, reference: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Step]:
        step = self._everywhere(spectra, reference, variance, _COARSE_DEG, self.start_shell)
        self.on_step()
        plain = self.grid.solve(step.sums, self.small, self.start_shell) * self.mask
        power = self.grid.per_shell(self.grid.spectra(plain[None]).abs() ** 2)
        power = power / self.grid.counts.clamp(min=1) / 2
        weight_of_one = 1 / PADDING**3  # of a particle, spread over the padded voxels
        damping = step.variance * weight_of_one / (self.tau * power).clamp(min=1e-9)
        reference = self.grid.solve(step.sums, damping, self.start_shell) * self.mask
        self.off_vx = self._off_centre(reference)
        centred = torch.roll(reference, (-self.off_vx).int().tolist(), (0, 1, 2)) * self.mask
        return centred, step.variance, step

    def _everywhere(
        self, spectra: Spectra, reference: Tensor, variance: Tensor, spacing_deg: float, shell: int,
        around: Tensor | None = None,
    ) -> Step:  # fmt: skip
        rotations = evenly_spaced(spacing_deg, self.rng).to(self.grid.device)
        spacing_vx = max(1.0, self.grid.box_vx / shell / SHIFTS_PER_WAVE)
        reach_vx = self.reach_vx if around is None else _NEAR_SHIFTS * spacing_vx
        shifts = lattice(reach_vx, spacing_vx, self.grid.device)
        centres = self._middles(spectra) if around is None else around
        return search_everywhere(
            spectra, self.grid, reference, variance, centres, rotations, shifts, self.reach_vx, shell
        )  # fmt: skip

    def _middles(self, spectra: Spectra) -> Tensor:
        """(n, 3) no shift of any particle."""
        return torch.zeros(len(spectra), 3, device=self.grid.device)

    def _drawn(self, count: int) -> Tensor:
        """(n,) row numbers in random order."""
        return torch.from_numpy(self.rng.permutation(count)).to(self.grid.device)

    def _off_centre(self, volume: Tensor) -> Tensor:
        """(3,) zyx whole voxels from the middle to the centre of its mass."""
        mass = volume.clamp(min=0)
        axis = torch.arange(self.grid.box_vx, device=mass.device) - self.grid.box_vx // 2
        others = ((1, 2), (0, 2), (0, 1))
        total = mass.sum().clamp(min=1e-12)
        return torch.stack([(mass.sum(dim=other) * axis).sum() / total for other in others]).round()

    def _moved(self, poses: Poses) -> Poses:
        """Poses of the reference as it was before it was centred → poses of the centred one."""
        return Poses(poses.rotations, poses.shifts_vx + poses.rotations @ self.off_vx)

    def _apart(self, parts: tuple[Spectra, ...], half: Tensor, start: Start) -> Refined:
        """Refine each half on its own."""
        around = [start.poses.shifts_vx[half == h] for h in (0, 1)]
        references, variances = [start.reference] * 2, [start.variance] * 2
        shell = self.coarse_shell
        steps: list[Step] = []
        for iteration in range(_APART_ITERATIONS + _NEAR_ITERATIONS * len(_STEPS_DEG)):
            near = iteration - _APART_ITERATIONS
            if near < 0:
                steps = [
                    self._everywhere(part, ref, var, _FINE_DEG, self.coarse_shell, at)
                    for part, ref, var, at in zip(parts, references, variances, around, strict=True)
                ]
            else:
                turns = neighbours(_STEPS_DEG[near // _NEAR_ITERATIONS], self.rng).to(self.grid.device)
                spacing = _STEPS_VX[near // _NEAR_ITERATIONS]
                shifts = lattice(_NEAR_SHIFTS * spacing, spacing, self.grid.device)
                steps = [
                    search_nearby(part, self.grid, ref, var, step.poses, turns, shifts, self.reach_vx, shell)
                    for part, ref, var, step in zip(parts, references, variances, steps, strict=True)
                ]
            for _ in parts:
                self.on_step()
            around = [step.poses.shifts_vx for step in steps]
            variances = [step.variance for step in steps]
            references, shell = self._checked_by_each_other(steps)
        return self._summed_up(parts, half, references, variances, [step.poses for step in steps], shell)

    def _checked_by_each_other(self, steps: list[Step]) -> tuple[list[Tensor], int]:
        """References damped to what the halves share, and the shell up to which to go on."""
        plain = [self._plain(step.sums) for step in steps]
        shared = self.shared(plain)
        last = last_shell_above(shared, FIXED_THRESHOLD)
        shell = int(np.clip(last + _MORE_SHELLS, self.start_shell, self.grid.shells))
        kept = torch.from_numpy(np.clip(shared, _LEAST_SHARED, _MOST_SHARED)).float().to(self.grid.device)
        references = []
        for step in steps:
            damping = self.grid.weight_of_shells(step.sums) * (1 - kept) / kept
            references.append(self.grid.solve(step.sums, damping, shell) * self.mask)
        return references, shell

    def _plain(self, sums: Tensor) -> Tensor:
        return self.grid.solve(sums, self.small, self.grid.shells)

    def shared(self, volumes: list[Tensor]) -> FloatArray:
        """Fourier shell correlation of two half-maps within the mask."""
        one, other = ((volume * self.mask).double().numpy(force=True) for volume in volumes)
        return fourier_shell_correlation(one, other)[0]

    def _summed_up(
        self, parts: tuple[Spectra, ...], half: Tensor, references: list[Tensor], variances: list[Tensor],
        poses: list[Poses], shell: int,
    ) -> Refined:  # fmt: skip
        maps = tuple(self._plain(average(part, self.grid, pose)) for part, pose in zip(parts, poses, strict=True))
        n, like = len(half), self.mask
        rotations, shifts = like.new_zeros(n, 3, 3), like.new_zeros(n, 3)
        evidence, top, correlation = like.new_zeros(3, n)
        for h, part in enumerate(parts):
            rows = half == h
            final = self._everywhere(
                part, references[h], variances[h], _FINE_DEG, self.coarse_shell, poses[h].shifts_vx
            )
            self.on_step()
            rotations[rows], shifts[rows] = poses[h].rotations, poses[h].shifts_vx
            evidence[rows], top[rows] = final.evidence, final.top
            correlation[rows] = like.new_tensor(list(correlations(part, self.grid, references[h], poses[h], shell)))
        return Refined(
            (maps[0], maps[1]), half, Poses(rotations, shifts), evidence, top, correlation, self.start_shell
        )  # fmt: skip


def mask_diameter(diameter_vx: float, box_vx: int) -> float:
    """Of the ball outside of which an average is flattened: a little wider than the particle, and within the box."""
    return min(1.3 * diameter_vx, box_vx - 6.0)


def start_shell(box_vx: int, diameter_vx: float, last: int) -> int:
    """The last shell of the common start: waves of 0.3 of the particle's diameter."""
    return int(np.clip(round(box_vx / (_START_LENGTH * diameter_vx)), 3, last))
