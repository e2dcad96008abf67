import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from etpick.ops.labels import render_labels
from etpick.ops.peaks import (
    local_maxima,
    mean_pool,
    one_of_each_plateau,
    pooling_iterations,
    pooling_weights,
    refine,
    sample_mean,
)
from etpick.ops.suppression import suppress


def iterated_pooling(scores: np.ndarray, kernel: int, iterations: int) -> np.ndarray:
    """The paper's way, one pooling after another, on the map extended by zeros."""
    reach = kernel // 2 * iterations
    x = torch.from_numpy(np.pad(scores, 2 * reach)).double()[None, None]
    for _ in range(iterations):
        x = F.avg_pool3d(x, kernel, stride=1)
    return x[0, 0, reach:-reach, reach:-reach, reach:-reach].numpy()


@pytest.mark.parametrize(("kernel", "iterations"), [(3, 1), (3, 4), (5, 2), (7, 1)])
def test_one_separable_smoothing_equals_the_iterated_mean_pooling(kernel, iterations):
    scores = np.random.default_rng(0).random((11, 14, 9)).astype(np.float32)
    assert mean_pool(torch.from_numpy(scores), kernel, iterations).numpy() == pytest.approx(
        iterated_pooling(scores, kernel, iterations), abs=1e-6
    )


def test_of_a_plateau_its_middle_is_the_maximum():
    flat = torch.zeros(20, 24, 24)
    flat[4:9, 5:10, 6:11] = 0.9  # a cube
    flat[14, 3, 3:21] = 0.8  # a bar
    flat[17, 20, 20] = 0.7
    maxima = local_maxima(flat, 0.1)
    assert len(maxima) == 125 + 18 + 1
    assert one_of_each_plateau(maxima).tolist() == [[6, 7, 8], [14, 3, 11], [17, 20, 20]]
    assert one_of_each_plateau(maxima[-1:]).tolist() == [[17, 20, 20]]
    assert one_of_each_plateau(maxima[:0]).shape == (0, 3)
    everywhere = local_maxima(torch.ones(30, 30, 30), 0.1)
    assert len(one_of_each_plateau(everywhere)) == 1


@given(r=st.integers(1, 12), kernel=st.sampled_from([3, 5, 7]))
def test_the_receptive_field_is_as_published_and_covers_the_label(r, kernel):
    i = pooling_iterations(2 * r + 1, kernel)
    assert len(pooling_weights(kernel, i)) == 1 + (kernel - 1) * i >= 2 * r + 1
    assert pooling_weights(kernel, i).sum() == pytest.approx(1)


@given(st.lists(st.tuples(*[st.floats(6, 33)] * 3), min_size=1, max_size=6))
@settings(max_examples=40)
def test_centres_to_labels_to_peaks_to_centres(places):
    centres = np.array(places)
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1) + 100 * np.eye(len(centres))
    if gaps.min() < 12:
        return
    labels = render_labels(centres, np.ones(len(centres), int), np.full(len(centres), 7.0), (40, 40, 40))
    smooth = mean_pool(torch.from_numpy(labels > 0).float(), 3, pooling_iterations(7, 3))
    found = local_maxima(smooth, 0.1)
    positions = refine(smooth, found).numpy()
    kept = positions[suppress(positions, smooth[found.unbind(1)].double().numpy(), np.full(len(found), 5.0))]
    assert len(kept) == len(centres)
    error = np.linalg.norm(kept[:, None] - centres[None], axis=-1).min(axis=0)
    assert error.max() < 0.87  # half a voxel on each axis: all that a painted label tells


def test_the_vertex_of_a_parabola_is_found_exactly():
    grid = np.indices((9, 9, 9)).astype(np.float32)
    vertex = np.array([4.3, 3.6, 5.1])
    smooth = torch.from_numpy(10 - ((grid - vertex[:, None, None, None]) ** 2).sum(0))
    assert refine(smooth, local_maxima(smooth, 0))[0].numpy() == pytest.approx(vertex, abs=1e-4)


positions = st.lists(st.tuples(*[st.floats(0, 20)] * 3), min_size=0, max_size=25)


@given(places=positions, seed=st.integers(0, 99))
def test_of_two_near_picks_the_higher_survives(places, seed):
    rng = np.random.default_rng(seed)
    p = np.array(places, dtype=float).reshape(-1, 3)
    scores, reach = rng.random(len(p)), rng.uniform(1, 5, len(p))
    kept = suppress(p, scores, reach)
    assert (np.diff(scores[kept]) <= 0).all()
    for i in range(len(p)):
        near = [j for j in kept if j != i and np.linalg.norm(p[i] - p[j]) < (reach[i] + reach[j]) / 2]
        if i in kept:
            assert not near
        else:
            assert any(scores[j] >= scores[i] for j in near)
    shuffled = rng.permutation(len(p))
    again = suppress(p[shuffled], scores[shuffled], reach[shuffled])
    assert {tuple(q) for q in p[shuffled][again]} == {tuple(q) for q in p[kept]}


def test_class_chances_are_means_around_the_maximum():
    maps = torch.rand(2, 8, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    around = sample_mean(maps, torch.tensor([[4, 4, 4], [0, 7, 4]]), 1)
    assert around[0].numpy() == pytest.approx(maps[:, 3:6, 3:6, 3:6].mean((1, 2, 3)).numpy())
    padded = torch.nn.functional.pad(maps, [1] * 6, mode="replicate")  # beyond a face it counts again
    assert around[1].numpy() == pytest.approx(padded[:, 0:3, 7:10, 4:7].mean((1, 2, 3)).numpy())
