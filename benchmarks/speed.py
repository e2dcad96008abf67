"""Time to pick a 512×512×200 tomogram from file to pick files, stage by stage, and the peak memory.

The tomogram is phantom 107 mirrored out to that size; the model is one that benchmarks/phantom.py trained.

python benchmarks/speed.py runs/phantom-fast-0 [--repeats 3]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import etpick
from common import keep, phantom
from etpick.checkpoint import Model
from etpick.data import open_volume
from etpick.inference import Scores, choose_tile, find, plan_for, predict
from etpick.io.mrc import write_mrc
from etpick.io.picks import write_picks
from etpick.picking import Picker

SHAPE = (200, 512, 512)


def large_tomogram(path: Path) -> Path:
    levels = np.asarray(phantom(107)[0].data)
    pads = [(0, n - m) for n, m in zip(SHAPE, levels.shape, strict=True)]
    return write_mrc(path, np.pad(levels, pads, mode="symmetric").astype(np.float32), 10.0)


class Watch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now

    def watched(self, slabs: Iterator[Scores]) -> Iterator[Scores]:
        for slab in slabs:
            self.lap("network")
            yield slab
            self.lap("peaks")


def run(path: Path, model: Model, out: Path) -> dict[str, float]:
    picker = Picker(model)
    watch = Watch()
    tomogram = etpick.open_tomogram(path)
    volume = open_volume(tomogram, model.spacing_A, model.config)
    watch.lap("open and normalise")
    tile = choose_tile(volume, picker.network, picker.config, picker.device)
    plan = plan_for(volume.shape, picker.network, picker.config, tile)
    slabs = watch.watched(predict(volume, picker.network, plan, picker.device))
    candidates = find(slabs, -(-volume.shape[0] // picker.network.stride), picker.finder)
    picks = picker.decision(candidates)
    watch.lap("peaks")
    for suffix in ("csv", "star"):
        write_picks(out / f"picks.{suffix}", picks, overwrite=True)
    watch.lap("write")
    return watch.seconds | {
        "total": sum(watch.seconds.values()),
        "tiles": len(plan),
        "voxels read per voxel": plan.voxels_read / float(np.prod(SHAPE)),
        "candidates": len(candidates.raw),
        "picks": len(picks),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    model = etpick.load_model(args.model)
    with tempfile.TemporaryDirectory() as folder:
        path = large_tomogram(Path(folder) / "large.mrc")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        runs = [run(path, model, Path(folder)) for _ in range(args.repeats)]
    median = {name: float(np.median([r[name] for r in runs])) for name in runs[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = {"before_gb": before / 1e6, "peak_gb": peak / 1e6}
    keep(f"speed-{model.config.network}", {"protocol": __doc__, "median": median, "memory": memory, "runs": runs})


if __name__ == "__main__":
    main()
