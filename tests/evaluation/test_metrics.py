import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.errors import InputError
from etpick.evaluation.metrics import Score, evaluate, f1_alpha
from etpick.types import ParticleClass, Particles

CLASSES = [ParticleClass("big", 200), ParticleClass("small", 100)]
SPACING_A = 10.0  # radii of 10 and 5 voxels
seeds = st.integers(0, 2**32 - 1)


def particles(positions: np.ndarray, classes: list[str] | str) -> Particles:
    return Particles(np.asarray(positions, dtype=float), np.array(classes))


def scattered(rng: np.random.Generator, n: int) -> Particles:
    return particles(rng.uniform(0, 100, (n, 3)), rng.choice(["big", "small"], n).tolist())


def far_apart(rng: np.random.Generator) -> Particles:
    grid = np.stack(np.meshgrid(*[np.arange(3) * 30.0] * 3, indexing="ij"), -1).reshape(-1, 3)
    return particles(grid, rng.choice(["big", "small"], len(grid)).tolist())


@given(seed=seeds)
def test_truth_against_itself_is_perfect(seed: int) -> None:
    truth = scattered(np.random.default_rng(seed), 20)
    result = evaluate([truth], [truth], CLASSES, SPACING_A)
    assert result.localisation.f1 == result.mean_class_f1 == 1
    assert result.localisation.mean_distance_vx == 0
    assert np.array_equal(result.confusion.counts, np.diag(np.diag(result.confusion.counts)))


@given(seed=seeds)
def test_the_order_of_picks_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picks, truth = scattered(rng, 25), scattered(rng, 20)
    shuffled = picks.select(rng.permutation(len(picks)))
    before = evaluate([picks], [truth], CLASSES, SPACING_A)
    after = evaluate([shuffled], [truth], CLASSES, SPACING_A)
    assert after.localisation.mean_distance_vx == pytest.approx(before.localisation.mean_distance_vx, nan_ok=True)
    for one, two in (
        (before.localisation, after.localisation),
        *zip(before.classification.values(), after.classification.values(), strict=True),
    ):
        assert (one.tp, one.fp, one.fn) == (two.tp, two.fp, two.fn)
    assert np.array_equal(before.confusion.counts, after.confusion.counts)


@given(seed=seeds, copies=st.integers(1, 3))
def test_duplicates_are_false_positives(seed: int, copies: int) -> None:
    truth = far_apart(np.random.default_rng(seed))
    picks = truth.select(np.repeat(np.arange(len(truth)), copies))
    score = evaluate([picks], [truth], CLASSES, SPACING_A).localisation
    assert score.recall == 1
    assert score.precision == pytest.approx(1 / copies)
    assert score.fp == (copies - 1) * len(truth)


@given(seed=seeds)
def test_moving_picks_by_less_than_the_radius_keeps_f1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = far_apart(rng)
    direction = rng.normal(size=truth.positions.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = rng.uniform(0, 4.99, (len(truth), 1))
    moved = particles(truth.positions + direction * length, truth.classes.tolist())
    result = evaluate([moved], [truth], CLASSES, SPACING_A)
    assert result.localisation.f1 == result.mean_class_f1 == 1
    assert result.localisation.mean_distance_vx == pytest.approx(length.mean())


def test_counts_of_a_hand_worked_example() -> None:
    truth = particles([[0, 0, 0], [0, 0, 50], [0, 50, 0], [50, 0, 0]], ["big", "big", "small", "small"])
    picks = particles(
        [[0, 0, 9], [0, 0, 52], [0, 56, 0], [50, 0, 3], [99, 99, 99]],
        # right,   wrong class, too far,   right,       nothing there
        ["big", "small", "small", "small", "big"],
    )
    result = evaluate([picks], [truth], CLASSES, SPACING_A)
    local = result.localisation
    assert (local.tp, local.fp, local.fn) == (3, 2, 1)
    assert local.mean_distance_vx == pytest.approx((9 + 2 + 3) / 3)
    big, small = result.classification["big"], result.classification["small"]
    assert (big.tp, big.fp, big.fn) == (1, 1, 1)
    assert (small.tp, small.fp, small.fn) == (1, 2, 1)
    assert result.mean_class_f1 == pytest.approx((2 / 4 + 2 / 5) / 2)
    assert result.confusion.rows == ("big", "small", "background")
    assert result.confusion.columns == ("big", "small", "missed")
    assert result.confusion.counts.tolist() == [[1, 1, 0], [0, 1, 1], [1, 1, 0]]


def test_tomograms_are_pooled_and_each_has_its_spacing() -> None:
    truth = particles([[0, 0, 0]], "small")
    near, far = particles([[0, 0, 4]], "small"), particles([[0, 0, 6]], "small")
    one_spacing = evaluate([near, far], [truth, truth], CLASSES, 10.0).localisation
    assert (one_spacing.tp, one_spacing.fp, one_spacing.fn) == (1, 1, 1)
    finer = evaluate([near, far], [truth, truth], CLASSES, [10.0, 5.0]).localisation
    assert (finer.tp, finer.mean_distance_vx) == (2, 5.0)


def test_a_tomogram_without_picks_counts() -> None:
    truth = particles([[0, 0, 0]], "small")
    result = evaluate([Particles.empty(), truth], [truth, truth], CLASSES, SPACING_A)
    assert result.localisation.recall == 0.5


def test_no_picks_score_zero_and_nothing_at_all_is_undefined() -> None:
    nothing, truth = Particles.empty(), particles([[0, 0, 0]], "small")
    missed = evaluate([nothing], [truth], CLASSES, SPACING_A)
    assert (missed.localisation.precision, missed.localisation.recall, missed.localisation.f1) == (0, 0, 0)
    assert missed.mean_class_f1 == 0  # "big" is absent and not averaged, "small" is
    assert math.isnan(missed.classification["big"].f1)
    invented = evaluate([truth], [nothing], CLASSES, SPACING_A).localisation
    assert (invented.precision, invented.recall, invented.f1) == (0, 0, 0)
    empty = evaluate([nothing], [nothing], CLASSES, SPACING_A)
    assert math.isnan(empty.localisation.f1)
    assert math.isnan(empty.mean_class_f1)


def test_mean_over_a_subset_of_classes() -> None:
    truth = particles([[0, 0, 0], [0, 0, 50]], ["big", "small"])
    result = evaluate([truth.of_class("big")], [truth], CLASSES, SPACING_A)
    assert result.mean_class_f1 == 0.5
    assert result.mean_f1_of(["big"]) == 1


def test_the_dictionary_is_strict_json() -> None:
    result = evaluate([Particles.empty()], [Particles.empty()], CLASSES, SPACING_A)
    back = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert back["localisation"]["f1"] is None
    assert back["confusion"]["rows"] == ["big", "small", "background"]


def test_unequal_lists_are_refused() -> None:
    with pytest.raises(InputError, match="1 lists of picks but 0 of truth"):
        evaluate([Particles.empty()], [], CLASSES, SPACING_A)
    with pytest.raises(InputError, match="1 tomograms but 2 spacings"):
        evaluate([Particles.empty()], [Particles.empty()], CLASSES, [1.0, 2.0])


def test_a_pick_of_an_unknown_class_is_refused() -> None:
    with pytest.raises(InputError, match="class virus"):
        evaluate([particles([[0, 0, 0]], "virus")], [Particles.empty()], CLASSES, SPACING_A)


def test_f1_alpha() -> None:
    assert f1_alpha(0.8, 0.6, 1) == pytest.approx(2 * 0.8 * 0.6 / 1.4)
    assert f1_alpha(0.9, 0.5) == pytest.approx(2 * 0.9 * 0.125 / 1.025)
    assert f1_alpha(0.6, 0.9) > f1_alpha(0.9, 0.6)
    assert f1_alpha(0, 0) == f1_alpha(math.nan, 1) == 0
    with pytest.raises(InputError, match="alpha"):
        f1_alpha(1, 1, 0)


def test_f1_is_the_harmonic_mean() -> None:
    score = Score(tp=3, fp=2, fn=4)
    assert score.f1 == pytest.approx(2 / (1 / score.precision + 1 / score.recall))
