import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etpick.ops.labels import render_labels
from etpick.ops.warp import mirror_block, random_warp, sample_warped


def draw(seed: int, warp: bool = True, size: int = 32):
    return random_warp(
        np.random.default_rng(seed), size, mirror=True, warp=warp, rotation_deg=15, scale=0.05, elastic=0.03
    )


def sampled(warp, block):
    return sample_warped([warp], [block], torch.device("cpu"))[0].numpy()


@given(seed=st.integers(0, 10_000))
def test_centres_come_back_from_the_source(seed):
    warp = draw(seed)
    points = np.random.default_rng(seed).uniform(4, 27, (20, 3))
    assert warp.to_target(warp.to_source(points)) == pytest.approx(points, abs=1e-3)


@given(seed=st.integers(0, 10_000), warp=st.booleans(), stride=st.sampled_from([1, 2]))
@settings(max_examples=20, deadline=None)
def test_a_grid_comes_from_where_its_points_come_from(seed, warp, stride):
    drawn = draw(seed, warp)
    points = np.indices((32 // stride,) * 3).reshape(3, -1).T * stride + (stride - 1) / 2
    found, expected = drawn.source_grid(stride).reshape(3, -1).T, drawn.to_source(points)
    if warp:
        np.testing.assert_allclose(found, expected, atol=2e-9)
    else:  # half voxels, at which faces of boxes lie
        np.testing.assert_array_equal(found, expected)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_render_of_warped_centres_is_warp_of_render(seed):
    """render(augment(p)) = augment(render(p)): an image and its labels move together."""
    warp = draw(seed)
    reach = warp.reach
    apart = 6.0 * np.array([[-1, -1, -1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])  # side by side their errors add up
    offsets = apart + np.random.default_rng(seed).uniform(-3, 3, (4, 3))
    blob = np.indices((2 * reach,) * 3) - (2 * reach - 1) / 2

    def gaussians(grid, centres):
        return sum(np.exp(-((grid - c[:, None, None, None]) ** 2).sum(0) / 8) for c in centres)

    block = gaussians(blob, offsets).astype(np.float32)
    expected = gaussians(np.indices((32, 32, 32)).astype(float), warp.to_target(offsets))
    assert np.abs(sampled(warp, block) - expected).max() < 0.23  # 0.7 voxels off would give more


@given(seed=st.integers(0, 1000))
def test_a_mirror_alone_costs_no_interpolation(seed):
    warp = draw(seed, warp=False)
    block = np.random.default_rng(seed).random((32, 32, 32)).astype(np.float32)
    offsets = np.array([[3.5, -2.5, 9.5]])
    value = block[tuple((offsets[0] + 15.5).astype(int))]
    target = np.rint(warp.to_target(offsets)[0]).astype(int)
    assert mirror_block(block, warp)[tuple(target)] == value


@given(seed=st.integers(0, 1000))
def test_the_source_block_holds_every_point(seed):
    warp = draw(seed)
    corners = np.array(np.meshgrid(*[[0.0, 31.0]] * 3)).reshape(3, -1).T
    assert np.abs(warp.to_source(corners)).max() <= warp.reach - 0.5


def test_labels_of_the_same_warp_sit_on_the_image():
    warp = draw(3)
    centre = np.array([[4.0, -3.0, 6.0]])
    grid = np.indices((2 * warp.reach,) * 3) - (2 * warp.reach - 1) / 2
    block = np.exp(-((grid - centre[0][:, None, None, None]) ** 2).sum(0) / 4).astype(np.float32)
    image = sampled(warp, block)
    labels = render_labels(warp.to_target(centre), np.ones(1, int), np.full(1, 7.0), (32, 32, 32))
    mass = np.argwhere(labels).mean(axis=0)
    assert np.linalg.norm(mass - np.unravel_index(image.argmax(), image.shape)) < 1.2


def test_many_are_sampled_as_one_by_one():
    """Their blocks differ in size, and one only mirrors."""
    warps, rng = [draw(1), draw(2), draw(3, warp=False)], np.random.default_rng(0)
    blocks = [rng.random((2 * w.reach,) * 3).astype(np.float32) for w in warps]
    assert len({b.shape for b in blocks}) > 1
    together = sample_warped(warps, blocks, torch.device("cpu")).numpy()
    for warp, block, image in zip(warps, blocks, together, strict=True):
        assert image == pytest.approx(sampled(warp, block), abs=1e-4)
    inner = blocks[2][tuple([slice(warps[2].reach - 16, warps[2].reach + 16)] * 3)]
    assert together[2] == pytest.approx(mirror_block(inner, warps[2]), abs=1e-4)
