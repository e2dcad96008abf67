import numpy as np
import pytest
import torch
from averaging_sample import handed_particle, simulated

from etpick.averaging.expectation import average
from etpick.averaging.grid import FourierGrid, ball, lattice
from etpick.averaging.rotations import random_rotations
from etpick.evaluation.density import agreement

BOX_VX = 16


@pytest.fixture(scope="module")
def grid() -> FourierGrid:
    return FourierGrid(BOX_VX)


def test_one_of_each_pair_of_frequencies_is_kept_and_shells_are_in_order(grid: FourierGrid) -> None:
    k = {tuple(row) for row in grid.k.long().tolist()}
    assert len(k) == len(grid.k)
    assert not k & {tuple(-i for i in row) for row in k}
    axis = np.arange(-7, 8)
    within = (np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3) ** 2).sum(axis=1) <= 49
    assert 2 * len(k) + 1 == within.sum()
    assert (grid.shell.diff() >= 0).all()


def test_unturned_reading_is_nearly_the_spectrum(grid: FourierGrid) -> None:
    """Nearly, because sinc² is right on the average of all turns."""
    volume = handed_particle(BOX_VX)
    read = grid.read(grid.transform(volume), torch.eye(3)[None], len(grid.k))[0]
    expected = grid.spectra(volume[None])[0]
    assert (read - expected).norm() < 0.12 * expected.norm()
    plain = grid.read(grid.transform(volume * grid._sinc), torch.eye(3)[None], len(grid.k))[0]
    assert (plain - expected).norm() < 1e-4 * expected.norm()


def test_reading_turned_frequencies_turns_the_volume(grid: FourierGrid) -> None:
    volume = handed_particle(BOX_VX)
    volume[0] = volume[:, 0] = volume[:, :, 0] = 0  # what is left is symmetric about the middle voxel
    inner = volume[1:, 1:, 1:]
    turned = torch.zeros_like(volume)
    turned[1:, 1:, 1:] = torch.rot90(inner, 1, (1, 2))  # y goes to −x: the row vector of x is the old y
    matrix = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    read = grid.read(grid.transform(volume), matrix[None], len(grid.k))[0]
    expected = grid.read(grid.transform(turned), torch.eye(3)[None], len(grid.k))[0]
    assert (read - expected).norm() < 1e-4 * expected.norm()


def test_reading_is_the_same_by_however_many_threads(grid: FourierGrid) -> None:
    transformed, rotations = grid.transform(handed_particle(BOX_VX)), random_rotations(5, np.random.default_rng(0))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(grid.read(transformed, rotations, 100))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_putting_is_the_adjoint_of_reading(grid: FourierGrid) -> None:
    torch.manual_seed(0)
    rotations = random_rotations(3, np.random.default_rng(0))
    field = torch.randn(2, *(grid.padded_vx,) * 3)
    values = torch.randn(3, len(grid.k), dtype=torch.complex64)
    read = grid.read(field, rotations, len(grid.k))
    sums = grid.empty()
    grid.put(sums, rotations, values, torch.ones(3, len(grid.k)))
    one = (read.conj() * values).real.sum()
    other = (field.reshape(2, -1) * sums[:2]).sum()
    assert float(one) == pytest.approx(float(other), rel=1e-3)
    assert float(sums[2].sum()) == pytest.approx(3 * len(grid.k), rel=1e-5)


def test_phases_undo_a_shift(grid: FourierGrid) -> None:
    volume = handed_particle(BOX_VX)
    moved = torch.roll(volume, (2, -1, 3), (0, 1, 2))
    back = grid.spectra(moved[None])[0] * grid.phases(torch.tensor([2.0, -1.0, 3.0]))
    assert torch.allclose(back, grid.spectra(volume[None])[0], atol=1e-3)


def test_a_larger_box_is_binned() -> None:
    large, small = FourierGrid(32), FourierGrid(16)
    z, y, x = torch.meshgrid(*(torch.arange(32) - 16,) * 3, indexing="ij")
    smooth = torch.exp(-((z - 2) ** 2 + y**2 + (x + 4) ** 2) / 30.0)
    binned = small.volume(smooth)
    assert torch.allclose(binned, smooth[::2, ::2, ::2], atol=0.01)
    assert torch.allclose(small.spectra(smooth[None]), small.spectra(binned[None]), atol=1e-2)
    assert torch.equal(large.volume(smooth), smooth)


@pytest.mark.parametrize("size", [16, 24, 25])
def test_boxes_have_the_spectra_that_they_are_made_of(size: int) -> None:
    grid, generator = FourierGrid(16), torch.Generator().manual_seed(0)
    spectra = torch.randn(2, 300, generator=generator, dtype=torch.complex64)
    assert torch.allclose(grid.spectra(grid.boxes(spectra, size), 300), spectra, atol=1e-4)
    assert grid.spectra(grid.boxes(spectra, size))[:, 300:].abs().max() < 1e-4


@pytest.mark.parametrize("size", [9, 12])
def test_spectra_are_those_about_the_middle_voxel(size: int) -> None:
    grid = FourierGrid(size)
    volume = torch.randn(1, size, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    axis = torch.arange(size) - size // 2
    places = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3).double()
    waves = torch.exp(-2j * np.pi / size * (places @ grid.k.double().T))
    expected = volume.reshape(1, -1).to(waves.dtype) @ waves
    assert torch.allclose(grid.spectra(volume), expected, atol=1e-4)
    assert torch.equal(grid.spectra(volume, 20), grid.spectra(volume)[:, :20])


def test_particles_at_their_poses_average_to_the_volume(grid: FourierGrid) -> None:
    volume = handed_particle(BOX_VX)
    spectra, poses = simulated(60, grid, volume, noise=0.1)
    sums = average(spectra, grid, poses)
    found = grid.solve(sums, torch.full((grid.shells + 1,), 1e-3), grid.shells)
    assert agreement(found.double().numpy(), volume.double().numpy(), 1.0, 3.0) > 0.93
    mirrored = torch.roll(volume.flip(0), 1, 0)
    assert agreement(found.double().numpy(), mirrored.double().numpy(), 1.0, 3.0) < 0.8


def test_weight_of_shells_counts_each_particle_once(grid: FourierGrid) -> None:
    spectra, poses = simulated(40, grid, handed_particle(BOX_VX), noise=0.1)
    weights = grid.weight_of_shells(average(spectra, grid, poses))
    inner = weights[2 : grid.shells - 1]
    assert inner.std() / inner.mean() < 0.3


def test_ball_and_lattice() -> None:
    mask = ball(16, 8, edge_vx=2)
    assert mask[8, 8, 8] == 1 and mask[8, 8, 12] == 1 and mask[8, 8, 14] == 0
    assert 0 < mask[8, 8, 13] < 1
    points = lattice(2.0, 1.0)
    assert len(points) == 33 and (points.norm(dim=1) <= 2).all() and (points == 0).all(dim=1).any()
