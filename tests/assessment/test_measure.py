"""What is measured of an average, on poses and maps whose answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from etpick.assessment.measure import average_map, distances_from_picks_A, subset_resolutions, subset_sizes
from etpick.assessment.particles import Extracted, poses_in
from etpick.assessment.result import Averaged, SetResult, read_result
from etpick.averaging.expectation import Poses, Spectra, average
from etpick.averaging.grid import FourierGrid
from etpick.averaging.rotations import random_rotations
from etpick.evaluation.density import fourier_shell_correlation
from etpick.evaluation.resolution import compare_halves, resolution_A

BOX_VX, SPACING_A = 16, 10.0


def extracted(remainders_vx: np.ndarray, spectra: Spectra | None = None) -> Extracted:
    n = len(remainders_vx)
    origins = -remainders_vx * SPACING_A
    table = pd.DataFrame(
        {"rlnAngleRot": np.zeros(n), "rlnAngleTilt": np.zeros(n), "rlnAnglePsi": np.zeros(n)}
        | dict(zip(["rlnOriginZAngst", "rlnOriginYAngst", "rlnOriginXAngst"], origins.T, strict=True))
    )
    grid = FourierGrid(BOX_VX)
    none = Spectra(torch.zeros(n, 1), torch.zeros(1, 1), torch.zeros(n, dtype=torch.long))
    return Extracted(Path(), table, table, spectra or none, grid, SPACING_A)


def test_distances_from_picks_leave_out_what_moves_all_alike() -> None:
    rng = np.random.default_rng(0)
    remainders = rng.uniform(-0.5, 0.5, (30, 3))
    rotations = random_rotations(30, rng)
    step = torch.from_numpy(rng.standard_normal((30, 3))).float()
    step *= torch.linspace(0, 3, 30)[:, None] / step.norm(dim=1, keepdim=True)
    common = rotations @ torch.tensor([2.0, -1.0, 0.5])  # the average lies off its middle
    found = Poses(rotations, torch.from_numpy(remainders).float() + common)
    assert distances_from_picks_A(extracted(remainders), found).max() < 1e-3
    moved = Poses(rotations, found.shifts_vx + step)
    distances = distances_from_picks_A(extracted(remainders), moved)
    assert np.abs(distances - SPACING_A * np.linspace(0, 3, 30)).max() < SPACING_A


def test_poses_survive_the_table() -> None:
    rng = np.random.default_rng(0)
    poses = Poses(random_rotations(20, rng), torch.from_numpy(rng.uniform(-3, 3, (20, 3))).float())
    read = poses_in(extracted(np.zeros((20, 3))).at(poses), SPACING_A)
    assert torch.allclose(read.rotations, poses.rotations, atol=1e-5)
    assert torch.allclose(read.shifts_vx, poses.shifts_vx, atol=1e-5)


def halves(seed: int = 0) -> Averaged:
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((BOX_VX,) * 3)
    one, other = (signal + 0.3 * rng.standard_normal(signal.shape) for _ in range(2))
    none = torch.eye(3).expand(24, 3, 3)
    column = rng.uniform(0.1, 1, 24)
    return Averaged(
        "light path", (one, other), SPACING_A, np.arange(24.0) % 2, Poses(none, torch.zeros(24, 3)), column, "l",
        column, column, 60.0,
    )  # fmt: skip


def result() -> SetResult:
    a = halves()
    curves = compare_halves(*a.half_maps, np.ones((BOX_VX,) * 3))
    counts, found = np.array([6.0, 12, 24]), np.array([np.inf, 40.0, 30.0])
    return SetResult(
        "a", a.how, 24, BOX_VX * SPACING_A, SPACING_A, 60.0, curves, np.array([20.0, 30.0]), counts, found, 22.0, a.top,
        "l", a.top, a.top, a.top,
    )  # fmt: skip


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = result()
    written.write(tmp_path / "a.json")
    read = read_result(tmp_path / "a.json")
    assert read.resolution_A == written.resolution_A and read.line() == written.line()
    np.testing.assert_array_equal(read.subset_resolutions_A, written.subset_resolutions_A)
    np.testing.assert_array_equal(read.curves.corrected, written.curves.corrected)
    assert read.b_factor is not None and written.b_factor is not None
    assert read.b_factor.b_A2 == pytest.approx(written.b_factor.b_A2)


def test_subsets_at_the_limit_do_not_count() -> None:
    one = result()
    assert one.free.tolist() == [True, True, True]
    capped = SetResult(**{**one.__dict__, "subset_limit_A": 30.0})
    assert capped.free.tolist() == [True, True, False] and capped.b_factor is None


def test_the_average_keeps_what_the_halves_share() -> None:
    a = halves()
    volume = average_map(*a.half_maps, result())
    mean = sum(a.half_maps) / 2
    curve, _ = fourier_shell_correlation(volume, mean)
    assert curve[1:-1].min() > 0.99  # the last shell is kept in part
    assert np.abs(volume).mean() < np.abs(mean).mean()


def test_sizes_of_subsets() -> None:
    assert subset_sizes(200) == [200, 100, 50, 25, 12]
    assert subset_sizes(5) == [5]


def test_more_particles_resolve_more() -> None:
    rng = np.random.default_rng(0)
    grid = FourierGrid(BOX_VX)
    signal = torch.from_numpy(rng.standard_normal((BOX_VX,) * 3)).float()
    grains = torch.from_numpy(rng.standard_normal((96, *(BOX_VX,) * 3))).float()
    values = grid.spectra(signal + 4 * grains)
    spectra = Spectra(values, torch.ones(1, len(grid.k)), torch.zeros(96, dtype=torch.long))
    own = extracted(np.zeros((96, 3)), spectra)
    poses = Poses(torch.eye(3).expand(96, 3, 3), torch.zeros(96, 3))
    column = np.ones(96)
    maps = grid.solve(average(spectra, grid, poses), torch.full((grid.shells + 1,), 1e-3), grid.shells).double().numpy()
    averaged = Averaged("l", (maps, maps), SPACING_A, np.arange(96.0) % 2, poses, column, "l", column, column, 60.0)
    told: list[None] = []
    counts, found = subset_resolutions(averaged, own, 100.0, 0, lambda: told.append(None))
    assert len(told) == len(counts) == len(found)
    largest = found[counts == 96].mean()
    smallest = np.minimum(found[counts == 12], BOX_VX * SPACING_A).mean()
    assert largest < smallest
    assert resolution_A(np.ones(8), 160.0) <= largest
