"""Does a threshold keep what it promises? Wanted precision and expected false positives against the truth of 107.

python benchmarks/thresholds.py runs/phantom-fast-0 runs/phantom-fast-1
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import etpick
from common import keep, phantom
from etpick.evaluation.metrics import evaluate
from etpick.picking import Picker

WISHES: tuple[dict[str, Any], ...] = (
    {},
    {"precision": 0.99},
    {"precision": 0.95},
    {"precision": 0.9},
    {"precision": 0.8},
    {"expected_false_positives": 5},
    {"expected_false_positives": 20},
    {"expected_false_positives": 50},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    args = parser.parse_args()
    tomogram, truth = phantom(107)
    rows = []
    for folder in args.models:
        model = etpick.load_model(folder)
        for wish in WISHES:
            for label_free in (False, True):
                found = Picker(model, label_free=label_free, **wish)(tomogram)
                place = evaluate([found.picks], [truth], model.classes, tomogram.spacing_A).localisation
                rows.append({
                    "model": folder.name, "wish": wish, "label_free": label_free, "picks": len(found.picks),
                    "expected_wrong": round(found.expected_wrong, 1), "wrong": place.fp,
                    "precision": place.precision, "recall": place.recall, "f1": place.f1,
                })  # fmt: skip
                print(rows[-1], flush=True)
    keep("thresholds", {"protocol": __doc__, "runs": rows})


if __name__ == "__main__":
    main()
