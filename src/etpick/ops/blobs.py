"""Difference of Gaussians: what can be picked without learning, the baseline shown beside the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etpick.ops.suppression import suppress
from etpick.types import FloatArray, ParticleClass, Particles

SIGMA_RATIO = 1.6  # the difference of Gaussians closest to a Laplacian: Marr and Hildreth, 1980
CLIP_SIGMAS = 5.0
HALF_SCORE_SIGMAS = 5.0


def difference_of_gaussians(volume: NDArray[np.floating], diameter_vx: float) -> tuple[FloatArray, FloatArray]:
    """Dark blobs of one size: positions (n, 3) zyx, sub-voxel, and their strengths (n,), strongest first.

    `volume` [z, y, x] has dark protein; values beyond five robust standard deviations are clipped. A ball
    of radius R answers most to a Laplacian of Gaussian with σ = R/√3 (the zero of d/dσ of its
    scale-normalised response at the centre); the two Gaussians lie around that σ with a ratio of 1.6.
    A blob is a positive maximum of the response in a cube of half-width R. Strength is the response in robust
    standard deviations of the response, so sizes and tomograms can be compared.
    """
    import torch

    from etpick.ops.peaks import refine

    radius = diameter_vx / 2
    response = _response(volume, radius)
    window = 2 * max(1, round(radius)) + 1
    peaks = (response == ndimage.maximum_filter(response, window, mode="nearest")) & (response > 0)
    at = np.argwhere(peaks)
    positions = refine(torch.from_numpy(response), torch.from_numpy(at)).numpy()
    strength = response[peaks].astype(np.float64)
    keep = suppress(positions, strength, np.full(len(at), radius))  # equal voxels side by side are one blob
    return positions[keep], strength[keep]


def dog_baseline(volume: NDArray[np.floating], classes: Sequence[ParticleClass], spacing_A: float) -> Particles:
    """Difference of Gaussians at every class's size; size is all that tells the classes apart.

    Of two blobs nearer than the mean of their radii the stronger is kept. Where classes share a
    diameter the first gets the blob. The score z / (z + 5), z being the strength, ranks within and
    between tomograms but is not a probability.
    """
    by_diameter = {c.diameter_A: c.name for c in reversed(classes)}
    found = [(d / spacing_A, n, difference_of_gaussians(volume, d / spacing_A)) for d, n in by_diameter.items()]
    positions = np.concatenate([np.zeros((0, 3)), *(p for _, _, (p, _) in found)])
    strength = np.concatenate([np.zeros(0), *(s for _, _, (_, s) in found)])
    names = np.concatenate([np.zeros(0, np.str_), *(np.full(len(s), n) for _, n, (_, s) in found)])
    radius = np.concatenate([np.zeros(0), *(np.full(len(s), d / 2) for d, _, (_, s) in found)])
    kept = suppress(positions, strength, radius)
    scores = strength[kept] / (strength[kept] + HALF_SCORE_SIGMAS)
    return Particles(positions[kept], names[kept], scores, spacing_A=spacing_A)


def _response(volume: NDArray[np.floating], radius_vx: float) -> NDArray[np.float32]:
    sigma = radius_vx / np.sqrt(3)
    narrow, wide = sigma / np.sqrt(SIGMA_RATIO), sigma * np.sqrt(SIGMA_RATIO)
    middle, deviation = _robust(volume)
    limit = CLIP_SIGMAS * deviation
    clipped = (np.clip(volume, middle - limit, middle + limit) - middle).astype(np.float32)
    response = ndimage.gaussian_filter(clipped, wide) - ndimage.gaussian_filter(clipped, narrow)
    deviation = _robust(response)[1]
    return np.asarray(response / deviation if deviation > 0 else response, dtype=np.float32)


def _robust(values: NDArray[np.floating]) -> tuple[float, float]:
    """Median and standard deviation (1.4826 × median absolute deviation) of a sample of the voxels."""
    sample = np.asarray(values).ravel()[:: max(1, values.size // 1_000_000)]
    middle = float(np.median(sample))
    return middle, 1.4826 * float(np.median(np.abs(sample - middle)))
