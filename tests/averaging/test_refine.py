"""From random orientations to the particle, and from noise to nothing."""

import pytest
import torch
from averaging_sample import DIAMETER_VX, handed_particle, simulated

from etpick.averaging.expectation import Spectra
from etpick.averaging.grid import FourierGrid
from etpick.averaging.refine import ITERATIONS, Refined, Refiner
from etpick.averaging.rotations import angle_between
from etpick.evaluation.resolution import compare_halves, resolution_A

BOX_VX, COUNT, REACH_VX = 16, 40, 1.5


def refined(spectra: Spectra, grid: FourierGrid) -> tuple[Refined, float, int]:
    steps: list[None] = []
    refiner = Refiner(spectra, grid, DIAMETER_VX, REACH_VX, 0, lambda: steps.append(None))
    found = refiner.run()
    one, other = (volume.double().numpy() for volume in found.half_maps)
    curves = compare_halves(one, other, refiner.mask.double().numpy())
    return found, resolution_A(curves.corrected, BOX_VX), len(steps)


@pytest.fixture(scope="module")
def grid() -> FourierGrid:
    return FourierGrid(BOX_VX)


def test_poses_and_particle_are_found_from_nothing_and_noise_gives_no_resolution(
    grid: FourierGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, spacing_deg in {"_COARSE_DEG": 28.0, "_FINE_DEG": 20.0}.items():  # for time; steps near by follow
        monkeypatch.setattr(f"etpick.averaging.refine.{name}", spacing_deg)
    spectra, true = simulated(COUNT, grid, handed_particle(BOX_VX), noise=0.5)
    found, resolution, steps = refined(spectra, grid)
    assert steps == ITERATIONS
    assert resolution < 3.2
    turns = true.rotations.transpose(1, 2) @ found.poses.rotations  # the same for all, but for the error
    apart = torch.stack([angle_between(turns, one.expand_as(turns)).median() for one in turns])
    assert apart.min() < 6
    assert found.top.mean() > 0.5 and found.correlation.mean() > 0.4
    assert int(found.half.sum()) == COUNT // 2

    nothing, _ = simulated(COUNT, grid, torch.zeros(BOX_VX, BOX_VX, BOX_VX), noise=0.5)
    noise, resolution, _ = refined(nothing, grid)
    assert resolution > BOX_VX / (noise.start_shell + 1.5)  # nothing beyond the common start
    assert found.evidence.median() > noise.evidence.median() + 20
    assert found.correlation.mean() > noise.correlation.mean()
