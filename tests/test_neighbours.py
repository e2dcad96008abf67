"""Between two rods end to end a third is seen that is not there: its neighbours explain it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from etpick.averaging_labels import average_labels, judged
from etpick.boxes import Boxes
from etpick.class_averages import ClassAverages, load_averages, save_averages
from etpick.config import recipe
from etpick.data import make_source, open_volume
from etpick.decision import uncalibrated
from etpick.inference import Candidates
from etpick.neighbours import _Crowd, explained_by_neighbours
from etpick.preparation import ValidationVolume
from etpick.types import Box, ParticleClass, Particles, Tomogram

KINDS = (ParticleClass("rod", 80.0),)  # as wide as it is said to be, but longer
BALLS = np.array([-3.6, -1.2, 1.2, 3.6])
LENGTH, STEP = 9.6, 32  # voxels from a rod to the next, and from a pair of rods to another


def rods(seed, pairs=27):
    """A tomogram of pairs of rods end to end; centres (n, 3), and the places (n / 2, 3) between the two of a pair."""
    rng = np.random.default_rng(seed)
    size = 3 * STEP
    image, axis, centres, between = rng.normal(0, 1, (size,) * 3), np.arange(STEP), [], []
    corners = np.stack(np.meshgrid(*(np.arange(0, size, STEP),) * 3), -1).reshape(-1, 3)
    for corner in corners[:pairs]:
        direction = Rotation.random(rng=rng).as_matrix()[0]
        middle = STEP / 2 + rng.uniform(-0.5, 0.5, 3)
        block = image[tuple(slice(c, c + STEP) for c in corner)]
        for side in (-LENGTH / 2, LENGTH / 2):
            centres.append(corner + middle + side * direction)
            for along in BALLS + side:
                z, y, x = middle + along * direction
                block -= 2 * np.exp(
                    -((axis[:, None, None] - z) ** 2 + (axis[:, None] - y) ** 2 + (axis - x) ** 2) / (2 * 1.2**2)
                )
        between.append(corner + middle)
    return Tomogram(image.astype(np.float32), 10.0, f"rods{seed}"), np.array(centres), np.array(between)


def volume_of(tomogram):
    return open_volume(tomogram, 10.0, recipe())


@pytest.fixture(scope="module")
def averages():
    tomogram, centres, _ = rods(0)
    source = make_source(volume_of(tomogram), Particles(centres, np.full(len(centres), "rod")), KINDS)
    return ClassAverages(tuple(average_labels([source], np.array([8.0]), 0)), (8.0,), spread_vx=0.5)


def candidates_of(positions):
    return Candidates(positions, np.full(len(positions), 0.9), np.ones((len(positions), 1)))


def test_what_is_seen_between_two_particles_is_explained_by_them(averages):
    tomogram, centres, between = rods(1)
    candidates = candidates_of(np.concatenate([centres, between]))
    explained = explained_by_neighbours(averages, volume_of(tomogram), candidates, np.full(len(candidates.raw), 0.9))
    evidence, _ = averages.weigh(volume_of(tomogram), candidates)
    assert np.median(evidence[len(centres) :]) > 0.7 * np.median(evidence[: len(centres)])  # by itself it looks right
    assert explained[len(centres) :].mean() > 0.9
    assert explained[: len(centres)].mean() < 0.05


def test_nobody_explains_who_is_in_doubt_or_far_or_has_no_average(averages):
    tomogram, centres, between = rods(1)
    volume, candidates = volume_of(tomogram), candidates_of(np.concatenate([centres, between]))
    doubtful, sure = (np.full(len(candidates.raw), score) for score in (0.4, 0.9))
    assert not explained_by_neighbours(averages, volume, candidates, doubtful).any()
    unknown = replace(averages, references=(torch.zeros(0),))
    assert not explained_by_neighbours(unknown, volume, candidates, sure).any()
    assert not explained_by_neighbours(averages, volume, candidates_of(centres), sure[: len(centres)]).any()
    none = candidates_of(np.zeros((0, 3)))
    assert explained_by_neighbours(averages, volume, none, np.zeros(0)).shape == (0,)


def test_crowds_taken_one_by_one_give_the_same(averages, monkeypatch):
    tomogram, centres, between = rods(1)
    volume, candidates = volume_of(tomogram), candidates_of(np.concatenate([between, centres]))
    scores = np.full(len(candidates.raw), 0.9)
    together = explained_by_neighbours(averages, volume, candidates, scores)
    monkeypatch.setattr("etpick.neighbours._AT_ONCE_VX", 1)
    assert (explained_by_neighbours(averages, volume, candidates, scores) == together).all()


def test_validation_says_whether_explained_picks_are_left_out(averages, tmp_path):
    tomogram, centres, between = rods(1)
    volume = volume_of(tomogram)

    def judge(true, seen):
        particles = Particles(true, np.full(len(true), "rod"))
        held = ValidationVolume(volume, Box((0, 0, 0), volume.shape), particles)
        return judged(averages, [candidates_of(seen)], uncalibrated(KINDS, 10.0), [held])

    told = judge(centres, np.concatenate([centres, between]))
    assert told.rivals and told.used
    right, wrong = told.explained
    assert right <= 1 and wrong >= 0.9 * len(between)
    assert f"{wrong} unlabelled and {right} labelled picks fewer, which neighbours explain" in told.line()
    save_averages(told, tmp_path)
    assert load_averages(tmp_path).explained == told.explained

    misled = judge(between, np.concatenate([centres, between]))  # here they are what is labelled
    assert not misled.rivals and misled.explained[0] > 0
    assert "explain" not in misled.line()
    untold = judge(centres, centres)  # no validation pick is explained: nobody knows what it would do
    assert not untold.rivals and untold.explained == (0, 0)


@pytest.mark.parametrize("width", [8.0, 40.0], ids=["plain", "binned"])
def test_blocks_show_what_is_seen_where_it_lies(width):
    boxes, off = Boxes(width), np.array([[2.5, -1.0, 0.25]])
    axis = np.arange(boxes.edge_vx) - boxes.edge_vx // 2
    z, y, x = (axis - o for o in off[0])
    ball = np.exp(-(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) / (2 * (width / 5) ** 2))
    factor = torch.ones(boxes.waves)
    spectra = boxes.spectra(torch.from_numpy(ball[None]).float(), off, factor)  # with the ball in the middle
    assert boxes.blocks(spectra, off, factor)[0].numpy() == pytest.approx(ball, abs=0.05)
    assert boxes.blocks(spectra, off, factor * 0).abs().max() == 0


def crowd(monkeypatch, evidence, takes, explains):
    """Who goes of candidates with such evidence alone, of which takes[i, j] is what j explains of i's."""
    neighbours = [np.flatnonzero(row | column).tolist() for row, column in zip(takes > 0, takes.T > 0, strict=True)]
    one = object.__new__(_Crowd)
    one._evidence, one._neighbours = evidence, neighbours
    monkeypatch.setattr(
        one,
        "_evidence_left",
        lambda rows, able: np.array([evidence[i] - takes[i] @ able for i in rows], float),
        raising=False,
    )
    return one.eliminated(np.array(explains)).tolist()


def test_the_one_that_loses_most_goes_first_and_its_victims_come_back(monkeypatch):
    chain = np.array([[0, 28, 0], [5, 0, 50], [0, 5, 0]])
    assert crowd(monkeypatch, np.array([30, 60, 90]), chain, [True] * 3) == [False, True, False]


def test_who_is_not_there_explains_nobody_and_is_not_explained(monkeypatch):
    both = np.array([[0, 40], [40, 0]])
    assert crowd(monkeypatch, np.array([46, -150]), both, [True, True]) == [False, False]
    assert crowd(monkeypatch, np.array([46, 2]), both, [True, True]) == [False, False]
    assert crowd(monkeypatch, np.array([46, 50]), both, [False, True]) == [True, False]


def test_so_it_is_with_coarser_boxes(monkeypatch):
    monkeypatch.setattr("etpick.boxes._LARGEST_VX", 16)
    tomogram, centres, between = rods(0)
    source = make_source(volume_of(tomogram), Particles(centres, np.full(len(centres), "rod")), KINDS)
    coarse = ClassAverages(tuple(average_labels([source], np.array([8.0]), 0)), (8.0,), spread_vx=0.5)
    tomogram, centres, between = rods(1)
    candidates = candidates_of(np.concatenate([centres, between]))
    explained = explained_by_neighbours(coarse, volume_of(tomogram), candidates, np.full(len(candidates.raw), 0.9))
    assert explained[len(centres) :].mean() > 0.8
    assert explained[: len(centres)].mean() < 0.1
