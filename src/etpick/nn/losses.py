"""Losses over softmax scores; class 0 is background."""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from etpick.nn.networks import by_class

FALSE_POSITIVE_WEIGHT: Final = 0.3  # Tversky's α and β: a missed voxel costs more than a spurious one
FALSE_NEGATIVE_WEIGHT: Final = 0.7
_EPSILON: Final = 1e-8


def weighted_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, *, foreground_weight: float, class_weight: float
) -> Tensor:
    """Weighted cross-entropy + Tversky loss of the classes present + Tversky loss of all particles as one
    + `class_weight` × cross-entropy of the class, given a particle, over labelled voxels.

    logits: (b, 1 + classes, z, y, x). labels: (b, z, y, x) class numbers. weights: (b, z, y, x), 1, or 0 where
    nothing is known. The last term is there because labels fill about a hundredth of the volume, so that the
    first hardly asks which class a particle is.
    """
    loss: Tensor = _Weighted.apply(logits, labels, weights, foreground_weight, class_weight)  # type: ignore[no-untyped-call]
    return loss


class _Weighted(torch.autograd.Function):
    """The loss with a gradient of its own, whose arrays are (classes, voxels) and few.

    Every known voxel has a share in the cross-entropy and in how much is found of each class; few are labelled, and
    what concerns these alone is computed for these alone.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, weights: Tensor, foreground_weight: float, class_weight: float
    ) -> Tensor:
        x, truth, known = by_class(logits), labels.flatten()[None], weights.flatten()
        labelled = ((truth[0] > 0) & (known > 0)).nonzero()[:, 0]
        true = truth[:, labelled]

        log_p = F.log_softmax(x, dim=0)
        share = known * torch.where(truth[0] > 0, foreground_weight, 1.0)
        share /= share.sum().clamp_min(1)
        loss: Tensor = -(log_p.gather(0, truth)[0] @ share)
        p = log_p.exp_()

        missing, slope, gain = _tversky(p @ known, p[:, labelled], true)
        loss = loss + missing
        gradient = torch.addr((share - known * (slope @ p)).expand_as(p), slope, known).mul_(p)
        gradient.scatter_add_(0, truth, -share[None])

        if class_weight and len(x) > 2:
            given = F.log_softmax(x[1:, labelled], dim=0)
            each = class_weight / max(len(labelled), 1)
            loss = loss - each * given.gather(0, true - 1).sum()
            gain[1:] += each * given.exp()
            gain.scatter_add_(0, true, torch.full_like(gain[:1], -each))
        gradient.index_add_(1, labelled, gain)

        like_logits = torch.empty_like(logits)
        like_logits.movedim(1, 0).copy_(gradient.view(like_logits.movedim(1, 0).shape))
        ctx.save_for_backward(like_logits)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.saved_tensors[0] * gradients[0], None, None, None, None


def _tversky(found: Tensor, p: Tensor, true: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tversky losses, 1 − (hit + 1) / (hit + α·spurious + β·missed + 1): their mean over the classes present plus that
    of all particles as one.

    found: (1 + classes,) sums of p over known voxels. p: (1 + classes, n) of the labelled voxels, and their classes
    true: (1, n). Gives the loss, its slope (1 + classes,) by p in any known voxel, and what its gradient by the logits
    (1 + classes, n) of the labelled voxels has besides.
    """
    found, (there, hit) = found.clone(), found.new_zeros(2, len(found))
    there.index_add_(0, true[0], torch.ones_like(p[0]))
    hit.index_add_(0, true[0], p.gather(0, true)[0])
    found[0], there[0], hit[0] = found[1:].sum(), p.shape[1], p[1:].sum()  # in the first place all particles as one
    share = (there > 0) / (there[1:] > 0).sum().clamp_min(1)
    share[0] = 1
    union = FALSE_POSITIVE_WEIGHT * found + FALSE_NEGATIVE_WEIGHT * there + 1  # α + β = 1: hits drop out
    overlap = (hit + 1) / union
    slope = FALSE_POSITIVE_WEIGHT * share * overlap / union
    slope[1:] += slope[0].clone()
    slope[0] = 0
    by_p = torch.zeros_like(p)  # of a labelled voxel: by its class, and by all particles as one
    by_p[1:] = -1 / union[0]
    by_p.scatter_add_(0, true, -(share / union)[true])
    return (share * (1 - overlap)).sum(), slope, p * (by_p - (p * by_p).sum(dim=0))


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
