import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.errors import InputError
from etpick.evaluation.curves import (
    Curve,
    best_threshold,
    expected_calibration_error,
    precision_recall,
    recall_at,
)
from etpick.evaluation.metrics import f1_alpha
from etpick.types import ParticleClass, Particles

CLASSES = [ParticleClass("big", 200), ParticleClass("small", 100)]
SPACING_A = 10.0  # radii of 10 and 5 voxels
seeds = st.integers(0, 2**32 - 1)


def scored(rng: np.random.Generator, n: int) -> Particles:
    scores = rng.integers(0, 8, n) / 8  # with ties
    return Particles(rng.uniform(0, 60, (n, 3)), rng.choice(["big", "small"], n), scores)


def line(x: list[float], scores: list[float] | None = None) -> Particles:
    positions = np.zeros((len(x), 3))
    positions[:, 2] = x
    return Particles(positions, np.array("small"), None if scores is None else np.array(scores))


def curve_of(picks: Particles, truth: Particles) -> Curve:
    return precision_recall([picks], [truth], CLASSES, SPACING_A).localisation


def test_a_perfect_ranking_has_average_precision_one() -> None:
    truth = line([0, 50, 100])
    picks = line([0, 50, 100, 200, 300], [0.9, 0.8, 0.7, 0.2, 0.1])
    assert curve_of(picks, truth).average_precision == 1


def test_a_hand_worked_curve() -> None:
    truth = line([0, 50, 100, 150])
    picks = line([1, 200, 52, 2, 102], [0.9, 0.8, 0.6, 0.6, 0.3])
    # right, wrong, right, duplicate of the first at the same score, right; one particle is never found
    curve = curve_of(picks, truth)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.6, 0.3]
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 4, 3 / 5])
    np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 4, 2 / 4, 3 / 4])
    assert curve.average_precision == pytest.approx(1 / 4 * (1 + 1 / 2 + 3 / 5))
    assert curve.at(0.7) == (0.5, 0.25)
    assert curve.at(0.95) is None


@given(seed=seeds)
def test_recall_never_falls_and_the_order_of_picks_plays_no_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picks, truth = scored(rng, 40), scored(rng, 20)
    curves = precision_recall([picks], [truth], CLASSES, SPACING_A)
    shuffled = precision_recall([picks.select(rng.permutation(40))], [truth], CLASSES, SPACING_A)
    assert list(curves.classification) == ["big", "small"]
    for one, two in zip(
        (curves.localisation, *curves.classification.values()),
        (shuffled.localisation, *shuffled.classification.values()),
        strict=True,
    ):
        assert (np.diff(one.recall) >= 0).all()
        assert (np.diff(one.thresholds) < 0).all()
        np.testing.assert_array_equal(one.precision, two.precision)
        np.testing.assert_array_equal(one.recall, two.recall)


@given(seed=seeds, alpha=st.sampled_from([1.0, 3.0]))
def test_no_threshold_beats_the_best(seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    curve = curve_of(scored(rng, 40), scored(rng, 20))
    threshold = best_threshold(curve, alpha)
    values = [f1_alpha(p, r, alpha) for p, r in zip(curve.precision, curve.recall, strict=True)]
    if threshold is None:
        assert max(values) == 0
    else:
        at = curve.at(threshold)
        assert at is not None
        assert f1_alpha(*at, alpha) == max(values)


def test_a_larger_alpha_lowers_the_threshold() -> None:
    truth = line([50.0 * i for i in range(10)])
    wrong = [1000 + 50.0 * i for i in range(12)]
    right = truth.positions[:, 2].tolist()
    picks = line(right[:5] + wrong[:6] + right[5:8] + wrong[6:], [0.9] * 5 + [0.6] * 6 + [0.5] * 3 + [0.1] * 6)
    curve = curve_of(picks, truth)
    assert best_threshold(curve, 1) == 0.9
    assert best_threshold(curve, 3) == 0.5


def test_nothing_right_gives_no_threshold_and_no_area() -> None:
    truth = line([0])
    missed = curve_of(line([500], [0.9]), truth)
    assert best_threshold(missed) is None
    assert missed.average_precision == 0
    nothing = curve_of(Particles.empty(), truth)
    assert (len(nothing), best_threshold(nothing), nothing.average_precision) == (0, None, 0)
    assert math.isnan(curve_of(line([0], [0.5]), Particles.empty()).average_precision)


def test_tomograms_are_pooled_by_score() -> None:
    truth = line([0])
    curve = precision_recall([line([0], [0.4]), line([500], [0.6])], [truth, truth], CLASSES, SPACING_A).localisation
    assert curve.precision.tolist() == [0, 0.5]
    assert curve.recall.tolist() == [0, 0.5]


def test_picks_without_scores_are_refused() -> None:
    with pytest.raises(InputError, match="1 picks carry no scores"):
        curve_of(line([0]), line([0]))


def test_calibrated_scores_have_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 200_000)
    assert expected_calibration_error(scores, rng.uniform(size=len(scores)) < scores) < 0.01


def test_calibration_error_by_hand() -> None:
    scores = np.array([1.0, 0.96, 0.22, 0.28])
    hits = np.array([True, False, False, False])
    # highest bin: 1 hit against 1.96 expected; third bin: 0 against 0.5
    assert expected_calibration_error(scores, hits) == pytest.approx((0.96 + 0.5) / 4)
    assert expected_calibration_error(scores, hits, bins=1) == pytest.approx(1.46 / 4)
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_recall_at_counts_only_the_best_scored() -> None:
    truth = line([0, 50, 100, 150])
    picks = line([152, 50, 49, 300, 1], [0.1, 0.9, 0.8, 0.7, 0.6])
    assert [recall_at(picks, truth, n, 3.0) for n in (0, 1, 2, 4, 5, 9)] == [0, 0.25, 0.25, 0.5, 0.75, 0.75]
    assert math.isnan(recall_at(picks, Particles.empty(), 2, 3.0))
