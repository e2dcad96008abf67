"""What each way of computing costs and gives: picks of the phantom by engine, and what was chosen for speed.

Picks tomograms with PyTorch, OpenVINO in float and a new int8 copy (calibrated on the first of them), against the truth
and against PyTorch's picks; then times what else was decided by the clock: a large tile with and without keeping freed
memory, the network of a training step in float32 and bfloat16, and a slice encoded as JPEG and as PNG.

python benchmarks/engines.py runs/phantom-fast-0 [--tomograms 106 107]
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import etpick
from common import keep, phantom
from etpick.checkpoint import Model, make_network
from etpick.data import open_volume
from etpick.engine import TorchEngine, keeping_memory
from etpick.evaluation.metrics import Evaluation, evaluate
from etpick.nn.networks import on_device
from etpick.picking import Picker
from etpick.quantising import quantise_for
from etpick.serve.slices import encode
from speed import CPU, median_seconds

TILE = (232, 208, 208)


def scores(score: Evaluation) -> dict[str, float]:
    place = score.localisation
    return {
        "f1": place.f1, "precision": place.precision, "recall": place.recall, "distance_vx": place.mean_distance_vx,
        "mean_class_f1": score.mean_class_f1,
    }  # fmt: skip


def picks(source: Path, numbers: list[int]) -> dict[str, object]:
    """Each engine's picks against the truth, and against PyTorch's."""
    tomograms, truths = zip(*map(phantom, numbers), strict=True)
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("int8.*"))
        model, plain = etpick.load_model(folder), None
        for engine in ("torch", "openvino", "int8"):
            picker = Picker(model, engine=engine)
            if engine == "int8":
                found["copy"] = making(model, folder, tomograms[0])
            own = [picker(tomogram).picks for tomogram in tomograms]
            plain = plain or own
            found[engine] = {
                "against the truth": scores(evaluate(own, truths, model.classes, 10.0)),
                "against PyTorch": scores(evaluate(own, plain, model.classes, 10.0)),
            }
    return found


def making(model: Model, folder: Path, tomogram: etpick.Tomogram) -> dict[str, object]:
    began = time.perf_counter()
    record = quantise_for(model, folder, open_volume(tomogram, model.spacing_A, model.config))
    return {"seconds, judging included": time.perf_counter() - began, "record": record.line()}


def tile_seconds(model: Model) -> dict[str, float]:
    """A large tile in PyTorch, with freed memory kept and not."""
    engine = TorchEngine(model.network(CPU), CPU)
    image = torch.randn(TILE)
    out = {}
    for name, context in (("not kept", nullcontext), ("kept", keeping_memory)):
        with context():
            out[name] = median_seconds(lambda: engine(image), 3)
    return out


def step_seconds(model: Model) -> dict[str, float]:
    """The network of a training step, forward and backward, in both precisions."""
    network = on_device(make_network(model.config, len(model.classes)), CPU).train()
    edge, batch = model.trained_on["patch_vx"], model.trained_on["batch"]
    images = torch.randn(batch, 1, edge, edge, edge).to(memory_format=torch.channels_last_3d)

    def step(half: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = network(images).float().mean()
        loss.backward()

    return {name: median_seconds(partial(step, half), 5) for name, half in (("float32", False), ("bfloat16", True))}


def encodings() -> dict[str, dict[str, float]]:
    """A noisy slice of 1,000×1,000 as the interface sends it, and as PNG."""
    image = np.random.default_rng(0).normal(128, 40, (1000, 1000)).clip(0, 255).astype(np.uint8)

    def png() -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    ways = {"JPEG": lambda: encode(image), "PNG, level 1": png}
    return {name: {"ms": median_seconds(way, 9) * 1e3, "kB": len(way()) / 1e3} for name, way in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tomograms", type=int, nargs="+", default=[106, 107])
    args = parser.parse_args()
    model = etpick.load_model(args.model)
    keep("engines", {
        "protocol": __doc__, "picks": picks(args.model, args.tomograms), "tile / s": tile_seconds(model),
        "training step's network / s": step_seconds(model), "a slice encoded": encodings(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
