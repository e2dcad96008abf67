"""How many labels, and how complete: phantom 107 picked after learning from fewer labels on 100–105.

Few: every particle of one tomogram or of a part of it is labelled: 5, 10, 30 (one tomogram), 60 or all 180 of
each class. Sparse: a share of the labels, drawn at random, is kept in every tomogram, 106 included; the rest
look like background to whoever takes the labels for complete. Scored against all particles of 107.

Shifted: every label is moved in a random direction by a share of its particle's radius.

python benchmarks/labels.py few --counts 5 10 30 60 180 --networks fast paper --steps 3000 --seeds 0 1 2
python benchmarks/labels.py sparse --shares 0.1 0.3 0.6 1 --labels partial complete --steps 3000 --seeds 0 1 2
python benchmarks/labels.py shift --shares 0.5 0.7 --steps 3000 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np

import etpick
from common import RESULTS, add_settings, machine, measured, phantom, phantom_classes, show_progress
from etpick.evaluation.matching import radii_vx
from etpick.types import Dataset, Particles, Tomogram, TrainingItem

IN_ONE = 30  # particles of each class in a tomogram


def few(count: int) -> list[TrainingItem]:
    """So many labelled particles of each class, about, in whole tomograms or a part along y of one."""
    if count >= IN_ONE:
        return [TrainingItem(*phantom(100 + n)) for n in range(count // IN_ONE)]
    tomogram, particles = phantom(100)
    stop = round(tomogram.shape[1] * count / IN_ONE)
    part = Tomogram(np.asarray(tomogram.data[:, :stop]), tomogram.spacing_A, f"part of {tomogram.name}")
    return [TrainingItem(part, particles.select(particles.positions[:, 1] < stop - 0.5))]


def thinned(particles: Particles, share: float, seed: int) -> Particles:
    rng = np.random.default_rng((seed, round(particles.positions.sum())))
    return particles.select(np.sort(rng.permutation(len(particles))[: round(share * len(particles))]))


def sparse(share: float, partial: bool, seed: int) -> Dataset:
    items = [TrainingItem(*phantom(n), validate=n == 106) for n in range(100, 107)]
    kept = tuple(replace(i, particles=thinned(i.particles, share, seed)) for i in items)
    return Dataset(phantom_classes(), kept, partial)


def shifted(share: float, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    items = []
    for n in range(100, 107):
        tomogram, particles = phantom(n)
        radii = radii_vx(particles, phantom_classes(), tomogram.spacing_A)[:, None]
        direction = rng.normal(size=particles.positions.shape)
        direction *= share * radii / np.linalg.norm(direction, axis=1, keepdims=True)
        moved = np.clip(particles.positions + direction, 0, np.array(tomogram.shape) - 1)
        items.append(TrainingItem(tomogram, replace(particles, positions=moved), validate=n == 106))
    return Dataset(phantom_classes(), tuple(items))


def run(name: str, dataset: Dataset, args: argparse.Namespace, seed: int, network: str = "fast") -> None:
    """Train, pick 107, and add a line to runs/labels.jsonl."""
    model = etpick.train(
        dataset, RESULTS / f"labels-{name}-{seed}", network=network, steps=args.steps, max_minutes=args.minutes,
        validations=args.validations, seed=seed, overwrite=True, on_progress=show_progress, **args.set,
    )  # fmt: skip
    labels = sum(model.trained_on["labels"].values())
    result = {
        "name": name, "seed": seed, "labels": labels, "steps": model.trained_on["steps"],
        "minutes": model.trained_on["minutes"], "labelled_share": model.validation["labelled_share"],
        "looks_partial": model.validation["looks_partial"], **measured(model),
    }  # fmt: skip
    with (RESULTS / "labels.jsonl").open("a") as file:
        file.write(json.dumps(result | {"machine": machine()}) + "\n")
    print({k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["few", "sparse", "shift"])
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 30, 60, 180])
    parser.add_argument("--networks", nargs="+", default=["fast"], choices=["fast", "paper"])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.3, 0.6, 1.0])
    parser.add_argument("--labels", nargs="+", default=["partial", "complete"], choices=["partial", "complete"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--validations", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    add_settings(parser)
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for seed in args.seeds:
        if args.what == "few":
            for count in args.counts:
                dataset = Dataset(phantom_classes(), (*few(count), TrainingItem(*phantom(106), validate=True)))
                for network in args.networks:
                    run(f"few-{count}-{network}", dataset, args, seed, network)
        elif args.what == "shift":
            for share in args.shares:
                run(f"shift-{share:g}", shifted(share, seed), args, seed)
        else:
            for share in args.shares:
                for labels in args.labels:
                    run(f"sparse-{share:g}-{labels}", sparse(share, labels == "partial", seed), args, seed)


if __name__ == "__main__":
    main()
