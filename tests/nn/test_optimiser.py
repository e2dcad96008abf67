import copy

import pytest
import torch

from etpick.nn.networks import FastNet, Network, on_device
from etpick.nn.optimiser import Optimiser, seen_as

RATE = 1e-2


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return on_device(FastNet(3, widths=(8, 16, 24)), torch.device("cpu"))


def learn(network: Network, optimiser: Optimiser, seed: int) -> None:
    image = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(seed))
    optimiser.step(torch.autograd.grad(network(image).square().mean(), optimiser.weights), RATE)


def test_inner_convolutions_move_as_far_in_every_direction(network: Network) -> None:
    optimiser = Optimiser(network, muon=True, weight_decay=0.0)
    weight = network.encoder[1].residual.first.conv.weight
    before = weight.detach().clone()
    learn(network, optimiser, 0)
    moved = torch.linalg.svdvals((weight.detach() - before).flatten(1))
    assert moved.numel() == 16
    assert moved.max() / moved.min() < 2.5  # the gradient's own spread is in the thousands
    assert moved.mean() == pytest.approx(0.2 * RATE * (16 * 27) ** 0.5, rel=0.3)  # the size of AdamW's steps


@pytest.mark.parametrize("muon", [True, False])
def test_every_weight_learns(network: Network, muon: bool) -> None:
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    learn(network, Optimiser(network, muon=muon, weight_decay=0.0), 0)
    for name, p in network.named_parameters():
        assert not torch.equal(p, before[name]), name


def test_weights_move_as_by_adamw_however_their_gradients_lie_in_memory(network: Network) -> None:
    other = copy.deepcopy(network)
    ours = Optimiser(network, muon=False, weight_decay=0.1)
    theirs = torch.optim.AdamW(other.parameters(), lr=RATE, weight_decay=0.1)
    draw = torch.Generator().manual_seed(0)
    for layout in (torch.channels_last_3d, torch.contiguous_format, torch.channels_last_3d):
        gradients = [torch.randn(weight.shape, generator=draw) for weight in ours.weights]
        for weight, gradient in zip(other.parameters(), gradients, strict=True):
            weight.grad = gradient.clone()
        ours.step([g.to(memory_format=layout) if g.ndim == 5 else g for g in gradients], RATE)
        theirs.step()
    for (name, mine), plain in zip(network.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, plain, msg=name)


@pytest.mark.parametrize("muon", [True, False])
def test_one_piece_of_memory_holds_all_that_is_learnt(network: Network, muon: bool) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    memory = Optimiser(network, muon=muon, weight_decay=0.0).memory
    twice, state = 2 * memory, network.state_dict()
    learnt = [name for name, value in state.items() if value.is_floating_point()]
    assert len(memory) == sum(state[name].numel() for name in learnt)
    for name, value in state.items():
        assert torch.equal(value, before[name]), name
    for name in learnt:
        assert torch.equal(seen_as(twice, state[name]), 2 * before[name]), name
    network(torch.randn(2, 1, 16, 16, 16))  # changes the statistics
    memory.mul_(0)
    assert not any(state[name].any() for name in learnt)


@pytest.mark.parametrize("muon", [True, False])
def test_a_restored_optimiser_takes_the_same_steps(network: Network, muon: bool) -> None:
    optimiser = Optimiser(network, muon=muon, weight_decay=0.01)
    learn(network, optimiser, 0)
    other = on_device(copy.deepcopy(network), torch.device("cpu"))
    restored = Optimiser(other, muon=muon, weight_decay=0.01)
    restored.load({name: value.clone() for name, value in optimiser.state().items()})
    learn(network, optimiser, 1)
    learn(other, restored, 1)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_weights_in_another_layout_are_refused_rather_than_copied() -> None:
    with pytest.raises(RuntimeError, match="view"):
        Optimiser(FastNet(3, widths=(8, 16, 24)), muon=True, weight_decay=0.0)
