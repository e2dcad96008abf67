from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from etpick.evaluation.comparison import ABSENT, Places, find_places, region_name
from etpick.types import ParticleClass, Particles

CLASSES = (ParticleClass("ribosome", 100.0), ParticleClass("proteasome", 60.0))  # 5 and 3 voxels of radius
SPACING_A = 10.0


def picks(positions: object, name: str = "ribosome", scores: object = None) -> Particles:
    return Particles(np.asarray(positions, float), np.array(name), scores)


def lattice(rng: np.random.Generator, count: int) -> np.ndarray:
    """Distinct places far from each other."""
    cells = rng.permutation(5**3)[:count]
    return 20.0 * np.stack(np.unravel_index(cells, (5, 5, 5)), axis=1)


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_places_far_apart_are_told_by_which_sets_have_them(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    places = lattice(rng, 30)
    there = rng.random((30, count)) < 0.5
    sets = [picks(places[there[:, i]] + rng.uniform(-1, 1, (there[:, i].sum(), 3))) for i in range(count)]
    regions = find_places(sets, CLASSES, SPACING_A).regions()
    assert len(regions) == 2**count - 1
    for region, found in regions.items():
        assert len(found) == (there == region).all(axis=1).sum()


@given(st.integers(0, 10**6))
def test_every_pick_has_one_place_and_a_place_one_pick_of_a_set(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = [picks(rng.uniform(0, 25, (n, 3))) for n in rng.integers(0, 20, 3)]
    places = find_places(sets, CLASSES, SPACING_A)
    for column, own in zip(places.members.T, sets, strict=True):
        assert sorted(column[column != ABSENT]) == list(range(len(own)))
    assert places.present.any(axis=1).all()


@given(st.integers(0, 10**6))
def test_two_sets_share_the_same_whichever_comes_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = [picks(rng.uniform(0, 30, (n, 3))) for n in (12, 15)]
    one, other = (find_places(order, CLASSES, SPACING_A) for order in permutations(sets))
    assert len(one) == len(other)
    np.testing.assert_allclose(np.sort(one.distances_vx(0, 1)), np.sort(other.distances_vx(0, 1)))


def both(distance: float, name: str) -> Places:
    return find_places([picks([[0, 0, 0]], name), picks([[0, 0, distance]], name)], CLASSES, SPACING_A)


def test_within_half_a_diameter_is_one_place() -> None:
    assert len(both(4.9, "ribosome")) == 1
    assert len(both(5.1, "ribosome")) == 2
    assert len(both(4.9, "proteasome")) == 2


def test_classes_distances_and_scores_of_shared_places() -> None:
    a = picks([[0, 0, 0], [30, 0, 0]], scores=[0.9, 0.2])
    b = Particles(np.array([[0, 3.0, 0], [60, 0, 0]]), np.array(["proteasome", "ribosome"]))
    places = find_places([a, b], CLASSES, SPACING_A)
    assert places.distances_vx(0, 1).tolist() == [3.0]
    assert places.same_class(0, 1).tolist() == [False]
    assert places.scores(0, shared=True).tolist() == [0.9]
    assert places.scores(0, shared=False).tolist() == [0.2]
    assert places.scores(1, shared=True).size == 0  # nobody scored it


def test_the_first_set_speaks_for_a_place() -> None:
    a, b = picks([[0, 0, 0]], scores=[0.5]), picks([[0, 0, 1], [50, 0, 0]], scores=[0.7, 0.8])
    places = find_places([a, b], CLASSES, SPACING_A)
    spoken = places.picks(np.arange(len(places)))
    assert spoken.positions.tolist() == [[0, 0, 0], [50, 0, 0]]
    assert spoken.scores is not None and spoken.scores.tolist() == [0.5, 0.8]
    without = find_places([picks([[0, 0, 0]]), b], CLASSES, SPACING_A)
    assert without.picks(np.arange(2)).scores is None  # one of them has none


def test_regions_have_names_that_people_read() -> None:
    names = ("manual", "etpick", "other")
    assert region_name((True, False, False), names) == "only manual"
    assert region_name((False, True, True), names) == "etpick and other"
    assert region_name((True, True, True), names) == "all"
    assert region_name((True, True), names[:2]) == "manual and etpick"
