"""Labels that are a sample of the particles: what the network takes for a particle is not taught as background.

Confident self-training: a few times during training the averaged network picks the training tomograms. What it
finds there without a label and scores like labelled particles that it never learnt from (those of the
validation picks) is adopted as a particle; what scores lower, yet not like background, is left out of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from etpick.data import Source
from etpick.decision import Bars, Decision
from etpick.inference import Candidates
from etpick.types import FloatArray, Particles

REFRESHES: Final = (0.2, 0.4, 0.6)  # shares of the steps after which places are judged anew
_SURE_OF_CLASS: Final = 0.6  # chance of the class that an adopted particle must have


def judge_places(source: Source, candidates: Candidates, decision: Decision, limits: Bars) -> Source:
    """The source with adopted particles and doubtful places in place of those it had.

    candidates: of the source's volume, in its working voxels. decision: one whose scores are raw. Places in a
    labelled particle, in one marked as none, or held out are passed over.
    """
    picks = decision.all(candidates)
    scores, chances = picks.scores, picks.class_probability
    assert scores is not None and chances is not None  # a decision gives both
    index = decision.index_of(picks)
    free = ~_near(picks, np.concatenate([source.positions, source.negatives]), decision)
    if source.held_out is not None:
        free &= ~source.held_out.contains(picks.positions)
    adopt = free & (scores >= limits.adopt[index]) & (chances >= _SURE_OF_CLASS)
    doubt = free & ~adopt & (scores >= limits.doubt[index])
    return replace(
        source,
        adopted=picks.positions[adopt], adopted_labels=index[adopt] + 1,
        doubtful=picks.positions[doubt], doubtful_labels=index[doubt] + 1,
    )  # fmt: skip


def _near(picks: Particles, marked: FloatArray, decision: Decision) -> NDArray[np.bool_]:
    """(n,) whether each pick lies nearer than its class's radius to a marked place."""
    if not len(marked) or not len(picks):
        return np.zeros(len(picks), bool)
    distance, _ = KDTree(marked).query(picks.positions)
    return np.asarray(distance < decision.reach[decision.index_of(picks)])


def counted(sources: Sequence[Source]) -> tuple[int, int]:
    """How many places are adopted, and how many doubtful, in all sources."""
    return sum(len(s.adopted) for s in sources), sum(len(s.doubtful) for s in sources)
