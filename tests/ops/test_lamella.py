import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etpick.ops.coarse import Coarse
from etpick.ops.lamella import Plane, Slab, find_slab

SHAPE = (48, 96, 96)


def tomogram(slab: Slab, seed: int = 0, vacuum: float = 0.5) -> np.ndarray:
    """Noise that is stronger between two planes."""
    noise = np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)
    at = np.indices(SHAPE, dtype=float).reshape(3, -1).T
    return np.where(slab.depth(at).reshape(SHAPE) > 0, noise, vacuum * noise)


def faces(slab: Slab) -> np.ndarray:
    """z of both planes at five places."""
    yx = np.array([[0.0, 48, 48], [0, 10, 10], [0, 10, 85], [0, 85, 10], [0, 85, 85]])
    assert slab.low is not None
    assert slab.high is not None
    return np.stack([slab.low.height(yx), slab.high.height(yx)])


@settings(max_examples=12)
@given(
    low=st.floats(10, 16), high=st.floats(30, 36), seed=st.integers(0, 1000),
    slopes=st.lists(st.floats(-0.06, 0.06), min_size=4, max_size=4),
)  # fmt: skip
def test_a_tilted_wedge_in_vacuum_is_found(low: float, high: float, seed: int, slopes: list[float]) -> None:
    a, b, c, d = slopes
    true = Slab(Plane(low - 48 * (a + b), a, b), Plane(high - 48 * (c + d), c, d))
    found = find_slab(Coarse(tomogram(true, seed), 1))
    np.testing.assert_allclose(faces(found), faces(true), atol=2.5)
    # its faces lie where nothing of the sample is cut, rather outside than inside
    assert (faces(found)[0] - faces(true)[0]).mean() < 1
    assert (faces(found)[1] - faces(true)[1]).mean() > -1


def test_a_tomogram_full_to_its_ends_has_no_empty_region() -> None:
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    assert find_slab(Coarse(noise, 1)).is_everything
    fading = noise * (0.85 + 0.15 * np.sin(np.pi * np.arange(48) / 47)).astype(np.float32)[:, None, None]
    assert find_slab(Coarse(fading, 1)).is_everything  # fewer particles near the ends, no vacuum
    assert find_slab(Coarse(np.zeros(SHAPE, np.float32), 1)).is_everything


def test_a_sample_that_reaches_one_end_is_open_there() -> None:
    found = find_slab(Coarse(tomogram(Slab(None, Plane(30.0, 0.0, 0.0))), 1))
    assert found.low is None
    assert found.high is not None
    assert found.high.height(np.array([[0.0, 48, 48]]))[0] == pytest.approx(30, abs=2)


def test_gold_in_the_vacuum_and_a_hole_do_not_move_the_faces() -> None:
    true = Slab(Plane(12.0, 0.03, 0.0), Plane(33.0, 0.0, -0.03))
    data = tomogram(true)
    data[:, :30, :30] *= 0.5  # vacuum from end to end
    for place in ((4, 70, 70), (44, 20, 70), (43, 60, 30)):
        data[tuple(slice(i - 2, i + 3) for i in place)] -= 40
    np.testing.assert_allclose(faces(find_slab(Coarse(data, 1))), faces(true), atol=2.5)


def test_where_the_sample_thins_out_the_faces_lie_at_its_foot() -> None:
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    contrast = np.interp(np.arange(48), [8, 18, 30, 40], [0.4, 1, 1, 0.4]).astype(np.float32)
    found = faces(find_slab(Coarse(noise * contrast[:, None, None], 1)))
    np.testing.assert_allclose(found[0], 10.5, atol=1.5)  # 13 is half-way, 10.5 where a quarter is left
    np.testing.assert_allclose(found[1], 37.5, atol=1.5)


def test_the_empty_filling_above_and_below_may_be_constant() -> None:
    true = Slab(Plane(12.0, 0.0, 0.0), Plane(33.0, 0.0, 0.0))
    np.testing.assert_allclose(faces(find_slab(Coarse(tomogram(true, vacuum=0.0), 1))), faces(true), atol=2)


def test_faces_come_back_in_voxels_of_the_volume() -> None:
    true = Slab(Plane(12.0, 0.05, -0.02), Plane(33.0, 0.0, 0.0))
    data = tomogram(true)
    coarse, fine = find_slab(Coarse(data, 1)), find_slab(Coarse(data, 3))
    places = np.random.default_rng(0).uniform(0, 47, (50, 3))
    np.testing.assert_allclose(fine.depth(Coarse(data, 3).to_fine(places)), 3 * coarse.depth(places), atol=1e-9)


def test_depth_by_hand() -> None:
    slab = Slab(Plane(10.0, 0.0, 0.0), Plane(20.0, 0.0, 1.0))
    assert slab.depth(np.array([[12.0, 5, 0], [9, 5, 0], [20, 0, 0], [21, 0, 0]])) == pytest.approx(
        [2, -1, 0, -np.sqrt(0.5)]
    )
    assert slab.high is not None
    assert slab.high.tilt_deg == pytest.approx(45)
    assert np.isinf(Slab().depth(np.zeros((2, 3)))).all()
