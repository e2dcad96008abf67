"""Are the particles of an extraction dark or bright?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.extraction.plan import Job
from etpick.ops.subtomograms import cut, outside_ball
from etpick.types import FloatArray, Tomogram

_CLEAR: Final = 4.0  # standard errors from which dark and bright are told apart
_PLACES: Final = 300  # over all tomograms
_FEWEST: Final = 10  # in each
_SLICES: Final = 16
_QUANTILES: Final = (0.001, 0.999)  # grey levels beyond are gold and hot voxels
_SMALLEST_RADIUS_VX: Final = 2.0
_LARGEST_RADIUS: Final = 1 / 3  # of the box
_RADII: Final = 6


def decide_contrast(jobs: Sequence[Job], contrast: Literal["auto", "keep", "invert"]) -> tuple[bool, str]:
    """Whether to exchange dark and bright, and why; all tomograms decide together.

    Raises InputError where particles stand out neither dark nor bright.
    """
    if contrast != "auto":
        return contrast == "invert", f"contrast: {'inverted' if contrast == 'invert' else 'kept'}, as asked"
    strength = brightness(jobs)
    if abs(strength) < _CLEAR:
        raise InputError(
            "particles stand out neither dark nor bright from their surroundings: say --contrast invert where protein "
            "is dark, --contrast keep where it is bright (RELION wants it bright)"
        )
    if strength < 0:
        return True, "contrast: particles are dark in the tomograms, so it was inverted (RELION wants them bright)"
    return False, "contrast: particles are bright in the tomograms, as RELION wants them, so it was kept"


def brightness(jobs: Sequence[Job]) -> float:
    """How much brighter picked than random places are, in standard errors; negative: darker.

    Compared is the sum of the grey levels within a ball, above the mean of its box; of several radii that
    counts which tells most. A sum, because in the middle of a hollow particle there is nothing.
    """
    count = max(_FEWEST, _PLACES // len(jobs))
    pairs = [_excesses(job, count, np.random.default_rng(i)) for i, job in enumerate(jobs)]
    picked, random = (np.concatenate(part) for part in zip(*pairs, strict=True))
    error = random.std(axis=0) * np.sqrt(1 / len(picked) + 1 / len(random))
    strengths = (picked.mean(axis=0) - random.mean(axis=0)) / np.maximum(error, 1e-12)
    return float(strengths[np.abs(strengths).argmax()])


def _excesses(job: Job, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """(n, radii) at picked and at random places, in σ of the tomogram."""
    low, high, sigma = _levels(job.tomogram)
    corners = job.cuts.corners
    chosen = rng.permutation(corners)[:count]
    random = rng.integers(corners.min(axis=0), corners.max(axis=0) + 1, (count, 3))
    radii = np.geomspace(_SMALLEST_RADIUS_VX, _LARGEST_RADIUS * job.box_vx, _RADII)
    balls = np.stack([~outside_ball(job.box_vx, 2 * radius) for radius in radii]).reshape(_RADII, -1)

    def excess(corner: NDArray[np.int64]) -> FloatArray:
        box = cut(job.tomogram.data, corner, job.box_vx).clip(low, high) / sigma
        return np.asarray(balls @ np.nan_to_num(box - np.nanmean(box)).reshape(-1), dtype=np.float64)

    return np.stack([excess(c) for c in chosen]), np.stack([excess(c) for c in random])


def _levels(tomogram: Tomogram) -> tuple[float, float, float]:
    """Grey levels below and above which lie outliers, and σ between them."""
    planes = np.linspace(0, tomogram.shape[0] - 1, _SLICES).astype(int)
    sample = np.stack([np.asarray(tomogram.data[z], dtype=np.float32) for z in planes])
    low, high = np.nanquantile(sample, _QUANTILES)
    return float(low), float(high), float(np.nanstd(sample.clip(low, high))) or 1.0
