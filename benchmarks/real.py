"""Real protocol: train on the labels with y < 128, pick the other half, report recall of its labels.

The labels are a sample of the ribosomes, so precision cannot be read off; recall is given at N, 2N and 4N
picks, N being the labels in the half picked, a hit within 4 voxels; with a second look, and by the network alone.
Labels among each N candidates, and how much those with and without one look like ribosomes, tell how many labels a
picker can take that finds nothing but ribosomes.

python benchmarks/real.py --minutes 7 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

import etpick
from common import RESULTS, add_settings, keep, real_halves, show_progress
from etpick.checkpoint import Model
from etpick.data import open_volume
from etpick.evaluation.curves import greedy_hits, recall_at
from etpick.inference import search
from etpick.ops.blobs import difference_of_gaussians
from etpick.ops.normalise import measure
from etpick.picking import Picker, in_file
from etpick.types import Dataset, ParticleClass, Particles, TrainingItem

DIAMETER_A = 280.0
HIT_VX = 4.0


def recalls(picks: Particles, truth: Particles) -> list[float]:
    return [recall_at(picks, truth, share * len(truth), HIT_VX) for share in (1, 2, 4)]


def likeness(model: Model, held: TrainingItem) -> list[dict[str, Any]]:
    """Of each N candidates, from the best down: labels that they take, and the median evidence of those that took one
    and of the others, for being what the labels of the half learnt from average to."""
    if model.averages is None:
        return []
    picker, count = Picker(model, floor=1e-4, averages=False), len(held.particles)
    volume = open_volume(held.tomogram, model.spacing_A, model.config)
    found = model.decision.one_each(search(volume, picker.engine_for(volume), picker.finder, picker.config))
    found = found.select(np.arange(min(len(found.raw), 4 * count)))
    evidence = model.averages.weigh(volume, found)[0].max(axis=1)
    picks = replace(model.decision.named(found), positions=in_file(found.positions, volume))
    hits = greedy_hits(picks, held.particles, np.full(count, HIT_VX))
    rows = []
    for start in range(0, len(picks), count):
        hit, seen = hits[start : start + count], evidence[start : start + count]
        medians = {
            name: float(np.median(seen[own])) for name, own in (("labelled", hit), ("others", ~hit)) if own.any()
        }
        rows.append({"labels": int(hit.sum()), "median_evidence": medians})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--steps", type=int, help="instead of minutes, so that recipes compare at equal steps")
    parser.add_argument("--network", default="fast", choices=["fast", "paper"])
    parser.add_argument("--complete", action="store_true", help="take unlabelled particles for background")
    parser.add_argument("--spacing", type=float, help="working spacing in Å")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    add_settings(parser)
    args = parser.parse_args()
    learn, held = real_halves()
    dataset = Dataset((ParticleClass("ribosome", DIAMETER_A),), (learn,), partial_labels=not args.complete)
    runs = []
    for seed in args.seeds:
        model = etpick.train(
            dataset, RESULTS / f"real-{args.network}-{seed}", network=args.network,
            max_minutes=None if args.steps else args.minutes, steps=args.steps or 10**6, seed=seed,
            spacing_A=args.spacing, overwrite=True, on_progress=show_progress, **args.set,
        )  # fmt: skip
        picks, plain = (Picker(model, floor=1e-4, averages=way)(held.tomogram).all for way in (True, False))
        runs.append({"seed": seed, "steps": model.trained_on["steps"], "candidates": len(picks),
                     "recall": recalls(picks, held.particles), "by_network": recalls(plain, held.particles),
                     "of_each_N": likeness(model, held),
                     "averages": model.averages and model.averages.line()})  # fmt: skip
        print(runs[-1], flush=True)
    image = measure(held.tomogram.data)(np.asarray(held.tomogram.data))
    positions, strength = difference_of_gaussians(image, DIAMETER_A / held.tomogram.spacing_A)
    blobs = Particles(positions, np.array("ribosome"), strength)
    table = np.array([r["recall"] for r in runs])
    keep(
        f"real-{args.network}",
        {
            "protocol": __doc__, "labels_held_out": len(held.particles), "minutes": args.minutes,
            "working_spacing_A": model.spacing_A, "partial": not args.complete,
            "recall_at_N_2N_4N": {
                "mean": table.mean(0).tolist(), "lowest": table.min(0).tolist(), "highest": table.max(0).tolist(),
            },
            "difference_of_gaussians": recalls(blobs, held.particles), "runs": runs,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
