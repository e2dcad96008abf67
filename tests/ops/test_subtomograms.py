import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.ops.subtomograms import cut, level, outside_ball, plan_cuts

SHAPE = (20, 30, 40)
coordinates = st.tuples(*(st.floats(-3, n + 3, allow_nan=False) for n in SHAPE))


@given(st.lists(coordinates, max_size=8), st.sampled_from([4, 8]), st.sampled_from(["drop", "pad"]))
def test_the_middle_voxel_and_the_remainder_make_the_position(places: list[tuple[float, ...]], box: int, edge) -> None:  # type: ignore[no-untyped-def]
    positions = np.array(places).reshape(-1, 3)
    cuts = plan_cuts(positions, SHAPE, box, edge)
    np.testing.assert_allclose(cuts.corners + box // 2 + cuts.remainders, positions[cuts.kept])
    assert (np.abs(cuts.remainders) <= 0.5).all()
    assert len(cuts) + cuts.dropped == len(positions)
    whole = ((cuts.corners >= 0) & (cuts.corners + box <= SHAPE)).all(axis=1)
    assert (cuts.over_edge == ~whole).all()
    if edge == "drop":
        assert whole.all()


def test_particles_at_the_edge_are_dropped_or_padded_and_those_outside_are_always_dropped() -> None:
    positions = np.array([[10.0, 10, 10], [1, 10, 10], [10, 10, 39], [-2, 10, 10]])
    assert plan_cuts(positions, SHAPE, 8, "drop").kept.tolist() == [0]
    padded = plan_cuts(positions, SHAPE, 8, "pad")
    assert padded.kept.tolist() == [0, 1, 2] and padded.dropped == 1
    assert padded.over_edge.tolist() == [False, True, True]


def test_a_cut_is_the_array_where_there_is_one_and_nan_elsewhere() -> None:
    volume = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    np.testing.assert_array_equal(cut(volume, np.array([5, 6, 7]), 8), volume[5:13, 6:14, 7:15])
    box = cut(volume, np.array([-3, 6, 36]), 8)
    np.testing.assert_array_equal(box[3:, :, :4], volume[:5, 6:14, 36:])
    assert np.isnan(box[:3]).all() and np.isnan(box[:, :, 4:]).all()
    hot = volume.astype(np.float32)
    hot[5, 6, 7] = np.inf
    assert np.isnan(cut(hot, np.array([5, 6, 7]), 8)[0, 0, 0])


def test_levels_bring_the_background_to_mean_0_and_sigma_1() -> None:
    rng = np.random.default_rng(0)
    box = rng.normal(100, 7, (16, 16, 16)).astype(np.float32)
    around = outside_ball(16, 12)
    box[~around] -= 50
    out = level(box, around, invert=True)
    assert out[around].mean() == pytest.approx(0, abs=1e-3) and out[around].std() == pytest.approx(1, abs=1e-3)
    assert out[~around].mean() == pytest.approx(50 / 7, rel=0.05)


def test_unknown_voxels_count_for_nothing_and_get_the_mean() -> None:
    rng = np.random.default_rng(0)
    box = rng.normal(100, 7, (16, 16, 16)).astype(np.float32)
    around = outside_ball(16, 12)
    part = box.copy()
    part[:3] = np.nan
    out = level(part, around, invert=False)
    known = around & np.isfinite(part)
    assert (out[:3] == 0).all() and out[known].std() == pytest.approx(1, abs=1e-3)
    raw = level(part, None, invert=False)
    np.testing.assert_array_equal(raw[3:], box[3:])
    np.testing.assert_allclose(raw[:3], box[3:].mean(), rtol=1e-5)


def test_a_box_of_one_grey_level_becomes_zero() -> None:
    assert (level(np.full((8, 8, 8), 3, np.float32), outside_ball(8, 4), invert=False) == 0).all()


def test_a_ball_is_centred_on_the_middle_voxel() -> None:
    ball = ~outside_ball(8, 2)
    assert ball.sum() == 7 and ball[4, 4, 3:6].all() and ball[3:6, 4, 4].all()
