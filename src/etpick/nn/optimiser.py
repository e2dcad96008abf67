"""How weights follow their gradients: Muon for the inner convolutions, AdamW for all else, or AdamW for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from etpick.nn.networks import Network

_OUTER: Final = ("encoder.0.entry.", "head.")  # what touches the image or the answer is left to AdamW


class Optimiser:
    """One optimiser for a network, whose weights must be laid out channels last (`on_device`).

    Muon (Jordan 2024) moves a matrix along the orthogonal factor of its averaged gradient, so that all directions
    are learnt at one pace; a convolution (out, in, z, y, x) is the matrix (out, z·y·x·in). Steps are scaled to the
    size of AdamW's (Liu et al. 2025, arXiv:2502.16982), so one learning rate serves both.

    It moves the network's weights and statistics into one piece of memory, (n,), AdamW's weights first, where one
    operation serves them all.
    """

    def __init__(self, network: Network, *, muon: bool, weight_decay: float) -> None:
        named = dict(network.named_parameters())
        names = [n for n, p in named.items() if muon and p.ndim == 5 and not n.startswith(_OUTER)]
        inner, outer = [named[n] for n in names], [p for n, p in named.items() if n not in names]
        statistics = [b for b in network.buffers() if b.is_floating_point()]
        self.weights: list[Tensor] = [*outer, *inner]
        self.memory = _moved_together([*self.weights, *statistics])
        together = nn.Parameter(self.memory[: sum(p.numel() for p in outer)])
        together.grad = torch.zeros_like(together)
        self._outer_gradients = [seen_as(together.grad, p) for p in outer]
        # the same memory seen as matrices, since torch's Muon takes nothing else
        self._matrices = [nn.Parameter(_by_output(p.detach()).view(len(p), -1)) for p in inner]
        self._parts: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW([together], weight_decay=weight_decay, fused=True)
        }
        if self._matrices:
            self._parts["muon"] = torch.optim.Muon(
                self._matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )

    def step(self, gradients: list[Tensor] | tuple[Tensor, ...], learning_rate: float) -> None:
        """Move the weights along their gradients, which come as `weights` do."""
        count = len(self._outer_gradients)
        torch._foreach_copy_(self._outer_gradients, gradients[:count])
        for matrix, gradient in zip(self._matrices, gradients[count:], strict=True):
            matrix.grad = _by_output(gradient).flatten(1)
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()

    def state(self) -> dict[str, Tensor]:
        """What it remembers, as named tensors."""
        return {
            f"{name}/{number}/{key}": value
            for name, part in self._parts.items()
            for number, entry in part.state_dict()["state"].items()
            for key, value in entry.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Remember what `state` gave."""
        for name, part in self._parts.items():
            entries: dict[int, dict[str, Tensor]] = {}
            for path, value in tensors.items():
                owner, number, key = path.split("/")
                if owner == name:
                    entries.setdefault(int(number), {})[key] = value
            part.load_state_dict(part.state_dict() | {"state": entries})


def _by_output(weight: Tensor) -> Tensor:
    """(out, in, z, y, x) → (out, z, y, x, in), as it lies in memory."""
    return weight.permute(0, 2, 3, 4, 1)


def _moved_together(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors, laid out in memory as they were, in one piece of it, which is returned."""
    memory = torch.cat([t.detach().as_strided((t.numel(),), (1,)) for t in tensors])
    start = 0
    for tensor in tensors:
        tensor.data = memory.as_strided(tensor.shape, tensor.stride(), start)
        start += tensor.numel()
    return memory


def seen_as(memory: Tensor, like: Tensor) -> Tensor:
    """The part of a piece of memory that corresponds to the tensor's part of its own, laid out like it."""
    return memory.as_strided(like.shape, like.stride(), like.storage_offset())
