"""Phantom protocol: train on tomograms 100–105, choose everything on 106, report on 107, once.

python benchmarks/phantom.py --network fast --minutes 28 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import etpick
from common import REPORTED, RESULTS, keep, phantom, phantom_dataset, show_progress
from etpick.evaluation.curves import precision_recall
from etpick.picking import Picker


def run(args: argparse.Namespace, seed: int) -> dict[str, object]:
    folder = RESULTS / f"phantom-{args.network}-{seed}"
    # a time limit alone decides the length, so that budgets compare
    limit = args.steps or (10**6 if args.minutes else None)
    model = etpick.train(
        phantom_dataset(), folder, network=args.network, max_minutes=args.minutes, steps=limit, seed=seed,
        validations=args.validations, batch=args.batch, overwrite=True, on_progress=show_progress,
    )  # fmt: skip
    tomogram, truth = phantom(107)
    picker = Picker(model)
    began = time.perf_counter()
    found = picker(tomogram)
    seconds = time.perf_counter() - began
    score = etpick.evaluate(found.picks, truth, model.classes, 10.0)
    curves = precision_recall([found.all], [truth], model.classes, 10.0)
    place = score.localisation
    return {
        "seed": seed,
        "minutes": model.trained_on["minutes"],
        "steps": model.trained_on["steps"],
        "picking_seconds": round(seconds, 2),
        "localisation_f1": place.f1,
        "precision": place.precision,
        "recall": place.recall,
        "distance_vx": place.mean_distance_vx,
        "mean_class_f1": score.mean_f1_of(REPORTED),
        "class_f1": {name: s.f1 for name, s in score.classification.items()},
        "average_precision": curves.localisation.average_precision,
        "validation": {k: model.validation[k] for k in ("f1_alpha", "mean_class_f1")}
        | {"localisation_f1": model.validation["localisation"]["f1"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="fast", choices=["fast", "paper"])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--validations", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    runs = [run(args, seed) for seed in args.seeds]
    names = ("localisation_f1", "precision", "recall", "distance_vx", "mean_class_f1", "average_precision")
    values = {name: [float(r[name]) for r in runs] for name in names}  # type: ignore[arg-type]
    summary = {name: {"mean": float(np.mean(v)), "lowest": min(v), "highest": max(v)} for name, v in values.items()}
    keep(f"phantom-{args.network}", {"protocol": __doc__, "options": vars(args), "summary": summary, "runs": runs})


if __name__ == "__main__":
    main()
