"""Phantom protocol: train on tomograms 100–105, choose everything on 106, report on 107, once.

python benchmarks/phantom.py --network fast --minutes 28 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
from typing import Any

import etpick
from common import RESULTS, add_settings, keep, measured, phantom_dataset, show_progress, spread


def run(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    folder = RESULTS / f"phantom-{args.network}-{seed}"
    # a time limit alone decides the length, so that budgets compare
    limit = args.steps or (10**6 if args.minutes else None)
    model = etpick.train(
        phantom_dataset(), folder, network=args.network, max_minutes=args.minutes, steps=limit, seed=seed,
        validations=args.validations, batch=args.batch, overwrite=True, on_progress=show_progress, **args.set,
    )  # fmt: skip
    return {
        "seed": seed,
        "minutes": model.trained_on["minutes"],
        "steps": model.trained_on["steps"],
        **measured(model),
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
    add_settings(parser)
    args = parser.parse_args()
    runs: list[dict[str, Any]] = []
    for seed in args.seeds:
        runs.append(run(args, seed))
        content = {"protocol": __doc__, "options": vars(args), "summary": spread(runs), "runs": runs}
        keep(f"phantom-{args.network}", content)


if __name__ == "__main__":
    main()
