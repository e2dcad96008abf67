"""Unlabelled places that look like particles: adopted, doubted, or left as background."""

import numpy as np
import pytest

from etpick.config import recipe
from etpick.data import Sampler, Source, WorkingVolume
from etpick.decision import bars, uncalibrated
from etpick.inference import Candidates
from etpick.ops.normalise import Normalisation
from etpick.partial import counted, judge_places
from etpick.types import Box, ParticleClass, Tomogram

CLASSES = (ParticleClass("a", 100.0), ParticleClass("b", 60.0))


def source(positions=(), labels=(), negatives=(), held_out=None):
    volume = WorkingVolume(Tomogram(np.zeros((64, 64, 64), np.float32), 10.0), 10.0, Normalisation(0.0, 1.0, 5.0))
    return Source(
        volume, np.array(positions, float).reshape(-1, 3), np.array(labels, np.intp), held_out,
        np.array(negatives, float).reshape(-1, 3),
    )  # fmt: skip


def candidates(rows):
    """(position, raw score, class index, chance of the class) each."""
    chances = np.array([[c if k == i else 1 - c for k in (0, 1)] for _, _, i, c in rows])
    return Candidates(np.array([r[0] for r in rows], float), np.array([r[1] for r in rows]), chances)


LIMITS = bars(np.linspace(0.3, 0.9, 61), np.zeros(61, np.intp), np.ones(61, bool), 2)


def test_bars_are_quantiles_of_validated_particles_and_a_rare_class_takes_those_of_all():
    raw = np.concatenate([np.linspace(0.5, 0.9, 41), np.full(3, 0.2), np.full(50, 0.95)])
    classes = np.array([0] * 41 + [1] * 3 + [0] * 50)
    hits = np.array([True] * 44 + [False] * 50)
    found = bars(raw, classes, hits, 2)
    assert found.adopt[0] == pytest.approx(0.7) and found.doubt[0] == pytest.approx(0.508)
    assert found.adopt[1] == pytest.approx(np.median(raw[hits]))
    assert bars(raw, classes, np.zeros(94, bool), 2) is None


def test_places_like_validated_particles_are_adopted_lower_ones_doubted_and_the_rest_left():
    found = candidates([
        ((10, 10, 10), 0.8, 0, 0.9), ((10, 10, 30), 0.8, 1, 0.55), ((10, 30, 10), 0.4, 1, 0.9),
        ((40, 40, 40), 0.1, 0, 0.9),
    ])  # fmt: skip
    judged = judge_places(source(), found, uncalibrated(CLASSES, 10.0), LIMITS)
    assert judged.adopted.tolist() == [[10, 10, 10]] and judged.adopted_labels.tolist() == [1]
    assert sorted(judged.doubtful[:, 2].tolist()) == [10, 30]  # one unsure of its class, one of being there
    assert counted([judged, judged]) == (2, 4)
    assert judged.centres.tolist() == [[10, 10, 10]] and judged.numbers.tolist() == [1]
    again = judge_places(judged, candidates([((40, 40, 40), 0.8, 0, 0.9)]), uncalibrated(CLASSES, 10.0), LIMITS)
    assert again.adopted.tolist() == [[40, 40, 40]] and not len(again.doubtful)  # judged anew, not added to


def test_labelled_negative_and_held_out_places_are_passed_over():
    places = source([(10, 10, 10)], [1], negatives=[(10, 10, 40)], held_out=Box((40, 0, 0), (64, 64, 64)))
    found = candidates([((10, 10, 13), 0.9, 0, 0.9), ((10, 12, 40), 0.9, 0, 0.9), ((50, 10, 10), 0.9, 0, 0.9)])
    judged = judge_places(places, found, uncalibrated(CLASSES, 10.0), LIMITS)
    assert counted([judged]) == (0, 0)


def test_doubtful_places_weigh_nothing_and_adopted_ones_are_painted():
    base = source([(32, 32, 32)], [1])
    judged = judge_places(
        base,
        candidates([((32, 32, 46), 0.8, 0, 0.9), ((32, 32, 18), 0.4, 0, 0.9)]),
        uncalibrated(CLASSES, 10.0),
        LIMITS,
    )
    config = recipe(
        patch_vx=64, background_share=0.0, augmentation={"mirror": False, "in_plane": False, "warp_share": 0.0}
    )
    sampler = Sampler([judged], np.array([10.0, 6.0]), config, 2, np.zeros((0, 4)))
    labels, weights = sampler._labels(judged, np.array([31.5, 31.5, 31.5]), sampler._patch(0).warp)
    at = {x: (16, 16, x // 2) for x in (18, 32, 46)}
    assert [labels[at[x]] for x in (18, 32, 46)] == [0, 1, 1]
    assert [weights[at[x]] for x in (18, 32, 46)] == [0, 1, 1]
    assert 0.98 < weights.mean() < 1
