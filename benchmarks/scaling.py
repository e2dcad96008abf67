"""How time and memory of picking grow with the tomogram, the number of classes and the number of tomograms.

Tomograms are cubes of phantom 107, mirrored out or cut, in float32. More classes share the trained ones' weights and
have copies of their averages, so that there is as much to find, and more to tell apart. Each figure is taken in a
process of its own, the second of two pickings; peak memory includes what is mapped from the file. The cube of 1,024
voxels is picked only with --whole, otherwise extrapolated from 512 by its voxels. Writes runs/scaling.json and
runs/scaling.png.

python benchmarks/scaling.py runs/phantom-fast-0 [--engines openvino int8] [--whole]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch

import etpick
from common import RESULTS, keep
from etpick.api import pick_files
from etpick.checkpoint import Model, save_model
from etpick.ops.calibrate import Calibration
from etpick.types import ParticleClass
from speed import large_tomogram, peak_gb

EDGES = (64, 128, 256, 512)
LARGEST = 1024
CLASSES = (1, 2, 5, 13, 25, 50)
COUNTS = (1, 2, 5, 10)
ORDINARY = (128, 256, 256)
Found = dict[str, dict[str, dict[str, dict[str, float]]]]


def with_classes(model: Model, count: int) -> Model:
    """The same network with so many classes: some of the trained ones, or copies that share their chance."""
    weights = dict(model.weights)
    rows = [1 + i % len(model.classes) for i in range(count)]
    shares = torch.tensor([float(rows.count(row)) for row in rows]).log()
    for name in ("head.weight", "head.bias"):
        head = weights[name]
        chosen = torch.stack([head[row] for row in rows])
        if name == "head.bias":
            chosen = chosen - shares
        weights[name] = chosen - head[:1] if count == 1 else torch.cat([head[:1], chosen])
    classes = tuple(ParticleClass(f"c{i}", model.classes[row - 1].diameter_A) for i, row in enumerate(rows))
    decision = replace(
        model.decision, classes=classes, thresholds=of_rows(model.decision.thresholds, rows),
        calibration=calibration_of(model.decision.calibration, rows),
    )  # fmt: skip
    averages = model.averages
    if averages is not None:
        averages = replace(
            averages, references=tuple(reference.clone() for reference in of_rows(averages.references, rows)),
            widths_vx=of_rows(averages.widths_vx, rows),
            trust=replace(averages.trust, offsets=of_rows(averages.trust.offsets, rows)),
            thresholds=of_rows(averages.thresholds, rows),
            calibration=averages.calibration and calibration_of(averages.calibration, rows),
        )  # fmt: skip
    return replace(model, weights=weights, decision=decision, averages=averages)


def of_rows(values: tuple[Any, ...], rows: list[int]) -> tuple[Any, ...]:
    """Those of the trained classes, numbered from 1; nothing of nothing."""
    return tuple(values[row - 1] for row in rows) if values else ()


def calibration_of(calibration: Calibration, rows: list[int]) -> Calibration:
    return replace(calibration, offsets=of_rows(calibration.offsets, rows))


def measure(model: Path, engine: str, tomograms: list[Path]) -> dict[str, float]:
    """Seconds of the second of two pickings, and the peak memory."""
    seconds = 0.0
    with tempfile.TemporaryDirectory() as out:
        for _ in range(2):
            began = time.perf_counter()
            pick_files(model, tomograms, out, engine=engine, overwrite=True)
            seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_gb": peak_gb()}


def in_a_process(model: Path, engine: str, tomograms: list[Path]) -> dict[str, float]:
    command = [sys.executable, __file__, str(model), "--only", engine, "--tomograms", *map(str, tomograms)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(engine, [t.name for t in tomograms][:2], model.name, result, flush=True)
    return result


def grow(
    model: Path, engines: list[str], whole: bool, folder: Path
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Axis → engine → size or number → figures."""
    edges = (*EDGES, LARGEST) if whole else EDGES
    cubes = {edge: large_tomogram(folder / f"cube_{edge}.mrc", (edge, edge, edge)) for edge in edges}
    ordinary = [large_tomogram(folder / f"t{i:02}.mrc", ORDINARY) for i in range(max(COUNTS))]
    loaded = etpick.load_model(model)
    found: Found = {"voxels a side": {}, "classes": {}, "tomograms": {}}
    for engine in engines:
        found["voxels a side"][engine] = {str(e): in_a_process(model, engine, [cubes[e]]) for e in edges}
        found["tomograms"][engine] = {str(n): in_a_process(model, engine, ordinary[:n]) for n in COUNTS}
        rows = found["voxels a side"][engine]
        if not whole:
            rows[str(LARGEST)] = {"seconds": rows["512"]["seconds"] * 8, "extrapolated": 1.0}
    for count in CLASSES:
        save_model(with_classes(loaded, count), folder / f"classes-{count}")
        row = in_a_process(folder / f"classes-{count}", "openvino", ordinary[:1])
        found["classes"].setdefault("openvino", {})[str(count)] = row
    return found


def draw(found: Found, path: Path) -> None:
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), constrained_layout=True)
    for column, (what, engines) in zip(axes.T, found.items(), strict=True):
        for engine, rows in engines.items():
            for axis, name in zip(column, ("seconds", "peak_gb"), strict=True):
                known = [(int(n), row[name]) for n, row in rows.items() if name in row]
                axis.plot(*zip(*known, strict=True), "o-", label=engine)
        for axis, label in zip(column, ("seconds", "peak memory / GB"), strict=True):
            axis.set(xlabel=what, ylabel=label)
            if what == "voxels a side":
                axis.set_xscale("log", base=2)
            if what == "voxels a side" and label == "seconds":
                axis.set_yscale("log")
            else:
                axis.set_ylim(0, None)
            axis.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--engines", nargs="+", default=["openvino", "int8"])
    parser.add_argument("--whole", action="store_true", help="pick the cube of 1,024 voxels too")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--tomograms", nargs="+", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.model, args.only, args.tomograms)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = grow(args.model, args.engines, args.whole, Path(folder))
    keep("scaling", {"protocol": __doc__, "found": found})
    draw(found, RESULTS / "scaling.png")


if __name__ == "__main__":
    main()
