"""Try changes of the recipe on the phantom without touching its test tomogram.

Trains on tomograms 100–104, validates on 105 and 106, and adds a line to runs/screen.jsonl. Thresholds are
fitted to the tomograms they are judged on, so the figures compare variants and promise nothing.

python benchmarks/screen.py NAME --steps 3000 --seeds 0 1 --set loss=dice label_diameter_vx=6
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

import etpick
from common import PHANTOM_CLASSES, REPORTED, RESULTS, machine, phantom, show_progress
from etpick.config import recipe
from etpick.evaluation.curves import precision_recall
from etpick.evaluation.metrics import evaluate
from etpick.picking import Picker
from etpick.training import train_model
from etpick.types import Dataset, ParticleClass, TrainingItem

HELD = (105, 106)


def setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def run(name: str, changes: dict[str, Any], seed: int) -> dict[str, Any]:
    items = tuple(TrainingItem(*phantom(n), validate=n in HELD) for n in range(100, 107))
    classes = tuple(ParticleClass(c, float(d)) for c, d in PHANTOM_CLASSES.items())
    config = recipe(changes.get("network", "fast"), seed=seed, **{"validations": 1} | changes)
    folder = RESULTS / f"screen-{name}-{seed}"
    model = train_model(Dataset(classes, items), config, folder, overwrite=True, on_progress=show_progress)
    held = [phantom(n) for n in HELD]
    found = [Picker(model)(tomogram) for tomogram, _ in held]
    truths = [truth for _, truth in held]
    score = evaluate([f.picks for f in found], truths, classes, 10.0)
    curves = precision_recall([f.all for f in found], truths, classes, 10.0)
    counts = score.confusion.counts[:12]
    return {
        "name": name, "seed": seed, "changes": changes, "minutes": model.trained_on["minutes"],
        "loss": model.history[-1]["loss"],
        "f1": score.localisation.f1, "distance": score.localisation.mean_distance_vx,
        "ap": curves.localisation.average_precision, "class_f1": score.mean_f1_of(REPORTED),
        "class_ap": float(np.mean([curves.classification[c].average_precision for c in REPORTED])),
        "right_class": float(np.diag(counts).sum() / counts[:, :-1].sum()),
        "by_class": {c: round(score.classification[c].f1, 3) for c in PHANTOM_CLASSES},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", type=setting, nargs="*", default=[], metavar="OPTION=VALUE")
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for seed in args.seeds:
        result = run(args.name, {"steps": args.steps} | dict(args.set), seed)
        with (RESULTS / "screen.jsonl").open("a") as file:
            file.write(json.dumps(result | {"etpick": etpick.__version__, "machine": machine()}) + "\n")
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}, flush=True)


if __name__ == "__main__":
    main()
