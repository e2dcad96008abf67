import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etpick.ops.blobs import difference_of_gaussians, dog_baseline
from etpick.types import ParticleClass

SHAPE = (32, 48, 48)


def dark_blobs(centres: np.ndarray, sigma_vx: float) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    volume = np.zeros(SHAPE)
    for c in centres:
        volume -= np.exp(-((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2) / (2 * sigma_vx**2))
    return volume


CENTRES = np.array([[10.3, 12.6, 14.1], [20.5, 34.2, 11.8], [15.7, 24.4, 36.3]])


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), gain=st.sampled_from([0.01, 1.0, 300.0]))
def test_clear_blobs_are_the_strongest_and_found_within_a_quarter_voxel(seed: int, gain: float) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.05, SHAPE)
    volume = gain * (dark_blobs(CENTRES, 2.5) + noise) + 7
    positions, strength = difference_of_gaussians(volume.astype(np.float32), 9.0)
    assert (np.diff(strength) <= 0).all()
    for c in CENTRES:
        assert np.linalg.norm(positions[:3] - c, axis=1).min() < 0.25
    assert strength[2] > 2 * strength[3]


def test_bright_blobs_are_not_picked() -> None:
    positions, _ = difference_of_gaussians(-dark_blobs(CENTRES, 2.5), 9.0)
    for c in CENTRES:
        assert not (np.linalg.norm(positions - c, axis=1) < 4).any()


def test_an_outlier_does_not_outshine_a_particle() -> None:
    volume = dark_blobs(CENTRES, 2.5) + np.random.default_rng(0).normal(0, 0.2, SHAPE)
    volume[25, 5, 40] = -1e6
    positions, _ = difference_of_gaussians(volume, 9.0)
    assert np.linalg.norm(positions[0] - [25, 5, 40]) > 5
    for c in CENTRES:
        assert np.linalg.norm(positions[:3] - c, axis=1).min() < 1


def test_size_tells_classes_apart_and_each_place_is_picked_once() -> None:
    rng = np.random.default_rng(1)
    volume = dark_blobs(CENTRES[:2], 1.5) + dark_blobs(CENTRES[2:], 4.0) + rng.normal(0, 0.05, SHAPE)
    classes = [ParticleClass("small", 60), ParticleClass("twin", 60), ParticleClass("large", 150)]
    picks = dog_baseline(volume, classes, 10.0)
    assert picks.scores is not None
    assert ((picks.scores > 0) & (picks.scores < 1)).all()
    best = picks.select(np.argsort(-picks.scores)[:3])
    for centre, name in zip(CENTRES, ["small", "small", "large"], strict=True):
        near = np.linalg.norm(best.positions - centre, axis=1) < 1.5
        assert best.classes[near].tolist() == [name]
    assert "twin" not in picks.classes
    gaps = np.linalg.norm(picks.positions[:, None] - picks.positions[None], axis=-1)
    assert gaps[~np.eye(len(picks), dtype=bool)].min() > 3.0  # half the smaller diameter, in voxels


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_flat_volume_has_no_blobs(value: float) -> None:
    picks = dog_baseline(np.full(SHAPE, value, np.float32), [ParticleClass("a", 90)], 10.0)
    assert len(picks) == 0
