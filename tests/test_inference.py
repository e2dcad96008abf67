import logging

import numpy as np
import pytest
import torch

from etpick.config import PickingConfig
from etpick.data import WorkingVolume
from etpick.engine import TorchEngine, choose_device
from etpick.errors import EtpickError, InputError
from etpick.inference import PeakFinder, Scores, choose_tile, find, predict, search
from etpick.nn.networks import FastNet, PaperNet, fold_normalisation
from etpick.ops.labels import render_labels
from etpick.ops.normalise import Normalisation
from etpick.ops.suppression import suppress
from etpick.tiles import plan_tiles
from etpick.types import Tomogram

CPU = torch.device("cpu")


def volume(levels):
    return WorkingVolume(Tomogram(np.asarray(levels, np.float32), 10.0), 10.0, Normalisation(0.0, 1.0, 5.0))


class Echo(torch.nn.Module):
    """A 'network' whose foreground is the logistic of the image itself, at half resolution."""

    stride, tile_size, classes = 2, None, 1

    def forward(self, image):
        logit = torch.nn.functional.avg_pool3d(image, 2)
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def stitched(v, network, tile, halo):
    slabs = list(predict(v, TorchEngine(network, CPU), plan_tiles(v.shape, tile, halo)))
    return torch.cat([s.foreground for s in slabs]).numpy()


@pytest.mark.parametrize("tile", [(40, 40, 40), (48, 96, 40), (200, 200, 200)])
def test_constant_in_is_constant_out(tile):
    out = stitched(volume(np.full((50, 61, 70), 0.7)), Echo(), tile, 8)
    assert out.shape == (25, 31, 35)
    assert out == pytest.approx(1 / (1 + np.exp(-0.7)), abs=1e-6)


def test_tiles_stitch_to_what_one_tile_gives():
    levels = np.random.default_rng(0).normal(size=(50, 61, 70))
    whole = stitched(volume(levels), Echo(), (72, 80, 88), 8)
    assert stitched(volume(levels), Echo(), (40, 48, 32), 8) == pytest.approx(whole, abs=1e-6)


def test_a_real_network_leaves_no_seam():
    """Within the halo's reach the network itself decides; no edge of a tile shows."""
    torch.manual_seed(0)
    network = FastNet(2)
    for _ in range(3):
        network(torch.randn(2, 1, 32, 32, 32))
    network = fold_normalisation(network)
    levels = np.random.default_rng(0).normal(size=(48, 64, 104))
    whole = stitched(volume(levels), network, (112, 128, 168), 32)
    tiled = stitched(volume(levels), network, (112, 128, 96), 32)
    assert np.abs(tiled - whole).max() < 0.02 * (whole.max() - whole.min())


def found_by(v, network, tile, finder):
    depth = -(-v.shape[0] // 2)
    found = find(predict(v, TorchEngine(network, CPU), plan_tiles(v.shape, tile, 8)), depth, finder)
    return found.select(suppress(found.positions, found.raw, np.full(len(found.raw), 6.0)))


def spots(centres, shape=(60, 64, 68), diameter=8.0):
    labels = render_labels(
        np.array(centres), np.ones(len(centres), int), np.full(len(centres), diameter), shape, kind="ball"
    )
    return np.where(labels > 0, 6.0, -6.0)


CENTRES = [(12.0, 12.5, 13.0), (29.5, 30.0, 40.5), (47.0, 50.0, 20.0), (3.0, 60.0, 64.0), (58.0, 5.0, 33.0)]


def test_particles_come_back_whatever_the_tiles_even_on_seams_and_edges():
    v = volume(spots(CENTRES))
    finder = PeakFinder(8.0, 2, 0.1)
    results = []
    for tile in ((32, 32, 32), (40, 96, 48), (96, 96, 104)):
        found = found_by(v, Echo(), tile, finder)
        error = np.linalg.norm(found.positions[:, None] - np.array(CENTRES)[None], axis=-1)
        assert len(found.positions) == len(CENTRES)
        assert error.min(axis=0).max() < 1.0
        results.append(found)
    for other in results[1:]:
        order, same = (np.lexsort(r.positions.T) for r in (other, results[0]))
        assert other.positions[order] == pytest.approx(results[0].positions[same], abs=1e-5)
        assert other.raw[order] == pytest.approx(results[0].raw[same], abs=1e-5)


def test_the_binary_variant_pools_the_thresholded_map():
    v = volume(spots(CENTRES) / 12)  # scores of 0.62 and 0.38
    soft = found_by(v, Echo(), (96, 96, 104), PeakFinder(8.0, 2, 0.2))
    hard = found_by(v, Echo(), (96, 96, 104), PeakFinder(8.0, 2, 0.2, binary=True))
    assert len(hard.positions) == len(CENTRES)
    assert len(soft.positions) > len(CENTRES)  # a level of 0.38 everywhere has maxima, below ½ they vanish


@pytest.mark.parametrize("edge", [32, 40, 56])
def test_slab_borders_neither_lose_nor_double_a_maximum(edge):
    rng = np.random.default_rng(0)
    v = volume(rng.normal(size=(150, 40, 40)))
    finder = PeakFinder(8.0, 2, 0.1)

    def maxima(tile):
        found = find(predict(v, TorchEngine(Echo(), CPU), plan_tiles(v.shape, tile, 8)), 75, finder)
        return {tuple(p) for p in found.positions.round(4)}, len(found.raw)

    whole, count = maxima((168, 56, 56))
    assert maxima((edge, 56, 56)) == (whole, count)
    assert count == len(whole) > 50


def test_slabs_appended_are_the_whole():
    rng = np.random.default_rng(0)
    parts = [
        Scores(z, torch.from_numpy(rng.random((4, 5, 6))).float(), torch.from_numpy(rng.random((2, 4, 5, 6))).half())
        for z in (0, 4)
    ]
    both = parts[0] + parts[1]
    assert both.stop == 8
    assert (both.tail(6).foreground == parts[1].foreground[2:]).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card here")
def test_a_card_gives_the_picks_of_the_processor():
    v, finder = volume(spots(CENTRES)), PeakFinder(8.0, 2, 0.1)
    here, there = (search(v, TorchEngine(Echo(), d), finder, PickingConfig()) for d in (CPU, choose_device("cuda")))
    assert there.positions == pytest.approx(here.positions, abs=0.1)
    assert there.raw == pytest.approx(here.raw, abs=1e-2)


class Hungry(Echo):
    """Runs out of memory on tiles above a size, as a card would."""

    def forward(self, image):
        if image.numel() > 60**3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return super().forward(image)


def test_out_of_memory_goes_on_with_smaller_tiles_and_says_so(caplog, monkeypatch):
    v = volume(spots(CENTRES))
    finder = PeakFinder(8.0, 2, 0.1)
    with caplog.at_level(logging.WARNING):
        found = search(v, TorchEngine(Hungry(), CPU), finder, PickingConfig(tile_vx=96))
    assert len(found.positions) >= len(CENTRES)
    assert "out of memory with tiles of (96, 96, 96)" in caplog.text


def test_other_failures_are_not_taken_for_lack_of_memory():
    class Broken(Echo):
        def forward(self, image):
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        search(volume(spots(CENTRES)), TorchEngine(Broken(), CPU), PeakFinder(8.0, 2, 0.1), PickingConfig(tile_vx=64))


class Sized:
    """A volume of which only the size matters."""

    def __init__(self, shape, density=1.0):
        self.shape, self.density = shape, density


def test_the_tile_fits_memory_and_the_paper_network_keeps_its_own(monkeypatch):
    class Memory:
        available = 4_000_000_000

    monkeypatch.setattr("etpick.engine.psutil.virtual_memory", lambda: Memory)

    def tile(shape, network, density=1.0, **options):
        return choose_tile(Sized(shape, density), TorchEngine(network, CPU), PickingConfig(**options))

    large = tile((200, 512, 512), FastNet(3))
    assert np.prod(large) * 160 <= 1_000_000_000
    assert np.prod(tile((200, 512, 512), FastNet(3), density=64.0)) < np.prod(large) / 3  # bin 4: 64 voxels for one
    assert tile((50, 50, 50), FastNet(3)) == (56, 56, 56)
    deep = tile((1000, 2000, 2000), FastNet(50))
    assert deep[0] * 2000 * 2000 / 8 * (4 + 2 * 50) < 4_000_000_000  # a slab of 50 classes is not kept whole
    assert tile((200, 512, 512), PaperNet(3)) == (72, 72, 72)
    with pytest.raises(InputError, match="tiles of 72 voxels, not 96"):
        tile((200, 512, 512), PaperNet(3), tile_vx=96)


@pytest.mark.parametrize("name", ["cuda:99", "gpu9", "meta"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(EtpickError, match=name):
        choose_device(name)


def test_of_a_flat_top_the_middle_is_found():
    foreground = torch.zeros(24, 24, 24)
    foreground[4:17, 5:18, 6:19] = 1.0
    found = PeakFinder(8.0, 2, 0.1, binary=True)(Scores(0, foreground, foreground[None].half()), 0, 24)
    assert found.positions == pytest.approx(np.array([[20.5, 22.5, 24.5]]))  # 2j + ½
