import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from etpick.nn.networks import NETWORKS, FastNet, PaperNet, _halved, by_class, fold_normalisation


def cost(network, edge):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.randn(1, 1, edge, edge, edge))
    return counter.get_total_flops() / 2 / edge**3, sum(p.numel() for p in network.parameters())


def test_the_paper_network_has_the_published_size():
    macs, parameters = cost(PaperNet(13), 72)
    assert parameters == pytest.approx(2.43e6, rel=0.005)
    assert macs == pytest.approx(146.5e3, rel=0.005)


def test_the_fast_network_costs_a_sixth():
    macs, parameters = cost(FastNet(13), 48)
    assert macs < 146.5e3 / 6
    assert parameters < 1.5e6


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("classes", [1, 3])
def test_any_size_in_eights_gives_scores_of_all_classes(name, classes):
    network = NETWORKS[name](classes).eval()
    with torch.no_grad():
        p = network(torch.randn(2, 1, 16, 24, 40)).softmax(1)
    s = network.stride
    assert p.shape == (2, classes + 1, 16 // s, 24 // s, 40 // s)
    assert torch.allclose(p.sum(1), torch.ones_like(p[:, 0]), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_the_normalisation_changes_nothing(name):
    torch.manual_seed(0)
    network = PaperNet(2, tile_size=24) if name == "paper" else FastNet(2)
    for _ in range(3):  # statistics that differ from the initial 0 and 1
        network(3 + 2 * torch.randn(2, 1, 16, 16, 16))
    x = torch.randn(1, 1, 24, 24, 24)
    with torch.no_grad():
        expected = network.eval()(x)
        assert torch.allclose(fold_normalisation(network)(x), expected, atol=1e-4)
        assert torch.allclose(fold_normalisation(network)(x), expected, atol=1e-4)  # once more changes nothing


def test_the_fast_network_answers_at_the_middle_of_two_voxels():
    """Mirroring the input mirrors the output: the half-resolution grid has no offset to one side."""
    torch.manual_seed(0)
    network = FastNet(1).eval()
    for p in network.parameters():  # a network without preferred direction
        if p.ndim == 5:
            p.data = (p.data + p.data.flip(2)) / 2
    first = network.encoder[0].entry.conv.weight  # its channels are the voxels of a 2×2×2 block, z slowest
    w = first.data.reshape(32, 2, 2, 2, 3, 3, 3)
    first.data = ((w + w.flip(1).flip(4)) / 2).reshape(32, 8, 3, 3, 3)
    x = torch.randn(1, 1, 32, 16, 16)
    with torch.no_grad():
        assert torch.allclose(network(x.flip(2)), network(x).flip(2), atol=1e-4)


def test_halving_is_pooling_and_keeps_precision_and_layout():
    image = torch.randn(2, 5, 4, 6, 8).to(memory_format=torch.channels_last_3d)
    one, other = (image.clone().requires_grad_() for _ in range(2))
    means, pooled = _halved(one), F.avg_pool3d(other, 2)
    assert torch.allclose(means, pooled, atol=1e-6)
    slopes = torch.randn(means.shape)
    for result in (means, pooled):
        result.backward(slopes)
    assert torch.equal(one.grad, other.grad)
    assert means.is_contiguous(memory_format=torch.channels_last_3d)
    assert _halved(image.bfloat16()).dtype == torch.bfloat16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer PyTorch traces otherwise; OpenVINO asks for this
        assert "avg_pool3d" in str(torch.jit.trace(_halved, image).graph)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_voxels_of_a_class_lie_side_by_side(layout, kind):
    logits = torch.randn(2, 3, 4, 5, 6).to(kind).to(memory_format=layout)
    rows = by_class(logits)
    assert rows.dtype == torch.float32
    assert rows.is_contiguous()
    for c in range(3):
        assert torch.equal(rows[c].view(2, 4, 5, 6), logits[:, c].float())
