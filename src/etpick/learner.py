"""A network that learns: a step on a batch of subtomograms, and the moving average of its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from etpick.checkpoint import make_network
from etpick.config import TrainingConfig
from etpick.data import Patch
from etpick.engine import half_precision, is_out_of_memory
from etpick.errors import TrainingError
from etpick.nn.losses import dice_loss, weighted_loss
from etpick.nn.networks import Network, fold_normalisation, on_device
from etpick.nn.optimiser import Optimiser, seen_as
from etpick.ops.warp import sample_warped


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a step has shown: the loss, logits (b, 1 + classes, z, y, x), labels and weights (b, z, y, x)."""

    loss: float
    logits: Tensor
    labels: Tensor
    weights: Tensor


class Learner:
    """Weights as they are before the first step, drawn by the configuration's seed."""

    def __init__(self, config: TrainingConfig, classes: int, device: torch.device) -> None:
        self._config, self._classes, self._device = config, classes, device
        torch.manual_seed(config.seed)
        self.network: Network = on_device(make_network(config, classes), device)
        self.optimiser = Optimiser(self.network, muon=config.muon, weight_decay=config.weight_decay)
        self._average = self.optimiser.memory.clone()
        self.average: dict[str, Tensor] = {  # counts of batches are the network's own
            name: seen_as(self._average, value) if value.is_floating_point() else value
            for name, value in self.network.state_dict().items()
        }

    def averaged(self) -> Network:
        """A network of the averaged weights, ready to pick."""
        network = make_network(self._config, self._classes)
        network.load_state_dict(self.average)
        return on_device(fold_normalisation(network), self._device)

    def step(self, patches: Sequence[Patch], number: int, learning_rate: float) -> Learnt:
        """Learn from a batch; its noise depends on the step's number alone.

        Raises TrainingError where memory runs out or the loss is no longer a number.
        """
        try:
            return self._step(patches, number, learning_rate)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"out of memory on {self._device} with {len(patches)} subtomograms of {patches[0].warp.size}³ voxels a "
                "step: lower --batch or --patch"
            ) from None

    def _step(self, patches: Sequence[Patch], number: int, learning_rate: float) -> Learnt:
        device = self._device
        generator = torch.Generator(device).manual_seed((self._config.seed << 32) + number)
        images = self._images(patches, generator)[:, None].to(memory_format=torch.channels_last_3d)
        labels = torch.from_numpy(np.stack([p.labels for p in patches]).astype(np.int64)).to(device)
        weights = torch.from_numpy(np.stack([p.weights for p in patches])).to(device)
        self.network.train()
        with half_precision(device):
            logits = self.network(images)
        loss = self._loss(logits, labels, weights)
        self.optimiser.step(torch.autograd.grad(loss, self.optimiser.weights), learning_rate)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {number}: lower --learning-rate (it is "
                f"{self._config.learning_rate:g})"
            )
        self._move_average(number)
        return Learnt(value, logits.detach(), labels, weights)

    def _images(self, patches: Sequence[Patch], generator: torch.Generator) -> Tensor:
        """What the network sees, (b, z, y, x): warped, with other contrast, and noise."""
        edge, device = patches[0].warp.size, self._device
        images = torch.empty(len(patches), edge, edge, edge, device=device)
        bent = [n for n, p in enumerate(patches) if not p.warp.moves_voxels_only]
        straight = [n for n, p in enumerate(patches) if p.warp.moves_voxels_only]
        if bent:
            images[bent] = sample_warped([patches[n].warp for n in bent], [patches[n].block for n in bent], device)
        if straight:
            images[straight] = torch.from_numpy(np.stack([patches[n].block for n in straight])).to(device)
        contrast, noise = (
            torch.tensor([getattr(p, name) for p in patches], dtype=torch.float32, device=device).view(-1, 1, 1, 1)
            for name in ("contrast", "noise")
        )
        images *= contrast
        if any(p.noise for p in patches):
            images += noise * torch.randn(images.shape, generator=generator, device=device)
        return images

    def _loss(self, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        c = self._config
        if c.loss == "dice":
            return dice_loss(logits, labels, weights)
        return weighted_loss(
            logits, labels, weights, foreground_weight=c.foreground_weight, class_weight=c.class_weight
        )

    def _move_average(self, number: int) -> None:
        """Exponential moving average of weights and normalisation statistics, young averages faster."""
        decay = min(self._config.ema, (1 + number) / (10 + number))
        self._average.lerp_(self.optimiser.memory, 1 - decay)
