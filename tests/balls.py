"""Small tomograms of dark balls, to learn from in seconds."""

import numpy as np

from etpick.types import Dataset, ParticleClass, Particles, Tomogram, TrainingItem

CLASSES = (ParticleClass("large", 160.0), ParticleClass("small", 80.0))
QUICK = {"patch_vx": 24, "batch": 2, "validations": 2, "seed": 3}


def balls(seed, shape=(48, 64, 64), spacing_A=10.0, count=14):
    """Dark balls in noise; (tomogram, particles)."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    levels, positions, names = rng.normal(0, 0.6, shape), [], []
    for i in range(200):
        p = rng.uniform(9, np.array(shape) - 9)
        if all(np.linalg.norm(p - q) > 17 for q in positions) and len(positions) < count:
            c = CLASSES[i % 2]
            levels[((grid - p[:, None, None, None]) ** 2).sum(0) < (c.diameter_A / 2 / spacing_A) ** 2] -= 2.0
            positions.append(p)
            names.append(c.name)
    return Tomogram(levels.astype(np.float32), spacing_A, f"balls{seed}"), Particles(
        np.array(positions), np.array(names)
    )


def dataset(seeds=(0, 1), validate=(2,)):
    items = [TrainingItem(*balls(s), validate=s in validate) for s in (*seeds, *validate)]
    return Dataset(CLASSES, tuple(items))
