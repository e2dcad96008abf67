"""What the benchmarks share: the developers' data, the protocols' classes, the machine, a place for results."""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import etpick
from etpick.checkpoint import Model
from etpick.evaluation.curves import expected_calibration_error, greedy_hits, precision_recall
from etpick.evaluation.matching import radii_vx
from etpick.evaluation.metrics import evaluate
from etpick.io.mrc import read_mrc
from etpick.picking import Picker
from etpick.types import Dataset, FloatArray, ParticleClass, Particles, Tomogram, TrainingItem

DATA = Path(os.environ.get("ETPICK_BENCHMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
RESULTS = Path(__file__).parents[1] / "runs"

PHANTOM_CLASSES = {
    "1s3x": 60, "3qm1": 60, "3gl1": 70, "3h84": 80, "2cg9": 80, "3d2f": 90, "1u6g": 100, "3cf3": 120,
    "1bxn": 110, "1qvr": 130, "4cr2": 160, "5mrc": 200, "4v94": 180,
}  # fmt: skip
REPORTED = tuple(name for name in PHANTOM_CLASSES if name != "4v94")  # trained, but not averaged


def phantom(number: int) -> tuple[Tomogram, Particles]:
    """A phantom tomogram and its true particles."""
    path = DATA / "phantom" / f"tomo_{number}.mrc"
    tomogram = etpick.open_tomogram(path)
    return tomogram, etpick.read_picks(path.with_suffix(".csv"), tomogram=tomogram)


def density(species: str, box_vx: int) -> FloatArray:
    """The map of a species in a box, in voxel box_vx // 2 its centre of mass, which is its place in the truth."""
    volume = np.array(read_mrc(DATA / "maps" / f"{species}.mrc").data, dtype=np.float64)
    volume = volume.clip(0)
    centre = [float((volume.sum(axis=tuple({0, 1, 2} - {axis})) * np.arange(n)).sum() / volume.sum())
              for axis, n in enumerate(volume.shape)]  # fmt: skip
    padded = np.pad(volume, box_vx)
    corner = [round(c) + box_vx - box_vx // 2 for c in centre]
    cut = padded[tuple(slice(c, c + box_vx) for c in corner)]
    wave = [np.exp(2j * np.pi * np.fft.fftfreq(box_vx) * (c - round(c))) for c in centre]
    shift = wave[0][:, None, None] * wave[1][None, :, None] * wave[2][None, None, :]
    return np.asarray(np.fft.ifftn(np.fft.fftn(cut) * shift).real)


def phantom_dataset() -> Dataset:
    """Train on 100–105, choose on 106; 107 is not in it."""
    items = [TrainingItem(*phantom(n), validate=n == 106) for n in range(100, 107)]
    return Dataset(phantom_classes(), tuple(items))


def phantom_classes() -> tuple[ParticleClass, ...]:
    """The 13 species."""
    return tuple(ParticleClass(name, float(d)) for name, d in PHANTOM_CLASSES.items())


def measured(model: Model, numbers: Sequence[int] = (107,)) -> dict[str, Any]:
    """Pick phantom tomograms and hold the picks against the truth."""
    picker = Picker(model)
    tomograms, truths = zip(*map(phantom, numbers), strict=True)
    began = time.perf_counter()
    found = [picker(tomogram) for tomogram in tomograms]
    seconds = time.perf_counter() - began
    score = evaluate([f.picks for f in found], truths, model.classes, 10.0)
    curves = precision_recall([f.all for f in found], truths, model.classes, 10.0)
    hits = [greedy_hits(f.all, t, radii_vx(t, model.classes, 10.0)) for f, t in zip(found, truths, strict=True)]
    error = expected_calibration_error(np.concatenate([f.all.scores for f in found]), np.concatenate(hits))
    counts = score.confusion.counts[: len(REPORTED)]
    place = score.localisation
    return {
        "localisation_f1": place.f1, "precision": place.precision, "recall": place.recall,
        "distance_vx": place.mean_distance_vx, "mean_class_f1": score.mean_f1_of(REPORTED),
        "average_precision": curves.localisation.average_precision,
        "mean_class_ap": float(np.mean([curves.classification[c].average_precision for c in REPORTED])),
        "right_class": float(np.diag(counts).sum() / max(counts[:, :-1].sum(), 1)),
        "calibration_error": error, "picking_seconds": round(seconds / len(numbers), 2),
        "class_f1": {name: s.f1 for name, s in score.classification.items()},
    }  # fmt: skip


def spread(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean, lowest and highest of every number that the runs share."""
    names = [name for name, value in runs[0].items() if isinstance(value, float) and name != "minutes"]
    values = {name: [float(r[name]) for r in runs] for name in names}
    return {name: {"mean": float(np.mean(v)), "lowest": min(v), "highest": max(v)} for name, v in values.items()}


def real_halves() -> tuple[TrainingItem, TrainingItem]:
    """The Chlamydomonas lamella cut at y = 128: the half to learn from, and the half to pick."""
    tomogram = etpick.open_tomogram(DATA / "real" / "chlamy_lamella_171.mrc")
    with (DATA / "real" / "chlamy_lamella_171_ribosomes.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    positions = np.array([[float(z), float(y), float(x)] for x, y, z in rows])
    halves = []
    for low, high in ((0, 128), (128, 256)):
        inside = (positions[:, 1] >= low) & (positions[:, 1] < high)
        cut = Tomogram(np.asarray(tomogram.data[:, low:high]), tomogram.spacing_A, f"y {low}–{high}")
        halves.append(TrainingItem(cut, Particles(positions[inside] - [0, low, 0], np.array("ribosome"))))
    return halves[0], halves[1]


def machine() -> dict[str, Any]:
    """What a figure was measured on."""
    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    cpu = Path("/proc/cpuinfo")
    names = [s.split(":")[1].strip() for s in cpu.read_text().splitlines() if s.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(), "card": card, "torch": torch.__version__,
        "etpick": etpick.__version__,
    }  # fmt: skip


def keep(name: str, content: dict[str, Any]) -> Path:
    """Write a result to runs/NAME.json and print it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content | {"machine": machine()}, indent=1) + "\n")
    print(json.dumps(content, indent=1))
    print(f"written to {path}")
    return path


def show_progress(progress: Any) -> None:
    """A line for each message and each hundredth step."""
    if progress.message:
        print(progress.message, flush=True)
    elif progress.step % 100 == 0:
        print(
            f"step {progress.step} of {progress.steps}, {progress.minutes:.1f} min, loss {progress.loss:.3f}, "
            f"validation F1 {progress.validation_f1:.3f}",
            flush=True,
        )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--set OPTION=VALUE …, fields of TrainingConfig, as a dictionary `set`."""
    parser.add_argument(
        "--set", nargs="*", action=_Settings, default={}, metavar="OPTION=VALUE", help="other than the recipe's"
    )


class _Settings(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        pairs = [text.partition("=") for text in values]
        setattr(namespace, self.dest, {name: _value(text) for name, _, text in pairs})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
