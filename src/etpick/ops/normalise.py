"""Grey levels of a tomogram brought to mean 0, variance 1, whatever its outliers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError
from etpick.types import Volume

CENTRAL_SHARE: Final = 0.99  # the mean and σ are those of the central 99 % of the grey levels
CLIP_SIGMA: Final = 5.0  # gold and hot voxels are cut off here
_SAMPLE: Final = 2_000_000
_SLAB_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Normalisation:
    """Grey level → (level − mean) / sigma, clipped at ±5."""

    mean: float
    sigma: float

    def __call__(self, levels: NDArray[Any]) -> NDArray[np.float32]:
        """Any array of grey levels → float32 of the same shape."""
        out = levels.astype(np.float32)
        out -= np.float32(self.mean)
        out *= np.float32(1 / self.sigma)
        return np.clip(out, -CLIP_SIGMA, CLIP_SIGMA, out=out)

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def measure(
    volume: Volume, name: str = "the tomogram", on_progress: Callable[[int, int], None] | None = None
) -> Normalisation:
    """Mean and σ of the central 99 % of the grey levels, in one pass over slabs of z.

    Two million evenly spread voxels are kept for the percentiles; every voxel is checked to be finite.
    Raises InputError where voxels are NaN or infinite, or all levels are equal.
    """
    depth = volume.shape[0]
    per_slice = int(np.prod(volume.shape[1:]))
    slab = max(1, _SLAB_BYTES // (per_slice * 4))
    step = max(1, depth * per_slice // _SAMPLE) | 1  # odd, so that it does not fall in step with the rows
    sample, phase = [], 0
    for z in range(0, depth, slab):
        levels = np.asarray(volume[z : z + slab]).reshape(-1)
        if levels.dtype.kind in "fc" and not np.isfinite(levels.sum(dtype=np.float64)):
            bad = int(levels.size - np.isfinite(levels).sum())
            raise InputError(
                f"{name} holds {bad} voxels that are NaN or infinite in slices {z}–{min(z + slab, depth) - 1}: "
                "replace them (by the mean, say) before picking"
            )
        sample.append(levels[phase::step].astype(np.float32))
        phase = (phase - levels.size) % step
        if on_progress:
            on_progress(min(z + slab, depth), depth)
    levels = np.concatenate(sample)
    low, high = np.quantile(levels, [(1 - CENTRAL_SHARE) / 2, (1 + CENTRAL_SHARE) / 2])
    central = levels[(levels >= low) & (levels <= high)].astype(np.float64)
    sigma = float(central.std())
    if not sigma > 0:
        raise InputError(f"{name} has one grey level, {low:g}, in at least 99 % of its voxels: it holds no image")
    return Normalisation(float(central.mean()), sigma)
