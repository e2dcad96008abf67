"""Pickers compared on the phantom: the same tomograms, labels and matching for all.

Trained on tomograms 100–105, everything chosen on 106, reported on 107, once. The networks are trained here with
equal wall time, or taken from elsewhere (--model-fast, --model-paper). What was picked is kept in runs/compare/ and
not picked again unless its call or its model has changed, so slow rows can be made beforehand, one by one. Writes
runs/compare.json, runs/compare.md and the figures runs/compare-*.png of the methods asked for.

python benchmarks/compare.py --methods dog template
python benchmarks/compare.py --minutes 20 --seeds 0 1 2
python benchmarks/compare.py --model-fast 'runs/phantom-fast-{seed}' --model-paper 'runs/phantom-paper-{seed}'
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import etpick
import templates
from common import PHANTOM_CLASSES, RESULTS, phantom, phantom_dataset, show_progress
from compare_report import LABELS, Row, report
from etpick.checkpoint import DESCRIPTION
from outcome import CLASSES, Outcome, fit_limits, load, merge

CHOSEN_ON, REPORTED_ON = 106, 107
NETWORK_OF = {"fast": "fast", "paper": "paper", "paper-scores": "paper", "released": "fast", "mean-shift": "fast"}
BANDWIDTHS_VX = (3.0, 4.0, 5.0, 7.0)  # of the mean shift; the labels have a radius of 4
TEMPLATES = ("5mrc", "4cr2", "1bxn")
BEGINNING = [sys.executable, str(Path(__file__).with_name("pick_once.py"))]


class Benchmark:
    """One run of the protocol: options, and a folder for what was trained and picked."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.name = "compare" if args.tomogram == REPORTED_ON else f"compare-{args.tomogram}"
        self.folder = RESULTS / self.name
        self.notes: dict[str, str] = {}

    def rows(self, method: str) -> list[Row]:
        """Its outcomes, one a seed where it has a network; none, and the reason in `notes`, where it cannot run."""
        if reason := missing(method):
            self.notes[method] = reason
            return []
        if method in NETWORK_OF:
            found = [self._with_network(method, seed) for seed in self.args.seeds]
            return [row for row in found if row]
        if method == "template":
            parts = [self._chosen(method, name, self._template(name)) for name in self.args.templates]
            done = [part for part in parts if part]
            return [Row(method, None, merge(done))] if done else []
        outcome = self._chosen(method, "once", [[]])
        return [Row(method, None, outcome)] if outcome else []

    def _with_network(self, method: str, seed: int) -> Row | None:
        folder = self._model(NETWORK_OF[method], seed)
        options = ["--model", str(folder)]
        if method == "mean-shift":
            widths = [[*options, "--bandwidth", str(b)] for b in BANDWIDTHS_VX]
            outcome = self._chosen(method, str(seed), widths)
        else:
            outcome = self._pick(method, str(seed), self.args.tomogram, options)
        return Row(method, seed, outcome, etpick.load_model(folder).trained_on) if outcome else None

    def _template(self, name: str) -> list[list[str]]:
        return [["--particle", name, "--angle", str(self.args.angle)]]

    def _chosen(self, method: str, unit: str, choices: Sequence[list[str]]) -> Outcome | None:
        """Picked with the choice and the limits that are best on tomogram 106."""
        truth = phantom(CHOSEN_ON)[1]
        classes = [c for c in CLASSES if method != "template" or c.name == unit]
        trials = []
        for number, options in enumerate(choices):
            trial = self._pick(method, f"{unit}-choice{number}", CHOSEN_ON, options)
            if trial:
                trial = replace(trial, limits=fit_limits(trial.found, truth, classes))
                result = trial.evaluation(truth)
                trials.append((result.localisation.f1 + result.mean_class_f1, options, trial.limits))
        if not trials:
            return None
        _, options, limits = max(trials, key=lambda t: t[0])
        outcome = self._pick(method, unit, self.args.tomogram, options)
        return replace(outcome, limits=limits) if outcome else None

    def _pick(self, method: str, unit: str, tomogram: int, options: list[str]) -> Outcome | None:
        """In a process of its own, unless that was done; None, and the reason in `notes`, if it took too long."""
        path = self.folder / f"{method}-{unit}@{tomogram}.npz"
        command = [method, "--tomogram", str(tomogram), *options]
        if path.exists() and not self.args.again:
            outcome = load(path)
            if list(outcome.command) == command and path.stat().st_mtime > _changed(options):
                return outcome
        print(f"picking: {' '.join(command)}", flush=True)
        if not within(self.args.cap_minutes, [*BEGINNING, *command, str(path)]):
            self.notes[method] = f"{unit}: stopped after {self.args.cap_minutes:g} minutes on one tomogram"
            return None
        outcome = replace(load(path), command=command)
        outcome.save(path)
        return outcome

    def _model(self, network: str, seed: int) -> Path:
        """A trained model's folder: the one given, or one trained here."""
        if given := {"fast": self.args.model_fast, "paper": self.args.model_paper}[network]:
            return Path(given.format(seed=seed))
        folder = self.folder / f"model-{network}-{self.args.minutes:g}min-{seed}"
        if not folder.exists():
            partial = folder.with_name(f"{folder.name}-unfinished")
            etpick.train(
                phantom_dataset(), partial, network=network, max_minutes=self.args.minutes, steps=10**6, seed=seed,
                overwrite=True, on_progress=show_progress,
            )  # fmt: skip
            partial.rename(folder)
        return folder


def missing(method: str) -> str:
    """How to get what a method needs and is not there; empty where all is."""
    if method == "template" and templates.find_pytme() is None:
        return templates.HOW_TO_GET
    if method == "mean-shift" and importlib.util.find_spec("sklearn") is None:
        return "scikit-learn is not there: pip install scikit-learn"
    return ""


def within(minutes: float, command: list[str]) -> bool:
    """Run a command to its end, or end it with all that it started when time is up. SystemExit where it fails."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait(minutes * 60)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return False
        raise
    if code:
        raise SystemExit(f"failed: {' '.join(command)}")
    return True


def _changed(options: list[str]) -> float:
    """When the model among the options was last written; 0 without one."""
    folders = [Path(value) for name, value in pairwise(options) if name == "--model"]
    return max([(folder / DESCRIPTION).stat().st_mtime for folder in folders], default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="wall time of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=LABELS, default=list(LABELS))
    parser.add_argument("--model-fast", metavar="PATTERN", help="models trained elsewhere: runs/phantom-fast-{seed}")
    parser.add_argument("--model-paper", metavar="PATTERN")
    parser.add_argument("--templates", nargs="+", choices=PHANTOM_CLASSES, default=list(TEMPLATES))
    parser.add_argument("--angle", type=float, default=20.0, help="between a template's rotations, in degrees")
    parser.add_argument("--cap-minutes", type=float, default=30.0, help="the most one tomogram may take")
    parser.add_argument("--tomogram", type=int, default=REPORTED_ON, help="another than 107 while developing")
    parser.add_argument("--again", action="store_true", help="pick again what was picked before")
    parser.add_argument("--quick", action="store_true", help="see that it runs: one minute, one seed, on 105, coarse")
    args = parser.parse_args()
    if args.quick:
        args.minutes, args.seeds, args.tomogram, args.templates, args.angle = 1.0, [0], 105, ["5mrc"], 60.0
    benchmark = Benchmark(args)
    rows = [row for method in LABELS if method in args.methods for row in benchmark.rows(method)]
    report(benchmark.name, __doc__, vars(args), rows, benchmark.notes)


if __name__ == "__main__":
    main()
