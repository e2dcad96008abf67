"""Losses over softmax scores; class 0 is background."""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

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
    """The loss and its gradient in one go, in less than half the time of automatic differentiation.

    Voxels are columns, of which few are labelled; only these have more than one term.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, weights: Tensor, foreground_weight: float, class_weight: float
    ) -> Tensor:
        x, truth, known = by_class(logits), labels.flatten()[None], weights.flatten()
        classes = len(x)
        at = ((truth[0] > 0) & (known > 0)).nonzero()[:, 0]
        true = truth[:, at]

        log_p = F.log_softmax(x, dim=0)
        asked = known * torch.where(truth[0] > 0, foreground_weight, 1.0)
        asked /= asked.sum().clamp_min(1)
        loss = -(log_p.gather(0, truth)[0] @ asked)
        p = log_p.exp_()

        # Tversky: (hit + 1) / (hit + α·spurious + β·missed + 1), of each class and, in the first place, of all together
        q = p[:, at]
        found, there, hit = p @ known, *x.new_zeros(2, classes)
        there.index_add_(0, true[0], torch.ones_like(q[0]))
        hit.index_add_(0, true[0], q.gather(0, true)[0])
        found[0], there[0], hit[0] = found[1:].sum(), len(at), q[1:].sum()
        share = (there > 0) / (there[1:] > 0).sum().clamp_min(1)
        share[0] = 1
        union = FALSE_POSITIVE_WEIGHT * found + FALSE_NEGATIVE_WEIGHT * there + 1  # α + β = 1: hits drop out
        overlap = (hit + 1) / union
        loss = loss + (share * (1 - overlap)).sum()

        # by p: `slope` wherever something is known; in particles −share/union more for their class and for all together
        spurious = FALSE_POSITIVE_WEIGHT * share * overlap / union
        slope = spurious + spurious[0]
        slope[0] = 0
        gained = torch.zeros_like(q)
        gained[1:] = -1 / union[0]
        gained.scatter_add_(0, true, -(share / union)[true])
        special = q * (gained - (q * gained).sum(dim=0))

        if class_weight and classes > 2:
            given = F.log_softmax(x[1:, at], dim=0)
            each = class_weight / max(len(at), 1)
            loss = loss - each * given.gather(0, true - 1).sum()
            special[1:] += each * given.exp()
            special.scatter_add_(0, true, torch.full_like(q[:1], -each))

        gradient = torch.addr((asked - known * (slope @ p)).expand_as(p), slope, known).mul_(p)
        gradient.scatter_add_(0, truth, -asked[None])
        gradient.index_add_(1, at, special)
        ctx.save_for_backward(torch.empty_like(logits).copy_(gradient.view(logits.movedim(1, 0).shape).movedim(0, 1)))
        total: Tensor = loss
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.saved_tensors[0] * gradients[0], None, None, None, None


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
