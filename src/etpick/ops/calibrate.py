"""From a raw score to the chance that the pick is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from etpick.types import FloatArray

_EDGE: Final = 1e-6
_PRIOR: Final = 0.5  # pulls each class's offset towards the common one; a dozen picks outweigh it


@dataclass(frozen=True)
class Calibration:
    """score = logistic(slope · logit(raw) + offset of the class): Platt scaling, one slope for all."""

    slope: float
    offsets: tuple[float, ...]

    def __call__(self, raw: FloatArray, classes: NDArray[np.intp]) -> FloatArray:
        """(n,) raw scores in 0–1 and (n,) class indices from 0 → (n,) scores in 0–1, rising with raw."""
        return np.asarray(expit(self.slope * _logit(raw) + np.array(self.offsets)[classes]))


def identity(classes: int) -> Calibration:
    """Scores are raw scores."""
    return Calibration(1.0, (0.0,) * classes)


def fit_calibration(
    raw: FloatArray, classes: NDArray[np.intp], hits: NDArray[np.bool_], labelled: NDArray[np.bool_]
) -> Calibration:
    """Fit by penalised maximum likelihood to validation picks, `hits` saying which were right.

    labelled: (c,) whether a class had particles to validate on; one that had none gets the common offset,
    and its picks, which could not be right, say nothing.

    Platt's targets (one pick short of certainty) keep scores off 0 and 1. Without both right and wrong
    picks there is nothing to fit and the identity comes back.
    """
    count = len(labelled)
    known = labelled[classes]
    raw, classes, hits = raw[known], classes[known], hits[known]
    right, wrong = int(hits.sum()), int((~hits).sum())
    if not right or not wrong:
        return identity(count)
    target = np.where(hits, (right + 1) / (right + 2), 1 / (wrong + 2))
    x = _logit(raw)
    member = np.eye(count)[classes]

    def loss(v: FloatArray) -> tuple[float, FloatArray]:
        slope, common, own = np.exp(v[0]), v[1], v[2:]
        z = slope * x + common + member @ own
        error = expit(z) - target
        value = float((np.logaddexp(0, z) - target * z).sum() + _PRIOR * (own**2).sum())
        gradient = np.concatenate([[slope * (error @ x), error.sum()], member.T @ error + 2 * _PRIOR * own])
        return value, gradient

    v = minimize(loss, np.zeros(2 + count), jac=True, method="L-BFGS-B").x
    return Calibration(float(np.exp(v[0])), tuple(float(v[1] + own) for own in v[2:]))


def _logit(raw: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(raw, _EDGE, 1 - _EDGE)))
