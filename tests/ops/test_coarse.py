import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.ops.coarse import Coarse, coarsen, robust_sigma


class Watched:
    """A volume that remembers the largest piece that was read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.largest = data, 0
        self.shape, self.dtype = data.shape, data.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        part = self.data[key]
        self.largest = max(self.largest, part.size)
        return part


@given(binning=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_a_coarse_voxel_is_the_mean_of_its_block(binning: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.integers(-127, 128, rng.integers(32, 40, 3)).astype(np.int8)
    coarse = coarsen(data, binning)
    assert coarse.levels.shape == tuple(n // binning for n in data.shape)
    at = rng.integers(0, coarse.levels.shape)
    block = data[tuple(slice(i * binning, (i + 1) * binning) for i in at)]
    assert coarse.levels[tuple(at)] == pytest.approx(block.mean(), abs=1e-4)
    middle = np.mean([at * binning, (at + 1) * binning - 1], axis=0)
    np.testing.assert_allclose(coarse.to_fine(at[None].astype(float))[0], middle)


def test_a_large_volume_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etpick.ops.coarse._READ_BYTES", 4 * 64 * 64 * 8)
    volume = Watched(np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32))
    whole = volume.data.reshape(16, 4, 16, 4, 16, 4).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(coarsen(volume, 4).levels, whole, atol=1e-5)
    assert volume.largest == 64 * 64 * 8


def test_the_binning_fits_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    thin = np.zeros((9, 80, 80), np.float32)
    assert coarsen(thin, 6).binning == 1  # eight blocks are the least
    monkeypatch.setattr("etpick.ops.coarse._MOST_VOXELS", 1000)
    assert coarsen(np.zeros((40, 40, 40), np.float32), 1).binning == 4


def test_sigma_does_not_mind_outliers() -> None:
    levels = np.random.default_rng(0).normal(0, 3, (40, 40, 40)).astype(np.float32)
    levels[:2] = -1e6
    assert robust_sigma(levels) == pytest.approx(3, rel=0.1)
    assert Coarse(levels, 1).smoothed().shape == levels.shape
