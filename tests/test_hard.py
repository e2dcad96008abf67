"""Background taken for particles: the surest place of a subtomogram, unless a labelled particle is near."""

import numpy as np
import pytest
import torch

from balls import dataset
from etpick.config import recipe
from etpick.data import Patch
from etpick.hard import confused_places
from etpick.ops.warp import Warp
from etpick.preparation import prepare

REACH_VX = np.array([3.0, 4.0])
STRIDE, EDGE = 2, 16
PLACE = np.array([24.5, 30.5, 30.5])


def confused(labels, sure, weights=None, place=PLACE):
    """What is found where the network is `sure` (z, y, x → chance of a particle) in one subtomogram."""
    source = prepare(dataset(), recipe(), lambda line: None).sources[0]
    logits = torch.zeros(1, 3, EDGE, EDGE, EDGE)
    logits[:, 0] = 10
    for voxel, chance in sure.items():
        logits[(0, 0, *voxel)] = np.log((1 - chance) / chance)
        logits[(0, 1, *voxel)] = np.log(0.7)
        logits[(0, 2, *voxel)] = np.log(0.3)
    weights = torch.ones(1, EDGE, EDGE, EDGE) if weights is None else weights
    shape = (EDGE,) * 3
    patch = Patch(
        np.zeros(shape), Warp(STRIDE * EDGE, np.eye(3)), np.zeros(shape), np.ones(shape), 0, place, contrast=1, noise=0
    )
    return source, confused_places([source], [patch], logits, labels[None], weights, REACH_VX, STRIDE)


@pytest.fixture
def labels():
    """A particle of class 2 in a corner."""
    labels = torch.zeros(EDGE, EDGE, EDGE, dtype=torch.long)
    labels[3:5, 3:5, 3:5] = 2
    return labels


def test_the_surest_place_is_found_though_a_labelled_one_is_surer(labels):
    # a radius of 4 voxels and one more are 2.5 of the network's, so three to each side are near
    _, found = confused(labels, {(4, 4, 4): 0.99, (4, 4, 7): 0.98, (12, 12, 8): 0.8, (12, 12, 12): 0.7})
    _, without = confused(labels, {(4, 4, 8): 0.98, (12, 12, 8): 0.8})
    assert [row[:2] for row in found] == [[pytest.approx(0.8), 0]]
    assert [row[:2] for row in without] == [[pytest.approx(0.98), 0]]
    offset = np.array([12, 12, 8]) * STRIDE + (STRIDE - 1) / 2 - (STRIDE * EDGE - 1) / 2
    assert found[0][2:] == pytest.approx(PLACE + offset)


def test_doubt_and_what_is_not_known_are_no_confusion(labels):
    unknown = torch.ones(1, EDGE, EDGE, EDGE)
    unknown[0, 12, 12, 8] = 0
    assert confused(labels, {(12, 12, 8): 0.45})[1] == []
    assert confused(labels, {(12, 12, 8): 0.9}, unknown)[1] == []


def test_a_particle_whose_label_lies_elsewhere_is_none(labels):
    source, found = confused(labels, {(8, 8, 8): 0.9})
    assert len(found) == 1
    inside = source.positions[0] - (0.5 * STRIDE)  # the voxel (8, 8, 8) lies that far behind the place
    assert confused(labels, {(8, 8, 8): 0.9}, place=inside)[1] == []
