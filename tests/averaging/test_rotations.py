import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from etpick.averaging.rotations import (
    angle_between,
    evenly_spaced,
    neighbours,
    number_of_rotations,
    random_rotations,
)


@pytest.mark.parametrize("spacing_deg", [20.0, 30.0])
def test_no_orientation_is_far_from_the_grid(spacing_deg: float) -> None:
    grid = evenly_spaced(spacing_deg, np.random.default_rng(0))
    assert len(grid) == number_of_rotations(spacing_deg)
    some = random_rotations(200, np.random.default_rng(1))
    nearest = torch.stack([angle_between(grid, one.expand_as(grid)).min() for one in some])
    assert nearest.max() < spacing_deg
    assert nearest.median() < 0.75 * spacing_deg


def test_matrices_are_rotations() -> None:
    for matrices in (evenly_spaced(40.0, np.random.default_rng(0)), neighbours(5.0, np.random.default_rng(0))):
        assert torch.allclose(matrices @ matrices.transpose(1, 2), torch.eye(3).expand_as(matrices), atol=1e-5)
        assert torch.allclose(torch.linalg.det(matrices), torch.ones(len(matrices)), atol=1e-5)


def test_neighbours_lie_a_spacing_apart_and_hold_the_middle() -> None:
    turns = neighbours(4.0, np.random.default_rng(3))
    angles = angle_between(turns, torch.eye(3).expand_as(turns)).sort().values
    assert len(turns) == 27
    expected = torch.tensor([0.0] + [4.0] * 6 + [4 * 2**0.5] * 12 + [4 * 3**0.5] * 8)
    assert torch.allclose(angles, expected.double(), atol=0.05)


def test_angle_between_known_rotations() -> None:
    one = Rotation.from_rotvec([[0, 0, 10], [0, 0, 0], [0, 0, 170]], degrees=True).as_matrix()
    other = Rotation.from_rotvec([[0, 0, 40], [0, 0, 0], [0, 0, -10]], degrees=True).as_matrix()
    found = angle_between(torch.from_numpy(one), torch.from_numpy(other))
    assert found.tolist() == pytest.approx([30, 0, 180], abs=1e-3)
