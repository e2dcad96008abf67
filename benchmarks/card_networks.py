"""What a graphics card makes of the networks, of a training step, and of picks; also runs, slowly, with --device cpu.

Times both networks on tiles by precision (autocast, or weights in bfloat16), layout, batch and cuDNN's choice by trial,
the published one as a CUDA graph too; splits a training step into the wait for its batch and the learner's part; and
holds the picks of phantom 107 by the card against those by the processor.

python benchmarks/card_networks.py runs/phantom-fast-0 [--device cuda] [--small]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Generator, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import etpick
from common import keep, phantom, phantom_dataset
from etpick.config import recipe
from etpick.evaluation.metrics import evaluate
from etpick.nn.networks import FastNet, Network, PaperNet, fold_normalisation, on_device
from etpick.picking import Picker
from etpick.training import Trainer
from speed import median_seconds

CLASSES = 13
FAST_TILES = ((200, 512, 512), (200, 256, 256), (104, 256, 256))
LAYOUTS = {"channels last": torch.channels_last_3d, "contiguous": torch.contiguous_format}


def waiting(work: Any, device: torch.device) -> Any:
    """The work, and the wait until a card has done it."""

    def done() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return done


def scored(network: Network, image: Tensor, half_weights: bool) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(), torch.autocast(image.device.type, torch.bfloat16, enabled=not half_weights):
        p = network(image).float().softmax(dim=1)[:, 1:]
        return p.sum(dim=1), p.half()


def tile_times(device: torch.device, small: bool) -> Iterator[dict[str, Any]]:
    shapes = ((64, 64, 64),) if small else FAST_TILES
    cases: list[tuple[type[Network], tuple[int, int, int], int]] = [(FastNet, shape, 1) for shape in shapes]
    cases += [(PaperNet, (72, 72, 72), batch) for batch in ((1,) if small else (1, 4, 16))]
    halves = (False, True) if device.type == "cuda" else (False,)  # not every operation has bfloat16 on a processor
    for trial, (kind, shape, batch), half, layout in product((False, True), cases, halves, LAYOUTS):
        dtype, order = torch.bfloat16 if half else torch.float32, LAYOUTS[layout]
        network = on_device(fold_normalisation(kind(CLASSES)), device).to(dtype)
        network = network.to(memory_format=order)  # type: ignore[call-overload]
        image = torch.randn(batch, 1, *shape, device=device, dtype=dtype).to(memory_format=order)
        torch.backends.cudnn.benchmark = trial
        seconds = median_seconds(waiting(partial(scored, network, image, half), device), 5)
        row = {"network": kind.__name__, "tile": shape, "batch": batch, "weights": str(dtype), "layout": layout}
        yield row | {"chosen by trial": trial, "ms": seconds * 1e3} | graph_time(network, image, half, device)
    torch.backends.cudnn.benchmark = False


def graph_time(network: Network, image: Tensor, half: bool, device: torch.device) -> dict[str, float]:
    """Of the published network with weights in bfloat16, whose tiles are all of one size."""
    if device.type != "cuda" or not half or isinstance(network, FastNet):
        return {}
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        scored(network, image, half)
    return {"as a CUDA graph / ms": median_seconds(waiting(graph.replay, device), 5) * 1e3}


def step_times(device: torch.device, steps: int) -> dict[str, float]:
    trainer = Trainer(phantom_dataset(), recipe("fast", steps=1000), None, device, None)
    batches, times = trainer._batches(0), []
    for _ in range(2 * steps):
        began = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        waiting(partial(trainer._step, batch), device)()
        times.append((ready - began, time.perf_counter() - ready))
    kept = [next(batches) for _ in range(steps)]
    assert isinstance(batches, Generator)  # closing it ends its threads
    batches.close()
    alone = []
    for batch in kept:
        began = time.perf_counter()
        waiting(partial(trainer.learner.step, batch, steps, 1e-3), device)()
        alone.append(time.perf_counter() - began)
    wait, step = np.median(times[steps:], axis=0) * 1e3
    return {"wait for a batch": float(wait), "step": float(step), "learner alone": float(np.median(alone)) * 1e3}


def picks(folder: Path, device: torch.device) -> dict[str, Any]:
    model, (tomogram, truth) = etpick.load_model(folder), phantom(107)
    here, there = (Picker(model, device=d, engine="torch")(tomogram).picks for d in ("cpu", str(device)))
    assert here.scores is not None
    assert there.scores is not None
    gaps = np.linalg.norm(here.positions[:, None] - there.positions[None], axis=-1)
    nearest, score = gaps.min(axis=1), np.abs(here.scores - there.scores[gaps.argmin(axis=1)])
    same = nearest < 1
    return {
        "processor": len(here), "card": len(there), "the same": float(same.mean()),
        "apart / voxel, median and most": [float(np.median(nearest[same])), float(nearest[same].max())],
        "scores apart, most": float(score[same].max()),
        "F1": [evaluate([p], [truth], model.classes, 10.0).localisation.f1 for p in (here, there)],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="few and small cases, to try the command")
    args = parser.parse_args()
    device = torch.device(args.device)
    keep("card_networks", {
        "protocol": __doc__, "picks": picks(args.model, device), "tiles": list(tile_times(device, args.small)),
        "training step / ms": step_times(device, 5 if args.small else 40),
    })  # fmt: skip


if __name__ == "__main__":
    main()
