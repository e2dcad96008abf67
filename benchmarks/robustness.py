"""Phantom 107 as others might bring it: noisier, rescaled, inverted, in other voxel types; and its edges.

Given trained models, none of which has seen such tomograms. Label shifts are trained with:
python benchmarks/labels.py shift.

python benchmarks/robustness.py runs/phantom-fast-0 runs/phantom-fast-1
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

import etpick
from common import REPORTED, keep, phantom, spread
from etpick.checkpoint import Model
from etpick.evaluation.metrics import evaluate
from etpick.geometry import rescale
from etpick.picking import Picker
from etpick.types import Particles, Tomogram

SCALE = 0.75  # 13.3 Å instead of 10
EDGE_VX = 10


def noisy(levels: NDArray[np.float32], sigma: float) -> NDArray[np.float64]:
    """Gaussian noise added, in σ of the tomogram."""
    return np.asarray(levels + np.float32(sigma) * levels.std() * np.random.default_rng(0).normal(size=levels.shape))


def as_bytes(levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.quantile(levels, [0.001, 0.999])
    return np.asarray(np.clip((levels - low) / (high - low) * 255, 0, 255).astype(np.uint8))


VARIANTS: dict[str, Callable[[NDArray[np.float32]], NDArray[Any]]] = {
    "as it is": lambda x: x,
    "noise 0.5 σ": lambda x: noisy(x, 0.5),
    "noise 1.1 σ": lambda x: noisy(x, 1.1),
    "noise 2 σ": lambda x: noisy(x, 2.0),
    "noise 5 σ": lambda x: noisy(x, 5.0),
    "inverted": lambda x: -x,
    "uint8, clipped": as_bytes,
    "int16, ×300": lambda x: np.rint(300 * x / x.std()).astype(np.int16),
    "float16": lambda x: (x / x.std()).astype(np.float16),
    "13.3 Å per voxel": lambda x: zoom(x, SCALE, order=1, grid_mode=True, mode="nearest"),
}


def picked(model: Model, name: str, tomogram: Tomogram, truth: Particles, **options: Any) -> dict[str, Any]:
    found = Picker(model, **options)(tomogram)
    score = evaluate([found.picks], [truth], model.classes, tomogram.spacing_A)
    place = score.localisation
    return {
        "variant": name, "localisation_f1": place.f1, "precision": place.precision, "recall": place.recall,
        "mean_class_f1": score.mean_f1_of(REPORTED), "distance_A": place.mean_distance_vx * tomogram.spacing_A,
        "warned": found.warning,
    }  # fmt: skip


def near_edge(particles: Particles, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(n,) whether a centre lies within 10 voxels of a face."""
    p = particles.positions
    return np.asarray((np.minimum(p, np.array(shape) - 1 - p) < EDGE_VX).any(axis=1))


def variants(model: Model) -> list[dict[str, Any]]:
    tomogram, truth = phantom(107)
    levels = np.asarray(tomogram.data, np.float32)
    rows = []
    for name, change in VARIANTS.items():
        scaled = "Å" in name
        other = Tomogram(change(levels), 10.0 / SCALE if scaled else 10.0, name)
        true = Particles(rescale(truth.positions, SCALE) if scaled else truth.positions, truth.classes)
        rows.append(picked(model, name, other, true))
        if name == "inverted":
            rows.append(picked(model, "inverted, --invert", other, true, invert=True))
        print(rows[-1], flush=True)
    found = Picker(model)(tomogram).picks
    for name, inside in (("within 10 voxels of a face", True), ("further inside", False)):
        some = [p.select(near_edge(p, tomogram.shape) == inside) for p in (found, truth)]
        place = evaluate([some[0]], [some[1]], model.classes, 10.0).localisation
        rows.append({"variant": name, "localisation_f1": place.f1, "precision": place.precision,
                     "recall": place.recall})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    args = parser.parse_args()
    by_model = [variants(etpick.load_model(folder)) for folder in args.models]
    summary = {rows[0]["variant"]: spread(rows) for rows in zip(*by_model, strict=True)}
    keep("robustness", {"protocol": __doc__, "summary": summary, "runs": by_model})


if __name__ == "__main__":
    main()
