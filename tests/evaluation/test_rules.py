import math

import numpy as np
import pytest

from etpick.errors import InputError
from etpick.evaluation.rules import FIRST_CODE, czii_rule, shrec_rule
from etpick.types import ParticleClass, Particles

CLASSES = [ParticleClass("a", 80), ParticleClass("b", 40)]


def particles(rows: list[tuple[float, float, float, str]]) -> Particles:
    return Particles(np.array([r[:3] for r in rows]).reshape(-1, 3), np.array([r[3] for r in rows], np.str_))


@pytest.fixture
def occupancy() -> np.ndarray:
    """Four particles as boxes along x in a volume of 9×9×40: 3×3×3 voxels each, and a membrane."""
    volume = np.zeros((9, 9, 40), np.uint16)
    for row, x in enumerate((4, 12, 20, 28), start=1):
        volume[3:6, 3:6, x - 1 : x + 2] = row
    volume[:, :, 36] = 65535  # a membrane
    volume[:, :, 38] = FIRST_CODE
    return volume


TRUTH = particles([(4, 4, 4, "a"), (4, 4, 12, "a"), (4, 4, 20, "b"), (4, 4, 28, "b")])


def test_shrec_by_hand(occupancy: np.ndarray) -> None:
    picks = particles(
        [
            (
                4,
                4,
                6.4,
                "b",
            ),  # voxel x = 6: one beyond the box of particle 1 (3–5): hits, by dilation, class b
            (4, 4, 4, "a"),  # particle 1 again, exact: comes second, so neither distance nor class counts
            (4, 4, 13, "a"),  # particle 2, right class, distance 1
            (2, 2, 19, "b"),  # particle 3 by the corner of the dilation, distance 3
            (4, 4, 31, "b"),  # two beyond the box of particle 4 (27–29): background
            (4, 4, 36, "a"),  # membrane
            (4, 4, 38, "b"),  # another code that is no particle
            (4, 4, 90, "a"),  # outside the volume
        ]
    )
    score = shrec_rule(picks, TRUTH, occupancy, CLASSES)
    assert score.recall == 3 / 4
    assert score.precision == 3 / 8
    assert score.f1 == pytest.approx(2 * 3 / (4 + 8))
    assert score.mean_distance_vx == pytest.approx((2.4 + 1 + 3) / 3)
    a, b = score.classification["a"], score.classification["b"]
    assert (a.tp, a.fp, a.fn) == (1, 0, 1)  # the picks called a on background do not enter
    assert (b.tp, b.fp, b.fn) == (1, 1, 1)
    assert score.mean_class_f1 == pytest.approx((2 / 3 + 2 / 4) / 2)


def test_shrec_between_two_masks_hits_the_nearer_centre() -> None:
    occupancy = np.zeros((1, 1, 5), np.uint16)
    occupancy[0, 0, 1], occupancy[0, 0, 3] = 1, 2
    truth = particles([(0, 0, 1, "a"), (0, 0, 3, "b")])
    picks = particles([(0, 0, 2.1, "b")])
    score = shrec_rule(picks, truth, occupancy, CLASSES)
    assert score.classification["b"].tp == 1
    assert score.mean_distance_vx == pytest.approx(0.9)


def test_shrec_without_picks_scores_zero(occupancy: np.ndarray) -> None:
    score = shrec_rule(Particles.empty(), TRUTH, occupancy, CLASSES)
    assert (score.recall, score.precision, score.f1, score.mean_class_f1) == (0, 0, 0, 0)
    assert math.isnan(score.mean_distance_vx)


def test_shrec_refuses_the_occupancy_of_another_tomogram(occupancy: np.ndarray) -> None:
    with pytest.raises(InputError, match="particle 3 but the truth has 2 rows"):
        shrec_rule(TRUTH, TRUTH.select([0, 1]), occupancy, CLASSES)


def test_czii_by_hand() -> None:
    # Spacing 10 Å: radii of 4 and 2 voxels, so hits lie within 2 (a) and 1 (b) voxels.
    truth_1 = particles([(0, 0, 0, "a"), (0, 0, 20, "a"), (0, 0, 40, "b")])
    truth_2 = particles([(0, 0, 0, "a"), (0, 0, 40, "b")])
    picks_1 = particles([(0, 0, 1.9, "a"), (0, 0, 22.1, "a"), (0, 0, 40.9, "b")])  # hit, too far, hit
    picks_2 = particles([(0, 0, 0, "a"), (0, 0, 41.1, "b"), (0, 0, 0, "b")])  # hit, too far, wrong class
    score = czii_rule([picks_1, picks_2], [truth_1, truth_2], CLASSES, 10.0)
    a, b = score.counts["a"], score.counts["b"]
    assert (a.tp, a.fp, a.fn) == (2, 1, 1)
    assert (b.tp, b.fp, b.fn) == (1, 2, 1)
    f_a = 17 * 2 / (17 * 2 + 16 * 1 + 1)
    f_b = 17 * 1 / (17 * 1 + 16 * 1 + 2)
    assert score.by_class == pytest.approx({"a": f_a, "b": f_b})
    assert score.f_beta == pytest.approx((f_a + f_b) / 2)
    weighted = czii_rule([picks_1, picks_2], [truth_1, truth_2], CLASSES, 10.0, weights={"b": 2})
    assert weighted.f_beta == pytest.approx((f_a + 2 * f_b) / 3)
    without = czii_rule([picks_1, picks_2], [truth_1, truth_2], CLASSES, 10.0, weights={"b": 0})
    assert without.f_beta == pytest.approx(f_a)


def test_czii_beta_one_is_f1() -> None:
    picks = particles([(0, 0, 0, "a"), (0, 0, 50, "a"), (0, 0, 70, "a")])
    truth = particles([(0, 0, 0, "a"), (0, 0, 20, "a")])
    score = czii_rule([picks], [truth], CLASSES, 10.0, beta=1)
    assert score.f_beta == pytest.approx(score.counts["a"].f1)
    assert math.isnan(score.by_class["b"])  # absent from both, not averaged


def test_czii_refuses_weights_of_unknown_classes() -> None:
    with pytest.raises(InputError, match="weights are given for c"):
        czii_rule([], [], CLASSES, 10.0, weights={"c": 1})
