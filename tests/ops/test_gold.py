import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from etpick.ops.coarse import Coarse
from etpick.ops.gold import find_beads

SHAPE = (40, 64, 64)


def balls(centres: np.ndarray, radius: float, depth: float) -> np.ndarray:
    """Dark balls with soft edges."""
    at = np.indices(SHAPE, dtype=float).reshape(3, -1).T
    out = np.zeros(len(at))
    for centre in centres:
        out -= depth * np.clip(radius + 0.5 - np.linalg.norm(at - centre, axis=1), 0, 1)
    return out.reshape(SHAPE).astype(np.float32)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


PROTEIN = balls(np.random.default_rng(1).uniform(4, 36, (12, 3)), 2.5, 4.0)
BEADS = np.array([[10.0, 12, 14], [20, 50, 30], [31, 30, 55]])


@settings(max_examples=12)
@given(seed=st.integers(0, 1000), shift=st.lists(st.floats(-3, 3), min_size=3, max_size=3), radius=st.floats(1.4, 3.5))
def test_beads_among_protein_are_found_where_they_are(seed: int, shift: list[float], radius: float) -> None:
    true = BEADS + shift
    found = find_beads(Coarse(noise(seed) + PROTEIN + balls(true, radius, 40.0), 1), 10.0)
    assert len(found) == 3
    np.testing.assert_allclose(found.centres[np.argsort(found.centres[:, 0])], true, atol=0.6)
    np.testing.assert_allclose(found.radii, radius, atol=0.9)


@pytest.mark.parametrize("seed", range(4))
def test_noise_and_protein_are_no_gold(seed: int) -> None:
    assert len(find_beads(Coarse(noise(seed), 1), 10.0)) == 0
    assert len(find_beads(Coarse(noise(seed) + PROTEIN, 1), 10.0)) == 0
    assert len(find_beads(Coarse(np.zeros(SHAPE, np.float32), 1), 10.0)) == 0


def test_bright_beads_in_an_inverted_tomogram_are_the_same() -> None:
    data = noise() + PROTEIN + balls(BEADS, 2.5, 40.0)
    np.testing.assert_allclose(find_beads(Coarse(-data, 1), 10.0).centres, find_beads(Coarse(data, 1), 10.0).centres)


def test_bright_rims_are_no_beads() -> None:
    rims = ndimage.gaussian_laplace(balls(BEADS, 2.5, 20.0), 1.0) * -2
    found = find_beads(Coarse(noise() + balls(BEADS, 2.5, 40.0) - np.clip(rims, -15, 0), 1), 10.0)
    np.testing.assert_allclose(found.centres[np.argsort(found.centres[:, 0])], BEADS, atol=0.6)


@pytest.mark.parametrize(("count", "gap"), [(2, 4.0), (2, 9.0), (4, 5.0)])
def test_beads_side_by_side_are_covered(count: int, gap: float) -> None:
    true = np.array([20.0, 20, 20]) + gap * np.arange(count)[:, None] * [0, 0, 1]
    data = balls(true, 2.0, 40.0)
    found = find_beads(Coarse(noise() + data, 1), 10.0)
    assert found.distance(np.argwhere(data < -20).astype(float)).max() < 2
    assert len(found) <= count
    assert len(found) == count or gap < 9


def test_a_bead_drawn_out_by_the_missing_wedge_is_one() -> None:
    drawn_out = ndimage.zoom(balls(np.array([[20.0, 30, 30]]), 2.5, 40.0), (1.8, 1, 1), order=1)[16:56]
    assert len(find_beads(Coarse(noise() + drawn_out, 1), 10.0)) == 1


def test_what_is_too_wide_for_a_bead_is_none() -> None:
    data = noise() + balls(BEADS[1:2], 5.0, 40.0)
    assert len(find_beads(Coarse(data, 1), 4.0)) == 0
    assert len(find_beads(Coarse(data, 1), 8.0)) == 1


def test_places_come_back_in_voxels_of_the_volume() -> None:
    data = noise() + balls(BEADS, 2.5, 40.0)
    coarse, fine = find_beads(Coarse(data, 1), 10.0), find_beads(Coarse(data, 4), 40.0)
    np.testing.assert_allclose(fine.centres, coarse.centres * 4 + 1.5)
    np.testing.assert_allclose(fine.radii, coarse.radii * 4)
    outside = coarse.centres[:1] + np.array([0, 0, coarse.radii[0] + 2])
    assert coarse.distance(outside) == pytest.approx([2])
    assert (coarse.distance(coarse.centres) == -coarse.radii).all()
