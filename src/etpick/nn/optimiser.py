"""How weights follow their gradients: Muon for the inner convolutions, AdamW for all else, or AdamW for all."""

from __future__ import annotations

from collections.abc import Mapping
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
    """

    def __init__(self, network: Network, *, muon: bool, weight_decay: float) -> None:
        named = dict(network.named_parameters())
        self._inner = [p for n, p in named.items() if muon and p.ndim == 5 and not n.startswith(_OUTER)]
        # the same memory seen as matrices, since torch's Muon takes nothing else
        self._matrices = [nn.Parameter(_by_output(p.detach()).view(len(p), -1)) for p in self._inner]
        inner = {id(p) for p in self._inner}
        self._parts: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW([p for p in named.values() if id(p) not in inner], weight_decay=weight_decay)
        }
        if self._matrices:
            self._parts["muon"] = torch.optim.Muon(
                self._matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )

    def step(self, learning_rate: float) -> None:
        """Move the weights along the gradients that they hold, and drop these."""
        for matrix, weight in zip(self._matrices, self._inner, strict=True):
            matrix.grad = None if weight.grad is None else _by_output(weight.grad).flatten(1)
            weight.grad = None
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()
            part.zero_grad(set_to_none=True)

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
