"""Which rule chooses thresholds that hold on tomograms that it has not seen?

python benchmarks/threshold_rules.py runs/MODEL --tomograms 101 102 103 104 105 106 --sizes 1 2

The model must not have learnt from these tomograms (`labels.py few --counts 30` learns from 100 alone, and its model is
chosen by 106). Each rule fits calibration and thresholds to one, or to two, of them, and is judged on all others:
every choice of one, and neighbours of two. Printed are means over the choices, and the standard deviation of F1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import etpick
from common import keep, phantom
from etpick.checkpoint import Model
from etpick.data import open_volume
from etpick.decision import Validation, validate
from etpick.evaluation.metrics import evaluate
from etpick.inference import Candidates, search
from etpick.picking import Picker
from etpick.types import Particles

Rule = Callable[[Validation, np.ndarray], tuple[float, ...]]


def candidates(model: Model, number: int) -> tuple[Candidates, Particles]:
    tomogram, truth = phantom(number)
    picker = Picker(model)
    volume = open_volume(tomogram, model.spacing_A, model.config)
    return search(volume, picker.engine_for(volume), picker.finder, picker.config), truth


def fitted(v: Validation, labelled: np.ndarray, least_gain: float = 0.003) -> tuple[float, ...]:
    """As etpick chose until it took the F1 to be expected: thresholds with the best F1 of localisation plus mean F1 of
    the classes' picks, by what was right. A common one comes first; a class leaves it for a gain above `least_gain`."""
    scores, count = v.decision.calibration(v.scores, v.index), len(labelled)

    def gain(limits: np.ndarray) -> float:
        kept = scores >= limits[v.index]
        picks, right = (np.bincount(v.index[rows], minlength=count) for rows in (kept, kept & v.hits))
        f1 = 2 * right / np.maximum(picks + labelled, 1)
        return float(2 * right.sum() / (picks.sum() + labelled.sum()) + f1[labelled > 0].mean())

    limits = np.full(count, max(levels(scores, v.hits), key=lambda level: gain(np.full(count, level))))
    for c in np.flatnonzero(labelled):
        own = v.index == c
        trials = [np.where(np.arange(count) == c, level, limits) for level in levels(scores[own], v.hits[own])]
        best = max(trials, key=gain, default=limits)
        if gain(best) > gain(limits) + least_gain / count:
            limits = best
    return tuple(limits.tolist())


def levels(scores: np.ndarray, hits: np.ndarray) -> list[float]:
    """Below each right pick, half-way to the next lower score, within 0.1 to 0.5; highest first."""
    distinct = np.unique(scores)
    lower = np.concatenate([distinct[:1], (distinct[1:] + distinct[:-1]) / 2])
    return list(np.unique(np.clip(lower[np.isin(distinct, scores[hits])], 0.1, 0.5))[::-1].tolist())


def with_missed(v: Validation, labelled: np.ndarray) -> tuple[float, ...]:
    """The best F1 to be expected, where the labels say how many particles there are."""
    ordered = np.sort(v.decision.calibration(v.scores, v.index))[::-1]
    f1 = 2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + labelled.sum())
    best = int(f1.argmax())
    return (float(ordered[best : best + 2].mean()),) * len(labelled)


def resampled(v: Validation, labelled: np.ndarray) -> tuple[float, ...]:
    """The median of `fitted` over resampled picks."""
    rng, n, every = np.random.default_rng(0), len(v.scores), []
    missed = np.maximum(labelled - np.bincount(v.index[v.hits], minlength=len(labelled)), 0)
    for _ in range(40):
        rows = rng.integers(0, n, n)
        one = replace(v, scores=v.scores[rows], index=v.index[rows], hits=v.hits[rows])
        every.append(fitted(one, np.bincount(one.index[one.hits], minlength=len(labelled)) + missed))
    return tuple(np.median(every, axis=0).tolist())


RULES: dict[str, Rule] = {
    "the best F1 to be expected": lambda v, _: v.decision.thresholds,
    "the same, counting missed particles": with_missed,
    "fitted, each class": fitted,
    "fitted, one for all": lambda v, labelled: fitted(v, labelled, 1e9),
    "fitted, median of resampled": resampled,
    "0.35": lambda v, labelled: (0.35,) * len(labelled),
    "0.45": lambda v, labelled: (0.45,) * len(labelled),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--tomograms", type=int, nargs="+", default=[101, 102, 103, 104, 105, 106])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    found: dict[tuple[int, str], list[tuple[float, float, float, float]]] = {}
    for folder in args.models:
        model = etpick.load_model(folder)
        sets = {number: candidates(model, number) for number in args.tomograms}
        for size in args.sizes:
            for first in range(len(args.tomograms)):
                chosen = [args.tomograms[(first + k) % len(args.tomograms)] for k in range(size)]
                for name, scores in judged(model, sets, chosen).items():
                    found.setdefault((size, name), []).append(scores)
    rows = []
    for (size, name), every in found.items():
        f1, precision, recall, classes = np.array(every).mean(axis=0).tolist()
        spread = float(np.array(every)[:, 0].std())
        rows.append({"validation tomograms": size, "rule": name, "f1": f1, "sd": spread, "precision": precision,
                     "recall": recall, "class_f1": classes})  # fmt: skip
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    keep("threshold-rules", {"protocol": __doc__, "models": [m.name for m in args.models], "rows": rows})


def judged(
    model: Model, sets: dict[int, tuple[Candidates, Particles]], chosen: Sequence[int]
) -> dict[str, tuple[float, float, float, float]]:
    """Localisation F1, precision, recall and mean class F1 on the tomograms that were not chosen, by rule."""
    spacing_A, classes = model.decision.spacing_A, model.classes
    own = validate([sets[n][0] for n in chosen], [sets[n][1] for n in chosen], classes, spacing_A, 1.0)
    labelled = np.array([sum((sets[n][1].classes == c.name).sum() for n in chosen) for c in classes])
    others = [pair for number, pair in sets.items() if number not in chosen]
    ideal = validate([found for found, _ in others], [truth for _, truth in others], classes, spacing_A, 1.0)
    decisions = {n: replace(own.decision, thresholds=tuple(r(own, labelled))) for n, r in RULES.items()}
    out = {}
    for name, rule in (decisions | {"fitted to what it is judged on": ideal.decision}).items():
        score = evaluate([rule(found) for found, _ in others], [truth for _, truth in others], classes, spacing_A)
        place = score.localisation
        each = [s.f1 for name, s in score.classification.items() if name != "4v94"]
        out[name] = (place.f1, place.precision, place.recall, float(np.mean(each)))
    return out


if __name__ == "__main__":
    main()
