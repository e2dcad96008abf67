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
from etpick import decision
from etpick.checkpoint import Model
from etpick.data import open_volume
from etpick.decision import Validation, expected_f1_threshold, validate
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


def expected(v: Validation, labelled: np.ndarray) -> tuple[float, ...]:
    calibrated = v.decision.calibration(v.scores, v.index)
    return (expected_f1_threshold(calibrated),) * len(labelled)


def common(v: Validation, labelled: np.ndarray) -> tuple[float, ...]:
    return with_gain(v, labelled, 1e9)


def with_gain(v: Validation, labelled: np.ndarray, gain: float) -> tuple[float, ...]:
    before = decision._LEAST_GAIN
    decision._LEAST_GAIN = gain  # type: ignore[misc]
    try:
        return decision.fit_thresholds(v.decision.calibration(v.scores, v.index), v.index, v.hits, labelled)
    finally:
        decision._LEAST_GAIN = before  # type: ignore[misc]


def shrunk(share: float) -> Rule:
    def rule(v: Validation, labelled: np.ndarray) -> tuple[float, ...]:
        one, own = np.array(common(v, labelled)), np.array(v.decision.thresholds)
        return tuple(((1 - share) * one + share * own).tolist())

    return rule


def soft(blend: float) -> Rule:
    """fit_thresholds with chances, blended with what was hit, in place of hits."""

    def rule(v: Validation, labelled: np.ndarray) -> tuple[float, ...]:
        calibrated = v.decision.calibration(v.scores, v.index)
        return fit_soft(calibrated, v.index, blend * calibrated + (1 - blend) * v.hits, labelled)

    return rule


def fit_soft(scores: np.ndarray, classes: np.ndarray, right: np.ndarray, labelled: np.ndarray) -> tuple[float, ...]:
    count, levels = len(labelled), np.linspace(decision.LOWEST_THRESHOLD, decision.HIGHEST_THRESHOLD, 41)

    def gain(limits: np.ndarray) -> float:
        kept = scores >= limits[classes]
        picks = np.bincount(classes[kept], minlength=count)
        good = np.bincount(classes[kept], right[kept], minlength=count)
        f1 = 2 * good / np.maximum(picks + labelled, 1)
        return float(2 * good.sum() / (picks.sum() + labelled.sum()) + f1[labelled > 0].mean())

    limits = np.full(count, max(levels, key=lambda level: gain(np.full(count, level))))
    for c in np.flatnonzero(labelled):
        trials = [np.where(np.arange(count) == c, level, limits) for level in levels]
        best = max(trials, key=gain)
        if gain(best) > gain(limits) + decision._LEAST_GAIN / count:
            limits = best
    return tuple(limits.tolist())


def bagged(v: Validation, labelled: np.ndarray) -> tuple[float, ...]:
    """The median over resampled picks."""
    rng, n = np.random.default_rng(0), len(v.scores)
    calibrated = v.decision.calibration(v.scores, v.index)
    every = []
    for _ in range(40):
        rows = rng.integers(0, n, n)
        missed = np.maximum(labelled - np.bincount(v.index[v.hits], minlength=len(labelled)), 0)
        found = np.bincount(v.index[rows][v.hits[rows]], minlength=len(labelled)) + missed
        every.append(decision.fit_thresholds(calibrated[rows], v.index[rows], v.hits[rows], found))
    return tuple(np.median(every, axis=0).tolist())


RULES: dict[str, Rule] = {
    "as it is": lambda v, _: v.decision.thresholds,
    "one for all": common,
    "best F1 to be expected": expected,
    "0.35": lambda v, labelled: (0.35,) * len(labelled),
    "0.45": lambda v, labelled: (0.45,) * len(labelled),
    "gain 0.01": lambda v, labelled: with_gain(v, labelled, 0.01),
    "gain 0.03": lambda v, labelled: with_gain(v, labelled, 0.03),
    "gain 0.06": lambda v, labelled: with_gain(v, labelled, 0.06),
    "half-way to one for all": shrunk(0.5),
    "chances": soft(1.0),
    "chances and hits": soft(0.5),
    "median of resampled": bagged,
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
    for (size, name), scores in found.items():
        f1, precision, recall, classes = np.array(scores).mean(axis=0)
        spread = np.array(scores)[:, 0].std()
        rows.append({"validation tomograms": size, "rule": name, "f1": f1, "sd": spread, "precision": precision,
                     "recall": recall, "class_f1": classes})  # fmt: skip
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    keep("threshold-rules", {"protocol": __doc__, "models": [m.name for m in args.models], "rows": rows})


def judged(
    model: Model, sets: dict[int, tuple[Candidates, Particles]], chosen: Sequence[int]
) -> dict[str, tuple[float, float, float, float]]:
    """Localisation F1, precision, recall and mean class F1 on the tomograms that were not chosen, by rule."""
    spacing_A, classes = model.decision.spacing_A, model.classes
    fitted = validate([sets[n][0] for n in chosen], [sets[n][1] for n in chosen], classes, spacing_A, 1.0)
    labelled = np.array([sum((sets[n][1].classes == c.name).sum() for n in chosen) for c in classes])
    others = [pair for number, pair in sets.items() if number not in chosen]
    ideal = validate([found for found, _ in others], [truth for _, truth in others], classes, spacing_A, 1.0)
    decisions = {n: replace(fitted.decision, thresholds=tuple(r(fitted, labelled))) for n, r in RULES.items()}
    out = {}
    for name, own in (decisions | {"fitted to what it is judged on": ideal.decision}).items():
        score = evaluate([own(found) for found, _ in others], [truth for _, truth in others], classes, spacing_A)
        place = score.localisation
        each = [s.f1 for name, s in score.classification.items() if name != "4v94"]
        out[name] = (place.f1, place.precision, place.recall, float(np.mean(each)))
    return out


if __name__ == "__main__":
    main()
