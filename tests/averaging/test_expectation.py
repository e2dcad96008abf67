"""The matrix products against the model written out, particle by particle and pose by pose."""

import math

import numpy as np
import pytest
import torch
from averaging_sample import handed_particle, simulated

from etpick.averaging import expectation
from etpick.averaging.expectation import (
    Poses,
    Spectra,
    correlations,
    noise_alone,
    search_everywhere,
    search_nearby,
    views,
    weigh,
)
from etpick.averaging.grid import FourierGrid, ball, lattice
from etpick.averaging.rotations import angle_between, evenly_spaced, neighbours, random_rotations

BOX_VX, SHELL = 12, 4


@pytest.fixture(scope="module")
def grid() -> FourierGrid:
    return FourierGrid(BOX_VX)


def test_chances_and_evidence_are_those_of_the_model(grid: FourierGrid) -> None:
    volume = handed_particle(BOX_VX)
    spectra, _ = simulated(3, grid, volume, noise=1.0)
    rotations, shifts = random_rotations(5, np.random.default_rng(0)), lattice(1.0, 1.0)
    around = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, -0.5, 0.2]])
    variance = noise_alone(spectra, grid)
    step = search_everywhere(spectra, grid, volume, variance, around, rotations, shifts, 9.0, SHELL)
    count = grid.up_to(SHELL)
    noise = variance[grid.shell[:count]]
    turned = grid.read(grid.transform(volume), rotations, count)
    for i in range(3):
        logarithms = []
        for reference in turned:
            for shift in shifts:
                phase = grid.phases(around[i] + shift)[:count].conj()
                expected = spectra.measured[0, :count] * reference * phase
                found = spectra.values[i, :count]
                off = ((found - expected).abs() ** 2 - found.abs() ** 2) / (2 * noise)
                logarithms.append(-off.sum())
        values = torch.stack(logarithms)
        assert float(step.evidence[i]) == pytest.approx(float(values.logsumexp(0)) - math.log(len(values)), abs=1e-2)
        assert float(step.top[i]) == pytest.approx(float(values.softmax(0).max()), abs=1e-3)
        best = int(values.argmax())
        assert torch.equal(step.poses.rotations[i], rotations[best // len(shifts)])
        assert torch.allclose(step.poses.shifts_vx[i], around[i] + shifts[best % len(shifts)])


def test_searching_nearby_is_searching_everywhere_around_the_same_pose(grid: FourierGrid) -> None:
    volume = handed_particle(BOX_VX)
    spectra, _ = simulated(4, grid, volume, noise=1.0)
    variance, turns, shifts = noise_alone(spectra, grid), neighbours(12.0, np.random.default_rng(0)), lattice(1.0, 1.0)
    own = random_rotations(1, np.random.default_rng(5))
    poses = Poses(own.expand(4, 3, 3), torch.zeros(4, 3))
    near = search_nearby(spectra, grid, volume, variance, poses, turns, shifts, 9.0, SHELL)
    every = search_everywhere(spectra, grid, volume, variance, poses.shifts_vx, own @ turns, shifts, 9.0, SHELL)
    assert torch.allclose(near.evidence, every.evidence, atol=1e-2)
    assert torch.allclose(near.top, every.top, atol=1e-3)
    assert torch.allclose(near.poses.rotations, every.poses.rotations)
    assert torch.allclose(near.variance, every.variance, rtol=1e-2)
    scale = every.sums.abs().max()
    assert (near.sums - every.sums).abs().max() < 5e-3 * scale  # it leaves out poses of little chance


def test_places_beyond_reach_are_not_taken(grid: FourierGrid) -> None:
    volume = handed_particle(BOX_VX)
    spectra, _ = simulated(5, grid, volume, noise=0.3, reach_vx=3.0)
    rotations = evenly_spaced(40.0, np.random.default_rng(0))
    step = search_everywhere(
        spectra, grid, volume, noise_alone(spectra, grid), torch.zeros(5, 3), rotations, lattice(4.0, 1.0), 2.0, SHELL
    )
    assert step.poses.shifts_vx.norm(dim=1).max() <= 2.0


def test_variance_of_pure_noise_is_found(grid: FourierGrid) -> None:
    spectra, _ = simulated(200, grid, torch.zeros(BOX_VX, BOX_VX, BOX_VX), noise=2.0)
    variance = noise_alone(spectra, grid)[2:]
    seen = spectra.measured[0] > 0
    shares = torch.stack(
        [spectra.measured[0][seen & (grid.shell == s)].pow(2).mean() for s in range(2, grid.shells + 1)]
    )
    expected = 2.0**2 * BOX_VX**3 / 2 * shares  # a transform's real part holds half of the power
    assert (variance / expected - 1).abs().max() < 0.1


def test_the_reference_takes_its_part_out_of_the_noise(grid: FourierGrid) -> None:
    volume = handed_particle(BOX_VX)
    spectra, poses = simulated(60, grid, volume, noise=0.5)
    still = Poses(poses.rotations, poses.shifts_vx)
    turns, shifts = neighbours(1.0, np.random.default_rng(0)), lattice(0.1, 0.1)
    before = noise_alone(spectra, grid)
    after = search_nearby(spectra, grid, volume, before, still, turns, shifts, 9.0, grid.shells).variance
    quiet, _ = simulated(60, grid, volume * 0, noise=0.5)
    expected = noise_alone(quiet, grid)
    assert before[1] > 3 * expected[1]
    assert (after[1:] / expected[1:] - 1).abs().max() < 0.25


def test_poses_are_refined_and_correlations_rise(grid: FourierGrid) -> None:
    volume = handed_particle(BOX_VX)
    spectra, true = simulated(20, grid, volume, noise=0.3)
    rng = np.random.default_rng(0)
    off = neighbours(8.0, rng)[torch.from_numpy(rng.integers(0, 27, 20))]
    poses = Poses(true.rotations @ off, true.shifts_vx + 0.4)
    start = torch.tensor(list(correlations(spectra, grid, volume, poses, SHELL)))
    for spacing, step_vx in ((5.0, 0.5), (2.5, 0.25)):
        for _ in range(3):
            found = search_nearby(
                spectra, grid, volume, noise_alone(spectra, grid), poses, neighbours(spacing, rng),
                lattice(1.8 * step_vx, step_vx), 4.0, SHELL,
            )  # fmt: skip
            poses = found.poses
    assert angle_between(poses.rotations, true.rotations).median() < 4
    assert (poses.shifts_vx - true.shifts_vx).norm(dim=1).median() < 0.3
    end = torch.tensor(list(correlations(spectra, grid, volume, poses, SHELL)))
    assert end.mean() > start.mean() and end.max() <= 1


def test_negative_contrast_transfer_counts_as_measured(grid: FourierGrid) -> None:
    """Beyond the first zero of a contrast transfer values are negative, and as well measured as positive ones."""
    volume = handed_particle(BOX_VX)
    spectra, poses = simulated(40, grid, volume, noise=0.5)
    flipped = Spectra(spectra.values * -1, spectra.measured * -1, spectra.group)
    turns, shifts = neighbours(1.0, np.random.default_rng(0)), lattice(0.1, 0.1)
    plain = search_nearby(spectra, grid, volume, noise_alone(spectra, grid), poses, turns, shifts, 9.0, grid.shells)
    other = search_nearby(flipped, grid, volume, noise_alone(flipped, grid), poses, turns, shifts, 9.0, grid.shells)
    assert torch.allclose(plain.variance, other.variance)
    assert torch.allclose(plain.evidence, other.evidence, atol=1e-3)
    assert list(correlations(spectra, grid, volume, poses, SHELL)) == pytest.approx(
        list(correlations(flipped, grid, volume, poses, SHELL))
    )


def test_a_particle_beyond_reach_spoils_nothing(grid: FourierGrid) -> None:
    volume = handed_particle(BOX_VX)
    spectra, poses = simulated(6, grid, volume, noise=0.5)
    far = Poses(poses.rotations, poses.shifts_vx.clone())
    far.shifts_vx[0] = torch.tensor([5.0, 0, 0])
    step = search_nearby(
        spectra, grid, volume, noise_alone(spectra, grid), far, neighbours(5.0, np.random.default_rng(0)),
        lattice(1.0, 1.0), 2.0, SHELL,
    )  # fmt: skip
    assert torch.isfinite(step.evidence).all() and torch.isfinite(step.variance).all()
    assert float(step.poses.shifts_vx[0].norm()) == pytest.approx(4.0)  # on its way back


@pytest.mark.parametrize("spread_vx", [0.6, 2.0], ids=["near", "anywhere"])
@pytest.mark.parametrize("noise", [0.5, 2.0, 50.0])
@pytest.mark.parametrize("volume", [handed_particle(BOX_VX), ball(BOX_VX, 5.0)], ids=["handed", "round"])
def test_trying_the_likeliest_again_comes_to_what_trying_all_does(
    grid: FourierGrid, monkeypatch: pytest.MonkeyPatch, noise: float, volume: torch.Tensor, spread_vx: float
) -> None:
    rotations = evenly_spaced(20.0, np.random.default_rng(0))
    spectra, _ = simulated(60, grid, volume, noise)
    variance = torch.full((grid.shells + 1,), BOX_VX**3 * noise**2 / 2)
    turned = views(grid, volume, rotations, len(grid.k))

    def weighed() -> tuple[torch.Tensor, torch.Tensor]:
        return weigh(spectra, grid, turned, variance, 2.0, spread_vx, grid.shells)

    evidence, places = weighed()
    monkeypatch.setattr(expectation, "_LIKELIEST", len(rotations))
    exact, right = weighed()
    assert (evidence - exact).square().mean().sqrt() < 0.3
    assert (places - right).norm(dim=1).mean() < 0.1
