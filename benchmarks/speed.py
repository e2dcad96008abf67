"""Time to pick a 512×512×200 tomogram from file to pick files, stage by stage, against what the machine could do.

The tomogram is phantom 107 mirrored out to that size. Each engine runs in a process of its own, so that its peak
memory is its own; the first of its runs only warms up, the median of the others counts. Floors: for the network its
useful arithmetic at the rate of a large matrix product (int8: at four times that), for the other stages the bytes
they must touch at the rate of a large copy, both measured here. The published network (`paper`, untrained, which
takes as long) is timed on single tiles of 72³ voxels and multiplied: our plan has 484 of them, the released
program's 605. With a graphics card, `cuda` and `paper-cuda` pick the whole tomogram there.

python benchmarks/speed.py runs/phantom-fast-0 [--ways torch cuda …] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import etpick
from common import keep, phantom
from etpick.checkpoint import Model, make_network, save_model
from etpick.compiled import OpenVinoEngine, graph_of
from etpick.config import PickingConfig, recipe
from etpick.data import open_volume, resident
from etpick.decision import Decision
from etpick.engine import TorchEngine, keeping_memory
from etpick.exclusion import find_zones
from etpick.inference import Scores, choose_tile, find, plan_for, predict
from etpick.io.mrc import write_mrc
from etpick.io.picks import write_picks
from etpick.nn.networks import Network, on_device
from etpick.picking import Picker
from etpick.quantising import _quantised

SHAPE = (200, 512, 512)
VOXELS = float(np.prod(SHAPE))
CPU = torch.device("cpu")
RELEASED_TILES = 605  # of 72³ voxels, of which 48³ are kept
WHOLE = ("torch", "openvino", "int8", "cuda", "paper-cuda")
WAYS = (*WHOLE, "paper", "paper-int8", "released")


def large_tomogram(path: Path, shape: tuple[int, int, int] = SHAPE) -> Path:
    levels = np.asarray(phantom(107)[0].data)
    pads = [(0, max(0, n - m)) for n, m in zip(shape, levels.shape, strict=True)]
    levels = np.pad(levels, pads, mode="symmetric")[tuple(slice(n) for n in shape)]
    return write_mrc(path, levels.astype(np.float32), 10.0)


class Watch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now

    def watched(self, slabs: Iterator[Scores]) -> Iterator[Scores]:
        for slab in slabs:
            self.lap("network")
            yield slab
            self.lap("peaks")


def run(path: Path, picker: Picker, out: Path) -> dict[str, float]:
    model, watch = picker.model, Watch()
    tomogram = etpick.open_tomogram(path)
    volume = open_volume(tomogram, model.spacing_A, model.config)
    watch.lap("open and normalise")
    engine = picker.engine_for(volume)
    plan = plan_for(volume.shape, engine, picker.config, choose_tile(volume, engine, picker.config))
    with keeping_memory():
        voxels = resident(volume, engine.device)
        slabs = watch.watched(predict(voxels, engine, plan))
        candidates = find(slabs, -(-volume.shape[0] // engine.stride), picker.finder)
    chosen = picker.decision.one_each(candidates)
    zones = find_zones(tomogram, picker.config, None)
    watch.lap("peaks")
    picks = Decision.keep(*picker._looked_at_again(voxels, volume, zones, picker.decision, chosen))
    watch.lap("second look")
    for suffix in ("csv", "star"):
        write_picks(out / f"picks.{suffix}", picks, overwrite=True)
    watch.lap("write")
    return watch.seconds | {
        "total": sum(watch.seconds.values()),
        "tiles": len(plan),
        "voxels read per voxel": plan.voxels_read / VOXELS,
        "candidates": len(candidates.raw),
        "looked at again": int(picker.averages.worth_a_look(chosen, picker.decision).sum()) if picker.averages else 0,
        "picks": len(picks),
    }


def measure(model: Model, way: str, path: Path, repeats: int) -> dict[str, object]:
    """The median of several runs after one that warms up."""
    if way not in WHOLE:
        return by_tile(model.network(CPU), way, repeats)
    picker = Picker(model, device="cuda") if "cuda" in way else Picker(model, engine=way, device="cpu")
    with tempfile.TemporaryDirectory() as out:
        runs = [run(path, picker, Path(out)) for _ in range(repeats + 1)][1:]
    return {
        "engine": picker._engine.name if picker._engine else "",
        "median": {name: float(np.median([r[name] for r in runs])) for name in runs[0]},
        "totals": [r["total"] for r in runs],
        "peak_gb": peak_gb(),
    }


def peak_gb() -> float:
    """Of this program; what `resource` tells begins with the peak of the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def by_tile(network: Network, way: str, repeats: int) -> dict[str, object]:
    image = torch.randn(72, 72, 72)
    graph = None if way == "released" else graph_of(network)
    if way == "paper-int8":
        graph = _quantised(graph, [image.numpy()[None, None]], ())
    engine = (
        OpenVinoEngine(graph, network, int8=way == "paper-int8") if graph else TorchEngine(on_device(network, CPU), CPU)
    )
    seconds = median_seconds(lambda: engine(image), repeats)
    plan = plan_for(SHAPE, engine, PickingConfig(), (72, 72, 72))
    tiles = RELEASED_TILES if way == "released" else len(plan)
    return {"engine": engine.name, "median": {"one tile": seconds, "tiles": tiles, "network": seconds * tiles}}


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def ceilings() -> dict[str, float]:
    """Float32 matrix product in GFLOP/s, copy in GB/s (read and written once)."""
    a = torch.randn(2048, 2048)
    b = np.ones(2**28, np.float32)
    c = np.empty_like(b)
    return {
        "matrix_gflops": 2 * 2048**3 / median_seconds(lambda: a @ a, 9) / 1e9,
        "copy_gb_s": 2 * b.nbytes / median_seconds(lambda: np.copyto(c, b), 5) / 1e9,
    }


def flops_per_voxel(model: Model) -> float:
    network = make_network(model.config, len(model.classes))
    edge = network.tile_size or 64
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, edge, edge, edge))
    return float(counter.get_total_flops() / edge**3)


def floors(model: Model, way: str, rates: dict[str, float]) -> dict[str, float]:
    """Seconds that each stage takes at least."""
    stride = make_network(model.config, len(model.classes)).stride
    maps = VOXELS / stride**3 * (4 + 2 * len(model.classes))
    gflops = rates["matrix_gflops"] * (4 if way.endswith("int8") else 1)
    return {
        "open and normalise": VOXELS * 4 / (rates["copy_gb_s"] * 1e9),
        "network": VOXELS * flops_per_voxel(model) / (gflops * 1e9),
        "peaks": maps / (rates["copy_gb_s"] * 1e9),
    }


def untrained_paper(model: Model, folder: Path) -> Path:
    """The published network with fresh weights: as fast as a trained one."""
    config = recipe("paper")
    weights = make_network(config, len(model.classes)).state_dict()
    save_model(replace(model, config=config, weights=weights, averages=None), folder)
    return folder


def in_a_process(model: Path, way: str, path: Path, repeats: int) -> dict[str, object]:
    command = [sys.executable, __file__, str(model), "--only", way, "--tomogram", str(path), "--repeats", str(repeats)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[w for w in WAYS if "cuda" not in w])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--tomogram", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    model = etpick.load_model(args.model)
    if args.only:
        print(json.dumps(measure(model, args.only, args.tomogram, args.repeats)))
        return
    rates = ceilings()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = large_tomogram(Path(folder) / "large.mrc")
        paper = untrained_paper(model, Path(folder) / "paper")
        for way in args.ways:
            own = args.model if way in WHOLE and way != "paper-cuda" else paper
            result = in_a_process(own, way, path, args.repeats)
            least = floors(etpick.load_model(own), way, rates)
            seconds = result["median"]
            assert isinstance(seconds, dict)
            share = {name: round(floor / seconds[name], 3) for name, floor in least.items() if name in seconds}
            results[way] = result | {"floor": least, "share_of_floor": share}
            print(way, json.dumps(results[way]), flush=True)
    slowest = results.get("released", {}).get("median", {}).get("network")
    times = {w: r["median"].get("total", r["median"]["network"]) for w, r in results.items()}
    ratios = {w: slowest / seconds for w, seconds in times.items() if slowest}
    keep("speed", {"protocol": __doc__, "ceilings": rates, "ways": results, "times_faster_than_released": ratios})


if __name__ == "__main__":
    main()
