"""Grey levels of a tomogram brought to mean 0, variance 1, whatever its outliers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.types import Volume

_SAMPLE: Final = 2_000_000
_SLAB_BYTES: Final = 64 << 20  # no less, since chunks of a Zarr are decoded whole
_SLABS_AT_ONCE: Final = 4


@dataclass(frozen=True)
class Normalisation:
    """Grey level → (level − mean) / sigma, clipped at ±clip, so that gold and hot voxels do no harm."""

    mean: float
    sigma: float
    clip: float

    def __call__(self, levels: NDArray[Any]) -> NDArray[np.float32]:
        """Any array of grey levels → float32 of the same shape."""
        out = levels.astype(np.float32)
        out -= np.float32(self.mean)
        out *= np.float32(1 / self.sigma)
        return np.clip(out, -self.clip, self.clip, out=out)


def measure(
    volume: Volume, name: str = "the tomogram", *, central_share: float = 0.99, clip: float = 5.0
) -> Normalisation:
    """Mean and σ of the central share of the grey levels, in one pass over slabs of z, a few side by side.

    Two million evenly spread voxels are kept for the percentiles; every voxel is checked to be finite.
    Raises InputError where voxels are NaN or infinite, or all levels are equal.
    """
    depth = volume.shape[0]
    per_slice = int(np.prod(volume.shape[1:]))
    slab = max(1, _SLAB_BYTES // (per_slice * 4))
    step = max(1, depth * per_slice // _SAMPLE) | 1  # odd, so that it does not fall in step with the rows

    def sample(z: int) -> NDArray[np.float32]:
        levels = np.asarray(volume[z : z + slab]).reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = levels.dtype.kind in "fc" and not np.isfinite(levels.sum())
        if suspect and (bad := int(levels.size - np.isfinite(levels).sum())):
            raise InputError(
                f"{name} holds {bad} voxels that are NaN or infinite in slices {z}–{min(z + slab, depth) - 1}: "
                "replace them (by the mean, say) before picking"
            )
        return levels[-z * per_slice % step :: step].astype(np.float32)

    with ThreadPoolExecutor(_SLABS_AT_ONCE) as pool:
        samples = list(pool.map(sample, range(0, depth, slab)))
    mean, sigma = central_moments(np.concatenate(samples), central_share)
    if not sigma > 0:
        raise InputError(
            f"{name} has one grey level, {mean:g}, in at least {central_share:.0%} of its voxels: it holds no image"
        )
    return Normalisation(mean, sigma, clip)


def central_moments(levels: NDArray[np.float32], central_share: float) -> tuple[float, float]:
    """Mean and σ of the levels between the two quantiles that leave `central_share` of them."""
    low, high = np.quantile(levels, [(1 - central_share) / 2, (1 + central_share) / 2])
    central = levels[(levels >= low) & (levels <= high)].astype(np.float64)
    return float(central.mean()), float(central.std())
