"""Try changes of the recipe on the phantom without touching its test tomogram.

Trains on tomograms 100–104, validates on 105 and 106, and adds a line to runs/screen.jsonl. Thresholds are
fitted to the tomograms they are judged on, so the figures compare variants and promise nothing.

python benchmarks/screen.py NAME --steps 3000 --seeds 0 1 --set loss=dice label_diameter_vx=6
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import etpick
from common import RESULTS, add_settings, machine, measured, phantom, phantom_classes, show_progress
from etpick.config import recipe
from etpick.training import train_model
from etpick.types import Dataset, TrainingItem

HELD = (105, 106)


def run(name: str, changes: dict[str, Any], seed: int) -> dict[str, Any]:
    items = tuple(TrainingItem(*phantom(n), validate=n in HELD) for n in range(100, 107))
    config = recipe(changes.get("network", "fast"), seed=seed, **{"validations": 1} | changes)
    folder = RESULTS / f"screen-{name}-{seed}"
    model = train_model(Dataset(phantom_classes(), items), config, folder, overwrite=True, on_progress=show_progress)
    return {
        "name": name, "seed": seed, "changes": changes, "minutes": model.trained_on["minutes"],
        "loss": model.history[-1]["loss"], **measured(model, HELD),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    add_settings(parser)
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for seed in args.seeds:
        result = run(args.name, {"steps": args.steps} | args.set, seed)
        with (RESULTS / "screen.jsonl").open("a") as file:
            file.write(json.dumps(result | {"etpick": etpick.__version__, "machine": machine()}) + "\n")
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}, flush=True)


if __name__ == "__main__":
    main()
