"""A small tomogram file for the tests of viewers."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np

SHAPE, SPACING_A = (20, 30, 40), 10.0


def write_tomogram(path: Path, spacing_A: float = SPACING_A, shape: tuple[int, int, int] = SHAPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
        mrc.voxel_size = spacing_A
    return path
