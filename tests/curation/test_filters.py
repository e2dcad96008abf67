import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.curation.filters import Filters, doubt, edge_distance, least_sure_first, nearest_neighbour
from etpick.errors import InputError
from etpick.types import Particles

SHAPE = (20, 60, 80)


@st.composite
def picks(draw: st.DrawFn) -> Particles:
    n = draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    positions = rng.uniform(0, np.array(SHAPE) - 1, (n, 3))
    return Particles(positions, rng.choice(["a", "b"], n), rng.uniform(0, 1, n), rng.uniform(0.5, 1, n))


@given(picks(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_shows_a_part_of_what_a_lower_one_shows(found: Particles, one: float, other: float) -> None:
    low, high = sorted((one, other))
    shown, fewer = (Filters({"a": t, "b": t}).passing(found, SHAPE, 10.0) for t in (low, high))
    assert not (fewer & ~shown).any()
    assert found.scores is not None
    assert (shown == (found.scores >= low)).all()


@given(picks(), st.floats(0, 200))
def test_every_pick_shown_keeps_its_distance_to_the_faces(found: Particles, edge_A: float) -> None:
    shown = Filters(edge_A=edge_A).passing(found, SHAPE, 10.0)
    for position, keep in zip(found.positions, shown, strict=True):
        voxels = min(min(p + 0.5, n - 0.5 - p) for p, n in zip(position, SHAPE, strict=True))
        assert keep == (voxels * 10 >= edge_A)


@given(picks(), st.floats(1, 300))
def test_with_or_without_a_neighbour_is_all_of_them(found: Particles, distance_A: float) -> None:
    apart = Filters(apart_A=distance_A).passing(found, SHAPE, 10.0)
    near = Filters(near_A=float(np.nextafter(distance_A, 0))).passing(found, SHAPE, 10.0)
    assert (apart ^ near).all()


def test_neighbours_are_those_above_the_threshold() -> None:
    two = Particles(np.array([[5, 5, 5], [5, 5, 8]]), np.array(["a", "a"]), np.array([0.9, 0.2]))
    assert Filters(apart_A=40).passing(two, SHAPE, 10.0).tolist() == [False, False]
    assert Filters({"a": 0.5}, apart_A=40).passing(two, SHAPE, 10.0).tolist() == [True, False]


def test_picks_without_scores_reach_any_threshold() -> None:
    manual = Particles(np.array([[5, 5, 5]]), np.array(["a"]))
    assert Filters({"a": 0.9}).passing(manual, SHAPE, 10.0).all()
    assert (doubt(manual) == 0).all()


def test_what_cannot_be_told_is_asked_first() -> None:
    scores, right = np.array([0.99, 0.5, 0.01, 0.99]), np.array([1.0, 1.0, 1.0, 0.5])
    found = Particles(np.zeros((4, 3)), np.full(4, "a"), scores, right)
    assert doubt(found)[1] == pytest.approx(1)  # a coin's bit
    assert least_sure_first(found)[:2].tolist() == [3, 1]  # there, but of which class? and then that: is it there?


@given(picks())
def test_doubt_is_between_nothing_and_three_equal_chances(found: Particles) -> None:
    assert ((doubt(found) >= 0) & (doubt(found) <= np.log2(3) + 1e-9)).all()


@given(picks(), st.floats(0, 1), st.none() | st.floats(0, 500), st.none() | st.just(frozenset({"a"})))
def test_filters_come_back_from_json(found: Particles, low: float, near: float | None, only: frozenset | None) -> None:
    filters = Filters({"a": low}, only, 10.0, 20.0, near)
    assert Filters.from_dict(filters.to_dict()) == filters
    assert filters.what


def test_a_distance_below_zero_and_an_unknown_filter_are_refused() -> None:
    with pytest.raises(InputError, match="edge_A = -1"):
        Filters(edge_A=-1)
    with pytest.raises(InputError, match="no filters"):
        Filters.from_dict({"colour": "red"})


def test_lonely_positions() -> None:
    assert np.isinf(nearest_neighbour(np.zeros((1, 3)))).all()
    assert len(edge_distance(np.zeros((0, 3)), SHAPE)) == 0
