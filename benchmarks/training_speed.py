"""How much of the machine training uses: a step's time against its arithmetic at the rate of a large matrix product.

Trains on the phantom for some steps and takes the median time between steps once batches come in turn; then the same
network learns from one batch again and again, without loader; then its convolutions alone are computed, one after the
other, forward and backward. A step's arithmetic is counted once forward and twice backward.

python benchmarks/training_speed.py [--network fast] [--steps 80]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from common import keep, phantom_dataset
from etpick.checkpoint import make_network
from etpick.config import recipe
from etpick.data import Sampler
from etpick.engine import choose_device, computes_in_bfloat16, half_precision, keeping_memory
from etpick.learner import Learner
from etpick.nn.networks import Network
from etpick.preparation import prepare
from etpick.progress import Interrupted
from etpick.training import train_model
from speed import ceilings, median_seconds

WARM = 20


def in_the_loop(network: str, steps: int) -> float:
    """Seconds between steps of a real training, stopped before it validates."""
    times: list[float] = []

    def note(progress: object) -> None:
        times.append(time.perf_counter())

    with suppress(Interrupted):
        train_model(
            phantom_dataset(), recipe(network, validations=1), on_progress=note,
            should_stop=lambda: len(times) > steps,
        )  # fmt: skip
    return float(np.median(np.diff(times[WARM:])))


def alone(network: str) -> tuple[float, float, float]:
    """Seconds of a step on a batch that lies ready, of its convolutions alone, and its arithmetic in GFLOP."""
    config, device = recipe(network), choose_device("auto")
    prepared = prepare(phantom_dataset(), config, lambda line: None)
    widths = np.array([c.diameter_A for c in prepared.classes]) / prepared.spacing_A
    learner = Learner(config, len(prepared.classes), device)
    edge, count = config.sized(widths.max(), sum(len(s.labels) for s in prepared.sources), config.steps)
    sampler = Sampler(prepared.sources, widths, config, learner.network.stride, np.zeros((0, 4)), (edge, count))
    batch = sampler.batch(0)
    images = torch.randn(count, 1, edge, edge, edge, device=device).to(memory_format=torch.channels_last_3d)
    with FlopCounterMode(display=False) as counter:
        make_network(config, len(prepared.classes))(torch.zeros(images.shape))
    with keeping_memory():
        seconds = median_seconds(lambda: learner.step(batch, 0, 1e-4), 10)
        convolutions = median_seconds(convolving(learner.network, images), 10)
    return seconds, convolutions, 3 * counter.get_total_flops() / 1e9


def convolving(network: Network, images: Tensor) -> Callable[[], None]:
    """What computes the network's convolutions by themselves, forward and backward."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda m, x, y: calls.append((m, x[0].detach(), torch.randn_like(y))))
        for module in network.modules()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d)
    ]
    with half_precision(images.device), torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()

    def all_of_them() -> None:
        for number, (module, x, gradient) in enumerate(calls):
            wanted = [*module.parameters(), x.requires_grad_()] if number else [*module.parameters()]
            with half_precision(x.device):
                out = module(x)
            torch.autograd.grad(out, wanted, gradient)

    return all_of_them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="fast", choices=["fast", "paper"])
    parser.add_argument("--steps", type=int, default=80)
    args = parser.parse_args()
    rates = ceilings()
    loop = in_the_loop(args.network, args.steps)
    step, convolutions, gflop = alone(args.network)
    least = gflop / rates["matrix_gflops"]
    result = {
        "step in training / s": loop, "step on a batch that lies ready / s": step,
        "its convolutions alone / s": convolutions, "arithmetic / GFLOP": gflop,
        "share of the convolutions' rate, in training": convolutions / loop,
        "share of the matrix product's rate, in training": least / loop,
        "share of the matrix product's rate, network alone": least / step,
        "bfloat16": computes_in_bfloat16(choose_device("auto")), "ceilings": rates,
    }  # fmt: skip
    keep(f"training-speed-{args.network}", {"protocol": __doc__} | result)


if __name__ == "__main__":
    main()
