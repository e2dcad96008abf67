"""What the averages of the classes change: the same models' picks of phantom 107, without and with a second look.

The averages are made once, from the labels of 100–105 (or --learn) as a training would make them, and joined with each
model by its picks of 106; with --own they are those that each model's own training made, joined with it anew.

python benchmarks/second_look.py runs/phantom-fast-0 runs/phantom-fast-1 runs/phantom-fast-2 --own
python benchmarks/second_look.py runs/labels-few-30-fast-0 --learn 100 --name second-look-few
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import etpick
from common import keep, measured, phantom_dataset, spread
from etpick.averaging_labels import average_labels, judged
from etpick.checkpoint import Model
from etpick.class_averages import ClassAverages
from etpick.engine import TorchEngine, choose_device
from etpick.inference import search
from etpick.preparation import Prepared, prepare


def joined_with(model: Model, averages: ClassAverages, prepared: Prepared) -> Model:
    """The model with the averages, trusted as far as its picks of the validation volumes say."""
    device = choose_device("cpu")
    engine, finder = TorchEngine(model.network(device), device), model.finder(model.picking)
    found = [search(v.volume, engine, finder, model.picking) for v in prepared.validation]
    return replace(model, averages=judged(averages, found, model.decision, prepared.validation))


def prepared_for(model: Path, learn: list[int]) -> Prepared:
    """Some tomograms to learn from, and 106."""
    dataset, names = phantom_dataset(), [f"tomo_{number}" for number in learn]
    items = tuple(item for item in dataset.items if item.validate or item.tomogram.name in names)
    return prepare(replace(dataset, items=items), etpick.load_model(model).config, print)


def averages_of(prepared: Prepared, seed: int) -> tuple[ClassAverages, float]:
    """Of the labels, and the seconds they took."""
    widths = np.array([c.diameter_A for c in prepared.classes]) / prepared.spacing_A
    began = time.perf_counter()
    references = []
    for kind, reference in zip(prepared.classes, average_labels(prepared.sources, widths, seed), strict=True):
        references.append(reference)
        print(kind.name, flush=True)
    return ClassAverages(tuple(references), tuple(widths.tolist())), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--learn", type=int, nargs="+", default=list(range(100, 106)), help="tomograms averaged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="second-look", help="of the file in runs/")
    parser.add_argument("--own", action="store_true", help="the averages that each training made")
    args = parser.parse_args()
    prepared = prepared_for(args.models[0], args.learn)
    made, seconds = (None, None) if args.own else averages_of(prepared, args.seed)
    rows: list[dict[str, Any]] = []
    for folder in args.models:
        model = etpick.load_model(folder)
        if (own := made or model.averages) is None:
            parser.error(f"{folder} has no averages of its own: leave out --own")
        model = joined_with(model, ClassAverages(own.references, own.widths_vx), prepared)
        assert model.averages is not None
        print(folder, model.averages.trust, model.averages.line(), flush=True)
        rows.append({
            "model": str(folder), "trust": asdict(model.averages.trust), "moves": model.averages.moves,
            "plain": measured(replace(model, averages=None)), "second_look": measured(model),
        })  # fmt: skip
    means = {way: spread([row[way] for row in rows]) for way in ("plain", "second_look")}
    keep(args.name, {"protocol": __doc__, "averaging_seconds": seconds, "models": rows, "spread": means})


if __name__ == "__main__":
    main()
