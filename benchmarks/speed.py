"""Time to pick a 512×512×200 tomogram, stage by stage, and peak memory. No trained model is needed.

python benchmarks/speed.py [--classes 13] [--repeats 3] [--network fast]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import etpick
from common import keep
from etpick.checkpoint import make_network
from etpick.config import PickingConfig, recipe
from etpick.data import WorkingVolume
from etpick.inference import PeakFinder, Scores, choose_tile, plan_for, predict
from etpick.io.mrc import write_mrc
from etpick.nn.networks import fold_normalisation, on_device
from etpick.ops.normalise import measure

SHAPE = (200, 512, 512)


def timed(stages: dict[str, float], name: str, began: float) -> float:
    now = time.perf_counter()
    stages[name] = stages.get(name, 0.0) + now - began
    return now


def run(path: Path, network: str, classes: int) -> dict[str, float]:
    device, config, stages = torch.device("cpu"), PickingConfig(), {}
    net = on_device(fold_normalisation(make_network(recipe(network), classes)), device)
    finder = PeakFinder(8.0, net.stride, config.pooling_kernel, config.floor)
    before = time.perf_counter()
    tomogram = etpick.open_tomogram(path)
    volume = WorkingVolume(tomogram, 10.0, measure(tomogram.data))
    before = timed(stages, "open and normalise", before)
    plan = plan_for(volume.shape, net, config, choose_tile(volume.shape, net, config))
    slabs: list[Scores] = []
    for slab in predict(volume, net, plan, device):
        slabs.append(slab)
    before = timed(stages, "network", before)
    whole = slabs[0]
    for slab in slabs[1:]:
        whole = whole + slab
    # an untrained network has no peaks: 1,000 balls stand in for its map
    rng = np.random.default_rng(0)
    whole.foreground[:] = 0.01 * rng.random(whole.foreground.shape, dtype=np.float32)
    for z, y, x in rng.integers(4, np.array(whole.foreground.shape) - 4, (1000, 3)):
        whole.foreground[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 0.9
    before = time.perf_counter()
    found = finder(whole, 0, whole.stop)
    timed(stages, "peaks", before)
    stages["total"] = sum(stages.values())
    stages["tiles"] = len(plan)
    stages["voxels through the network / voxels"] = plan.voxels_read / np.prod(SHAPE)
    stages["candidates"] = len(found.raw)
    return stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=13)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--network", default="fast", choices=["fast", "paper"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        levels = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
        path = write_mrc(Path(folder) / "noise.mrc", levels, 10.0)
        del levels
        runs = [run(path, args.network, args.classes) for _ in range(args.repeats)]
    median = {name: float(np.median([r[name] for r in runs])) for name in runs[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    keep(f"speed-{args.network}", {"protocol": __doc__, "median": median, "peak_memory_gb": peak, "runs": runs})


if __name__ == "__main__":
    main()
