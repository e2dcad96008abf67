import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.errors import InputError
from etpick.ops.masks import grid_scale, near_mask


class Watched:
    """A volume that adds up the voxels that were read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.read = data, 0
        self.shape, self.dtype = data.shape, data.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        part = self.data[key]
        self.read += part.size
        return part


@given(
    seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), reach=st.floats(0, 6), share=st.floats(0, 0.02),
    spread=st.floats(0.1, 1),
)  # fmt: skip
def test_distances_agree_with_brute_force(seed: int, count: int, reach: float, share: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((14, 18, 22)) < share
    positions = rng.uniform(-2, 24 * spread, (count, 3))
    gap = np.linalg.norm(np.rint(positions)[:, None] - np.argwhere(mask), axis=2)
    limit = 0.0 if reach < 1 else reach
    np.testing.assert_array_equal(near_mask(mask.astype(np.float32), positions, reach), (gap <= limit).any(axis=1))


def test_only_the_neighbourhood_of_sparse_positions_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Watched(np.zeros((60, 60, 60), np.int8))
    near_mask(volume, np.array([[5.0, 5, 5], [50, 50, 50], [5, 50, 5]]), 2.0)
    assert volume.read <= 3 * 5**3
    volume.read = 0
    dense = np.argwhere(np.ones((10, 10, 10), bool)).astype(float) + 20
    near_mask(volume, dense, 2.0)
    assert volume.read == 14**3  # once, not once for each


@given(
    shape=st.tuples(*[st.integers(120, 900)] * 3), binning=st.integers(1, 8),
    up=st.lists(st.booleans(), min_size=3, max_size=3),
)  # fmt: skip
def test_sizes_rounded_up_or_down_are_the_same_field_of_view(
    shape: tuple[int, int, int], binning: int, up: list[bool]
) -> None:
    z, y, x = (-(-n // binning) if u else n // binning for n, u in zip(shape, up, strict=True))
    assert grid_scale(shape, (z, y, x)) == pytest.approx(1 / binning, rel=0.15)
    assert grid_scale((z, y, x), shape) == pytest.approx(binning, rel=0.15)


def test_whole_binnings_are_exact() -> None:
    assert grid_scale((128, 256, 256), (128, 256, 256)) == 1
    assert grid_scale((129, 257, 255), (64, 128, 127)) == 0.5
    assert grid_scale((200, 400, 400), (100, 200, 200)) == 0.5
    assert grid_scale((100, 200, 200), (300, 600, 601)) == 3


def test_another_field_of_view_is_refused_with_both_sizes() -> None:
    with pytest.raises(InputError, match="256 × 256 × 64 voxels and the tomogram 256 × 256 × 128"):
        grid_scale((128, 256, 256), (64, 256, 256))
