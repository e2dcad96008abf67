import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.decision import (
    Decision,
    expected_f1_threshold,
    false_positives_threshold,
    precision_threshold,
    validate,
)
from etpick.evaluation.curves import expected_calibration_error
from etpick.inference import Candidates
from etpick.ops.calibrate import identity
from etpick.types import ParticleClass, Particles

CLASSES = (ParticleClass("a", 100.0), ParticleClass("b", 60.0))


def candidates(positions, raw, classes):
    chances = np.where(np.eye(2, dtype=bool)[classes], 0.8, 0.2)
    return Candidates(np.array(positions, float).reshape(-1, 3), np.array(raw, float), chances)


def test_one_pick_for_each_particle_with_the_distance_of_its_class():
    found = candidates([(10, 10, 10), (10, 10, 14), (10, 10, 30), (10, 10, 34)], [0.9, 0.8, 0.7, 0.6], [0, 0, 1, 1])
    picks = Decision(CLASSES, 10.0, identity(2), (0.0, 0.0))(found)
    # radii of 5 and 3 voxels: the second lies within the first's, the fourth is a neighbour of the third
    assert picks.positions[:, 2].tolist() == [10, 30, 34]
    assert picks.classes.tolist() == ["a", "b", "b"]
    assert picks.class_probability == pytest.approx([0.8] * 3)


def test_each_class_has_its_threshold():
    found = candidates([(0, 0, 0), (0, 0, 50), (0, 0, 90)], [0.9, 0.5, 0.3], [0, 0, 1])
    decision = Decision(CLASSES, 10.0, identity(2), (0.6, 0.2))
    assert decision(found).positions[:, 2].tolist() == [0, 90]


def test_a_chance_hit_at_the_bottom_does_not_let_everything_through():
    truth = Particles(np.array([(10.0, 10, 50 * n) for n in range(31)]), np.array("a"))
    raw = np.concatenate([np.full(30, 0.95), np.linspace(1e-3, 1e-6, 60)])
    far = np.array([(500.0, 500, 50 * n) for n in range(60)])
    far[0] = truth.positions[30]
    found = candidates(np.concatenate([truth.positions[:30], far]), raw, np.zeros(90, int))
    result = validate([found], [truth], CLASSES[:1], 10.0, alpha=3.0)
    assert len(result.decision(found)) == 30


def test_the_threshold_has_the_best_f1_to_be_expected_of_validation_picks_and_where_none_is_right_a_half():
    truth = Particles(np.array([(10.0, 10, 50 * n) for n in range(40)]), np.array(["a", "b"] * 20))
    rng = np.random.default_rng(0)
    wrong = rng.uniform(500, 1500, (60, 3))
    raw = np.concatenate([rng.beta(6, 3, 40), rng.beta(2, 8, 60)])
    found = candidates(np.concatenate([truth.positions, wrong]), raw, np.arange(100) % 2)
    decision = validate([found], [truth], CLASSES, 10.0, alpha=3.0).decision
    scores = decision.all(found).scores
    assert decision.thresholds == pytest.approx((expected_f1_threshold(scores),) * 2)
    assert 0.3 < decision.thresholds[0] < 0.5  # half the F1 reached
    nothing = candidates(wrong, raw[40:], np.zeros(60, int))
    assert validate([nothing], [truth], CLASSES, 10.0, alpha=3.0).decision.thresholds == (0.5, 0.5)


def test_where_every_candidate_is_right_none_is_dropped():
    truth = Particles(np.array([(10.0, 10, 10), (10, 10, 40), (10, 40, 10)]), np.array(["a", "a", "b"]))
    found = candidates(truth.positions + 0.5, [0.9, 0.3, 0.2], [0, 0, 1])
    result = validate([found], [truth], CLASSES, 10.0, alpha=3.0)
    assert result.value == pytest.approx(1)
    assert len(result.decision(found)) == 3


def test_no_candidates_at_all_is_a_result():
    truth = Particles(np.array([(10.0, 10, 10)]), np.array("a"))
    result = validate([candidates([], [], np.zeros(0, int))], [truth], CLASSES, 10.0, alpha=3.0)
    assert result.value == 0
    assert result.evaluation.localisation.fn == 1


def test_false_places_score_low_and_stay_out():
    rng = np.random.default_rng(0)
    truth = Particles(rng.uniform(0, 1000, (80, 3)), np.array(["a", "b"] * 40))
    wrong = rng.uniform(0, 1000, (200, 3))
    raw = np.concatenate([rng.beta(6, 3, 80), rng.beta(2, 8, 200)])
    number = np.concatenate([[0, 1] * 40, rng.integers(0, 2, 200)])
    found = candidates(np.concatenate([truth.positions, wrong]), raw, number)
    result = validate([found], [truth], CLASSES, 10.0, alpha=3.0)
    assert result.evaluation.localisation.f1 > 0.85
    scores = result.decision.all(found).scores
    assert scores.mean() == pytest.approx(80 / 280, abs=0.05)  # chances add up to the particles there are


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.05, 0.95))
def test_thresholds_from_scores_keep_what_they_promise_and_no_less(values, wanted):
    scores = np.array(values)

    def kept(threshold):
        return np.sort(scores[scores >= threshold])[::-1]

    possible = [kept(t) for t in scores] + [np.zeros(0)]
    precise = [k for k in possible if k.sum() >= wanted * len(k) - 1e-9]
    assert len(kept(precision_threshold(scores, wanted))) == max(len(k) for k in precise)
    clean = [k for k in possible if (1 - k).sum() <= 3 * wanted + 1e-9]
    assert len(kept(false_positives_threshold(scores, 3 * wanted))) == max(len(k) for k in clean)
    f1 = [2 * k.sum() / (len(k) + scores.sum()) for k in possible if len(k)]
    best = kept(expected_f1_threshold(scores))
    assert scores.sum() == 0 or 2 * best.sum() / (len(best) + scores.sum()) >= max(f1) - 1e-9


def drawn(share, seed=0, n=600):
    """Candidates of true and false places in a volume, and truth of which a share is labelled."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 3000, (2 * n, 3))
    raw = np.concatenate([rng.beta(8, 4, n), rng.beta(2, 9, n)])
    labelled = rng.random(n) < share
    truth = Particles(places[:n][labelled], np.array(["a", "b"] * (n // 2))[labelled])
    return candidates(places, raw, np.array([0, 1] * n)), truth, places[:n]


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_partial_labels_are_seen_and_scores_still_are_the_chance_of_a_particle(share):
    found, truth, real = drawn(share)
    assert validate([found], [truth], CLASSES, 10.0, alpha=3.0).looks_partial
    result = validate([found], [truth], CLASSES, 10.0, alpha=3.0, partial=True)
    assert result.labelled_share == pytest.approx(share, abs=0.07)
    picks = result.decision.all(found)
    true = (np.linalg.norm(picks.positions[:, None] - real, axis=2) < 1).any(axis=1)
    assert expected_calibration_error(picks.scores, true) < 0.05
    kept = (picks.scores >= result.decision.thresholds[0]) & true
    assert kept.sum() / true.sum() > 0.85


def test_complete_labels_do_not_look_partial():
    found, truth, _ = drawn(1.0)
    assert not validate([found], [truth], CLASSES, 10.0, alpha=3.0).looks_partial
