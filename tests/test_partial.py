"""Unlabelled places that look like particles are not learnt from."""

import numpy as np
import pytest

from etpick.config import recipe
from etpick.data import Sampler, Source, WorkingVolume
from etpick.decision import uncalibrated
from etpick.inference import Candidates
from etpick.ops.normalise import Normalisation
from etpick.partial import doubt_limits, judge_places
from etpick.types import ParticleClass, Tomogram

CLASSES = (ParticleClass("a", 100.0), ParticleClass("b", 60.0))
LIMITS = np.array([0.3, 0.3])


def source(positions=(), labels=(), negatives=()):
    volume = WorkingVolume(Tomogram(np.zeros((64, 64, 64), np.float32), 10.0), 10.0, Normalisation(0.0, 1.0, 5.0))
    return Source(
        volume, np.array(positions, float).reshape(-1, 3), np.array(labels, np.intp), None,
        np.array(negatives, float).reshape(-1, 3),
    )  # fmt: skip


def candidates(*rows):
    """(position, raw score, class index) each."""
    chances = np.array([[0.9 if k == i else 0.1 for k in (0, 1)] for _, _, i in rows])
    return Candidates(np.array([r[0] for r in rows], float), np.array([r[1] for r in rows]), chances)


def test_limits_are_low_quantiles_of_validated_particles_and_a_rare_class_takes_that_of_all():
    raw = np.concatenate([np.linspace(0.5, 0.9, 41), np.full(3, 0.2), np.full(50, 0.1)])
    classes = np.array([0] * 41 + [1] * 3 + [0] * 50)
    hits = np.array([True] * 44 + [False] * 50)
    own, common = doubt_limits(raw, classes, hits, 2)
    assert own == pytest.approx(0.508)
    assert common == pytest.approx(np.quantile(raw[hits], 0.02))
    assert doubt_limits(raw, classes, np.zeros(94, bool), 2) is None


def test_places_that_score_like_particles_are_doubted_and_each_judgement_replaces_the_one_before():
    found = candidates(((10, 10, 10), 0.8, 0), ((10, 10, 30), 0.4, 1), ((40, 40, 40), 0.1, 0))
    judged = judge_places(source(), found, uncalibrated(CLASSES, 10.0), LIMITS)
    assert judged.doubtful.tolist() == [[10, 10, 10], [10, 10, 30]]
    assert judged.doubtful_labels.tolist() == [1, 2]
    again = judge_places(judged, candidates(((40, 40, 40), 0.8, 0)), uncalibrated(CLASSES, 10.0), LIMITS)
    assert again.doubtful.tolist() == [[40, 40, 40]]


def test_labelled_and_negative_places_are_passed_over():
    places = source([(10, 10, 10)], [1], negatives=[(10, 10, 40)])
    found = candidates(((10, 10, 13), 0.9, 0), ((10, 12, 40), 0.9, 0), ((10, 10, 46), 0.9, 0))
    judged = judge_places(places, found, uncalibrated(CLASSES, 10.0), LIMITS)
    assert judged.doubtful.tolist() == [[10, 10, 46]]


def test_doubtful_places_weigh_nothing_where_no_label_is():
    places = source([(32, 32, 32)], [1])
    found = candidates(((32, 32, 18), 0.4, 0), ((32, 32, 42), 0.8, 0))
    judged = judge_places(places, found, uncalibrated(CLASSES, 10.0), LIMITS)
    still = {"mirror": False, "warp_share": 0.0}
    config = recipe(patch_vx=64, background_share=0.0, augmentation=still)
    sampler = Sampler([judged], np.array([10.0, 6.0]), config, 2, np.zeros((0, 4)), (64, 2))
    labels, weights = sampler._labels(judged, np.array([31.5, 31.5, 31.5]), sampler._patch(0).warp)
    at = {x: (16, 16, x // 2) for x in (18, 32, 34, 42, 52)}
    assert [labels[at[x]] for x in (18, 32, 42)] == [0, 1, 0]
    assert [weights[at[x]] for x in (18, 32, 34, 42, 52)] == [0, 1, 1, 0, 1]
    assert 0.98 < weights.mean() < 1
