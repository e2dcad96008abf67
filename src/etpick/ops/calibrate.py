"""From a raw score to the chance that the pick is right, with validation picks or without."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit, ndtr

from etpick.types import FloatArray

_EDGE: Final = 1e-6
_PRIOR: Final = 0.5  # pulls each class's offset towards the common one; a dozen picks outweigh it
_FEWEST_SCORES: Final = 40  # of a histogram in which two groups could show
_SQRT_TAU: Final = math.sqrt(2 * math.pi)
_WIDTH_PRIOR: Final = 20.0  # keeps the false places' logits about one unit wide
_SLOPE_PRIOR: Final = 0.5  # of its logarithm: few picks, or picks that may be right without a label, would want a step
_WEIGHT_PRIOR: Final = 1.0  # the evidence of averages weighs about as much as the logit of the raw score, or less
_CHANCE_PRIOR: Final = 2.0  # hits by chance are few
_PARTIAL_PRIOR: Final = 2.0  # the same with partial labels, of which one class may have got more than another


@dataclass(frozen=True)
class Calibration:
    """score = logistic(slope · (logit(raw) + weight · asinh(evidence)) + offset of the class): Platt scaling, one
    slope for all.

    The score is the chance that a particle is there. Evidence, the logarithm of a ratio of likelihoods, grows with the
    size of a particle without end; its asinh is like it where it is small and like its logarithm where it is large.
    `labelled_share` is the chance that such a particle was labelled; 1 where labels are complete.
    """

    slope: float
    offsets: tuple[float, ...]
    labelled_share: float = 1.0
    weight: float = 0.0

    def __call__(self, raw: FloatArray, classes: NDArray[np.intp], evidence: FloatArray | None = None) -> FloatArray:
        """(n,) raw scores in 0–1, (n,) class indices from 0 and (n,) evidence → (n,) scores in 0–1, rising with raw."""
        seen = 0.0 if evidence is None else np.arcsinh(evidence)
        return np.asarray(expit(self.slope * (_logit(raw) + self.weight * seen) + np.array(self.offsets)[classes]))


def identity(classes: int) -> Calibration:
    """Scores are raw scores."""
    return Calibration(1.0, (0.0,) * classes)


def labelled_share(raw: FloatArray, hits: NDArray[np.bool_]) -> tuple[float, int]:
    """The share of particles that were labelled, and how many picks it rests on.

    Of the picks that score no less than the median pick that took a labelled particle, hardly one is false; so
    the share of them that took one is the share that was labelled, where labels were left out at random
    (positive–unlabelled learning as by Elkan and Noto, KDD 2008). 1 where nothing was hit.
    """
    if not hits.any():
        return 1.0, 0
    sure = raw >= np.median(raw[hits])
    return float(hits[sure].mean()), int(sure.sum())


def fit_calibration(
    raw: FloatArray,
    classes: NDArray[np.intp],
    hits: NDArray[np.bool_] | FloatArray,
    labelled: NDArray[np.bool_],
    *,
    share: float = 1.0,
    evidence: FloatArray | None = None,
) -> Calibration:
    """Fit by penalised maximum likelihood to validation picks, `hits` saying which took a labelled particle.

    hits may also be chances in 0–1. labelled: (c,) whether a class had particles to validate on; one that had
    none gets the common offset, and its picks, which could not be right, say nothing. share: of the particles
    that were labelled; P(hit) = share · score. evidence: (n,) of the averages of the classes, if they had a look.

    Some of the lowest candidates hit a particle by chance; without a floor for them, P(hit) = λ + (1 − λ) · score,
    they would flatten the whole curve. λ is fitted and left out of the score.

    Platt's targets (one pick short of certainty) keep scores off 0 and 1. Without both right and wrong
    picks there is nothing to fit and the identity comes back.
    """
    count = len(labelled)
    known = labelled[classes]
    raw, classes, hits = raw[known], classes[known], hits[known]
    seen = np.zeros(len(raw)) if evidence is None else np.arcsinh(evidence[known])
    right, wrong = float(hits.sum()), float((1.0 - hits).sum())
    if not right or not wrong:
        return identity(count)
    target = hits * (right + 1) / (right + 2) + (1.0 - hits) / (wrong + 2)
    x = _logit(raw)
    member = np.eye(count)[classes]
    prior = _PRIOR if share == 1 else _PARTIAL_PRIOR

    def loss(v: FloatArray) -> tuple[float, FloatArray]:
        slope, weight, common, chance, own = np.exp(v[0]), v[1], v[2], expit(v[3]), v[4:]
        joined = x + weight * seen
        score = expit(slope * joined + common + member @ own)
        p = np.clip(share * (chance + (1 - chance) * score), 1e-12, 1 - 1e-12)
        value = -float((target * np.log(p) + (1 - target) * np.log1p(-p)).sum())
        by_p = (p - target) / (p * (1 - p)) * share
        error = by_p * (1 - chance) * score * (1 - score)
        by_chance = (float(by_p @ (1 - score)) + _CHANCE_PRIOR) * chance * (1 - chance)
        by_weight = slope * (error @ seen) + 2 * _WEIGHT_PRIOR * weight
        by_slope = slope * (error @ joined) + 2 * _SLOPE_PRIOR * v[0]
        shared = [by_slope, by_weight, error.sum(), by_chance]
        gradient = np.concatenate([shared, member.T @ error + 2 * prior * own])
        value += prior * float((own**2).sum()) + _WEIGHT_PRIOR * weight**2 + _CHANCE_PRIOR * float(chance)
        return value + _SLOPE_PRIOR * v[0] ** 2, gradient

    start = np.array([0.0, 0.0, 0.0, -3.0, *np.zeros(count)])
    bounds = [(None, None), (0.0, None), *[(None, None)] * (count + 2)]  # evidence speaks for a particle or is silent
    v = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(float(np.exp(v[0])), tuple(float(v[2] + own) for own in v[4:]), share, float(v[1]))


def fit_histogram(raw: FloatArray) -> Calibration | None:
    """A calibration from the scores of one tomogram alone, without labels; None where no two groups show.

    raw: (n,) scores of all candidates. Logits of false places are taken for a normal distribution cut off at
    the lowest score, those of particles for a two-sided exponential around a higher peak; the share of the
    latter at each score is its chance. Particles' scores trail off downwards less steeply than that, so the
    chances come out too low rather than too high.
    """
    x = _logit(raw)
    if len(x) < _FEWEST_SCORES or np.ptp(x) < 1:
        return None
    lowest = float(x.min())

    def parts(v: FloatArray) -> tuple[FloatArray, FloatArray]:
        width, left, right = np.exp(v[1]), np.exp(v[3]), np.exp(v[4])
        noise = np.exp(-(((x - v[0]) / width) ** 2) / 2) / (width * _SQRT_TAU * ndtr((v[0] - lowest) / width))
        steps = np.where(x < v[2], (v[2] - x) / left, (x - v[2]) / right)
        return expit(-v[5]) * noise, expit(v[5]) * np.exp(-steps) / (left + right)

    def loss(v: FloatArray) -> float:
        noise, particles = parts(v)
        return -float(np.log(noise + particles + 1e-300).sum()) + _WIDTH_PRIOR * float(v[1]) ** 2

    start = np.array([np.quantile(x, 0.2), 0.0, np.quantile(x, 0.8), -1.0, -1.0, 0.0])
    v = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 6000, "maxfev": 6000}).x
    noise, particles = parts(v)
    order = np.argsort(x)
    chance = np.empty(len(x))
    chance[order] = np.maximum.accumulate((particles / (noise + particles))[order])
    if v[2] - v[0] < np.exp(v[1]) or not 0 < chance.mean() < 1:
        return None
    return fit_calibration(raw, np.zeros(len(x), np.intp), chance, np.ones(1, bool))


def _logit(raw: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(raw, _EDGE, 1 - _EDGE)))
