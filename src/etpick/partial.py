"""Labels that are a sample of the particles: what may be a particle is not taught as background.

A few times during training the averaged network picks the training tomograms. What it finds there without a label,
and scores like the lower of the labelled particles that it never learnt from (those of the validation picks), is
left out of the loss until the next time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from etpick.data import Source
from etpick.decision import Decision
from etpick.inference import Candidates
from etpick.types import FloatArray, Particles

REFRESHES: Final = (0.2, 0.4, 0.6)  # shares of the steps after which places are judged anew
_DOUBTED: Final = 0.02  # quantile of validated particles' scores from which a place is not taken for background
_FEWEST: Final = 8  # validated particles of a class that make a quantile of its own


def doubt_limits(raw: FloatArray, classes: NDArray[np.intp], hits: NDArray[np.bool_], count: int) -> FloatArray | None:
    """Raw scores (c,) from which an unlabelled place may be a particle of each class.

    From validation picks (n,): raw score, class index from 0, and whether each took a labelled particle. A class
    with few such particles shares the limit of all; None where there are too few altogether.
    """
    if hits.sum() < _FEWEST:
        return None
    own = [raw[hits & (classes == c)] for c in range(count)]
    return np.array([np.quantile(scores if len(scores) >= _FEWEST else raw[hits], _DOUBTED) for scores in own])


def judge_places(source: Source, candidates: Candidates, decision: Decision, limits: FloatArray) -> Source:
    """The source with these doubtful places instead of those it had.

    candidates: of the source's volume, in its working voxels. decision: one whose scores are raw. Places in a
    labelled particle, or in one marked as none, are passed over.
    """
    picks = decision.all(candidates)
    scores, index = picks.scores, decision.index_of(picks)
    assert scores is not None  # a decision gives them
    marked = np.concatenate([source.positions, source.negatives])
    doubtful = (scores >= limits[index]) & ~_near(picks, marked, decision)
    return replace(source, doubtful=picks.positions[doubtful], doubtful_labels=index[doubtful] + 1)


def _near(picks: Particles, marked: FloatArray, decision: Decision) -> NDArray[np.bool_]:
    """(n,) whether each pick lies nearer than its class's radius to a marked place."""
    if not len(marked) or not len(picks):
        return np.zeros(len(picks), bool)
    distance, _ = KDTree(marked).query(picks.positions)
    return np.asarray(distance < decision.reach[decision.index_of(picks)])
