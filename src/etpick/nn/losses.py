"""Losses over softmax scores; class 0 is background."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

FALSE_POSITIVE_WEIGHT: Final = 0.3  # Tversky's α and β: a missed voxel costs more than a spurious one
FALSE_NEGATIVE_WEIGHT: Final = 0.7
_EPSILON: Final = 1e-8


def weighted_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, *, foreground_weight: float, class_weight: float
) -> Tensor:
    """Weighted cross-entropy + Tversky loss of the classes present + Tversky loss of all particles as one
    + `class_weight` × cross-entropy of the class, given a particle, over labelled voxels.

    logits: (b, 1 + classes, z, y, x). labels: (b, z, y, x) class numbers. weights: (b, z, y, x), 0 where
    nothing is known. The last term is there because labels fill about a hundredth of the volume, so that the
    first hardly asks which class a particle is.
    """
    logits = logits.float()
    log_p = F.log_softmax(logits, dim=1)
    voxel_weights = weights * torch.where(labels > 0, foreground_weight, 1.0)
    picked = log_p.gather(1, labels[:, None])[:, 0]
    entropy = -(voxel_weights * picked).sum() / voxel_weights.sum().clamp_min(1)
    p = log_p.exp() * weights[:, None]
    g = _one_hot(labels, logits.shape[1]) * weights[:, None]
    by_class = _tversky(p[:, 1:], g[:, 1:])
    present = (g[:, 1:].sum(dim=(0, 2, 3, 4)) > 0).float()
    any_particle = _tversky(p[:, 1:].sum(1, keepdim=True), g[:, 1:].sum(1, keepdim=True))
    classes = ((1 - by_class) * present).sum() / present.sum().clamp_min(1)  # a card waits for no mask's answer
    loss = entropy + classes + (1 - any_particle).mean()
    if not class_weight or logits.shape[1] == 2:
        return loss
    labelled = weights * (labels > 0)
    given = F.log_softmax(logits[:, 1:], dim=1).gather(1, (labels - 1).clamp_min(0)[:, None])[:, 0]
    return loss - class_weight * (labelled * given).sum() / labelled.sum().clamp_min(1)


def dice_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The paper's loss: 1 − 2(Σ p·g + ε)/(Σ p² + Σ g² + ε), averaged over the particle classes.

    Shapes as for `weighted_loss`; sums run over the batch.
    """
    p = logits.float().softmax(dim=1)[:, 1:] * weights[:, None]
    g = _one_hot(labels, logits.shape[1])[:, 1:] * weights[:, None]
    axes = (0, 2, 3, 4)
    overlap = (p * g).sum(axes)
    return 1 - (2 * (overlap + _EPSILON) / (p.square().sum(axes) + g.square().sum(axes) + _EPSILON)).mean()


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1).to(torch.float32)


def _tversky(p: Tensor, g: Tensor) -> Tensor:
    axes = (0, 2, 3, 4)
    hit = (p * g).sum(axes)
    spurious, missed = p.sum(axes) - hit, g.sum(axes) - hit
    return (hit + 1) / (hit + FALSE_POSITIVE_WEIGHT * spurious + FALSE_NEGATIVE_WEIGHT * missed + 1)
