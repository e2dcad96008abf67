from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from etpick.errors import InputError
from etpick.evaluation.matching import match, radii_vx
from etpick.types import ParticleClass, Particles

coordinate = st.integers(0, 24).map(lambda k: k / 4)


def points(max_size: int) -> st.SearchStrategy[np.ndarray]:
    return st.integers(0, max_size).flatmap(lambda n: arrays(np.float64, (n, 3), elements=coordinate))


def best_by_trying_all(a: np.ndarray, b: np.ndarray, radii: np.ndarray) -> tuple[int, float]:
    """(pairs, total distance) of the best one-to-one pairing."""
    distances = np.linalg.norm(a[:, None] - b[None], axis=-1)
    seats = [*range(len(a)), *[-1] * len(b)]  # -1: this particle stays alone
    best = (0, 0.0)
    for chosen in set(permutations(seats, len(b))):
        pairs = [(i, j) for j, i in enumerate(chosen) if i >= 0]
        if all(distances[i, j] < radii[j] for i, j in pairs):
            total = sum(float(distances[i, j]) for i, j in pairs)
            best = max(best, (len(pairs), -total))
    return best[0], -best[1]


@given(a=points(4), b=points(4), data=st.data())
def test_pairs_are_the_best_of_all_pairings(a: np.ndarray, b: np.ndarray, data: st.DataObject) -> None:
    radii = data.draw(arrays(np.float64, len(b), elements=st.sampled_from([0.5, 1.5, 3.0, 6.0])))
    found = match(a, b, radii)
    pairs, total = best_by_trying_all(a, b, radii)
    assert len(found) == pairs
    assert found.distances.sum() == pytest.approx(total)
    assert len(set(found.predicted.tolist())) == len(set(found.truth.tolist())) == pairs
    assert (found.distances < radii[found.truth]).all()
    np.testing.assert_allclose(found.distances, np.linalg.norm(a[found.predicted] - b[found.truth], axis=1), atol=1e-12)


def test_more_pairs_win_over_shorter_ones() -> None:
    predicted = np.array([[0.0, 0, 0], [0, 0, 2]])
    truth = np.array([[0.0, 0, 0.1], [0, 0, -1.8]])  # nearest-first would spend pick 0 on truth 0
    found = match(predicted, truth, 2.0)
    assert found.predicted.tolist() == [1, 0]
    assert found.truth.tolist() == [0, 1]


def test_a_distance_equal_to_the_radius_is_no_hit() -> None:
    assert len(match(np.zeros((1, 3)), np.array([[0.0, 3, 4]]), 5.0)) == 0
    assert len(match(np.zeros((1, 3)), np.array([[0.0, 3, 4]]), 5.001)) == 1


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_nothing_on_one_side_gives_no_pairs(n: int, m: int) -> None:
    found = match(np.zeros((n, 3)), np.zeros((m, 3)), 2.0)
    assert len(found) == len(found.predicted) == len(found.distances) == 0


def test_a_crowd_of_five_thousand_is_matched(rng: np.random.Generator) -> None:
    truth = rng.uniform(0, 200, (5000, 3))
    picks = truth + rng.normal(0, 1.0, truth.shape)
    assert len(match(picks, truth, 5.0)) > 4900


def test_radius_is_half_the_diameter_over_the_spacing() -> None:
    classes = [ParticleClass("a", 100), ParticleClass("b", 300)]
    particles = Particles(np.zeros((3, 3)), np.array(["b", "a", "b"]))
    assert radii_vx(particles, classes, 10.0).tolist() == [15, 5, 15]


def test_an_unknown_class_is_named() -> None:
    particles = Particles(np.zeros((1, 3)), np.array(["virus"]), tomogram="t1")
    with pytest.raises(InputError, match=r"class virus in t1 is not among a, b"):
        radii_vx(particles, [ParticleClass("a", 1), ParticleClass("b", 1)], 1.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
