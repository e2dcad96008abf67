import pytest
import torch
import torch.nn.functional as F

from etpick.nn.losses import dice_loss, weighted_loss

LABELS = torch.zeros(1, 6, 6, 6, dtype=torch.long)
LABELS[0, 1:3, 1:3, 1:3] = 1
LABELS[0, 4:, 4:, 4:] = 2
ONES = torch.ones(1, 6, 6, 6)
LOSSES = [dice_loss, lambda *a: weighted_loss(*a, foreground_weight=5.0, class_weight=0.5)]


def logits_for(labels, sharpness=20.0):
    return sharpness * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()


@pytest.mark.parametrize("loss", LOSSES)
def test_truth_costs_nothing_and_errors_cost_more_the_more_there_are(loss):
    perfect = loss(logits_for(LABELS), LABELS, ONES)
    one_wrong, all_wrong = LABELS.clone(), torch.zeros_like(LABELS)
    one_wrong[0, 1, 1, 1] = 0
    values = [float(loss(logits_for(guess), LABELS, ONES)) for guess in (one_wrong, all_wrong)]
    assert float(perfect) == pytest.approx(0, abs=1e-3)
    assert 1e-3 < values[0] < values[1]


@pytest.mark.parametrize("loss", LOSSES)
def test_unknown_voxels_do_not_count(loss):
    guess = LABELS.clone()
    guess[0, 0] = 2
    known = ONES.clone()
    known[0, 0] = 0
    assert float(loss(logits_for(guess), LABELS, known)) == pytest.approx(0, abs=1e-3)
    assert float(loss(logits_for(guess), LABELS, ONES)) > 0.05


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("known", [0.0, 0.7])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_weighted_loss_and_its_gradient_are_those_of_the_formula(classes, share, known, kind):
    """The formula voxel by voxel, by automatic differentiation. Of several classes the last is absent; bfloat16 lies in
    memory as convolutions leave it."""
    draw = torch.Generator().manual_seed(classes)
    logits = (3 * torch.randn(2, classes, 5, 6, 7, generator=draw)).to(kind)
    if kind == torch.bfloat16:
        logits = logits.to(memory_format=torch.channels_last_3d)
    labels = torch.randint(1, max(classes - 1, 2), (2, 5, 6, 7), generator=draw)
    labels[torch.rand(labels.shape, generator=draw) >= share] = 0
    weights = (torch.rand(labels.shape, generator=draw) < known).float()

    def tversky(p, g):
        hit = (p * g).sum()
        return 1 - (hit + 1) / (hit + 0.3 * (p.sum() - hit) + 0.7 * (g.sum() - hit) + 1)

    def formula(logits):
        logits = logits.double()
        p = logits.softmax(1) * weights[:, None]
        g = F.one_hot(labels, classes).movedim(-1, 1) * weights[:, None]
        each = weights * torch.where(labels > 0, 5.0, 1.0)
        total = (each * F.cross_entropy(logits, labels, reduction="none")).sum() / each.sum().clamp_min(1)
        present = [c for c in range(1, classes) if g[:, c].any()]
        total = total + sum(tversky(p[:, c], g[:, c]) for c in present) / max(len(present), 1)
        total = total + tversky(p[:, 1:].sum(1), g[:, 1:].sum(1))
        learnt = (labels > 0) & (weights > 0)
        if classes > 2 and learnt.any():
            kinds = logits[:, 1:].movedim(1, -1)[learnt]
            total = total + 0.5 * F.cross_entropy(kinds, labels[learnt] - 1)
        return total

    gradients, values = [], []
    for loss in (formula, lambda x: weighted_loss(x, labels, weights, foreground_weight=5.0, class_weight=0.5)):
        x = logits.clone().requires_grad_(True)
        value = 2 * loss(x)
        gradients.append(torch.autograd.grad(value, x)[0])
        values.append(float(value.detach()))
    assert values[0] == pytest.approx(values[1], rel=1e-5, abs=1e-6)
    assert gradients[1].stride() == logits.stride()
    error = (gradients[0].double() - gradients[1].double()).abs().max()
    assert error <= (1e-5 if kind == torch.float32 else 1e-2) * gradients[0].abs().max()


def test_dice_is_the_published_formula():
    p = torch.rand(2, 3, 4, 4, 4).softmax(1)
    labels = torch.randint(0, 3, (2, 4, 4, 4))
    g = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    by_class = [
        1 - (2 * (p[:, c] * g[:, c]).sum() + 2e-8) / ((p[:, c] ** 2).sum() + (g[:, c] ** 2).sum() + 1e-8)
        for c in (1, 2)
    ]
    assert float(dice_loss(p.log(), labels, torch.ones(2, 4, 4, 4))) == pytest.approx(
        float(sum(by_class) / 2), abs=1e-5
    )


def test_taking_one_class_for_another_costs_more_the_more_telling_them_apart_weighs():
    guess = LABELS.clone()
    guess[LABELS == 2] = 1
    logits = logits_for(guess, sharpness=4.0)
    plain, half, whole = (
        float(weighted_loss(logits, LABELS, ONES, foreground_weight=5.0, class_weight=w)) for w in (0.0, 0.5, 1.0)
    )
    given = torch.tensor([[4.0, 0.0]]).log_softmax(1)[0]  # right for the 8 voxels of class 1, wrong for the 8 of 2
    assert half - plain == pytest.approx(-0.5 * float(given.mean()), rel=1e-4)
    assert whole - plain == pytest.approx(2 * (half - plain), rel=1e-4)
    missed = logits_for(torch.zeros_like(LABELS))  # no class preferred: the term says nothing about missing
    a, b = (float(weighted_loss(missed, LABELS, ONES, foreground_weight=5.0, class_weight=w)) for w in (0.0, 1.0))
    assert b - a == pytest.approx(0.6931, abs=1e-3)
