from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from etpick.config import recipe
from etpick.data import Resident, Sampler, Source, Window, WorkingVolume, make_source, open_volume, resident
from etpick.ops.normalise import Normalisation
from etpick.types import COLORS, Box, Dataset, ParticleClass, Particles, Tomogram

PLAIN = Normalisation(0.0, 1.0, 5.0)
CLASSES = (ParticleClass("big", 200.0), ParticleClass("small", 80.0))


def volume(shape=(40, 50, 60), spacing_A=10.0, working_A=10.0, seed=0):
    levels = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return WorkingVolume(Tomogram(levels, spacing_A), working_A, PLAIN)


VOLUME = volume()
REFLECTED = np.pad(VOLUME.tomogram.data, 130, mode="symmetric")
boxes = st.tuples(*[st.integers(-70, 60)] * 3, *[st.integers(1, 50)] * 3)


@given(boxes)
def test_a_box_is_the_reflected_volume_wherever_it_lies(b):
    v = VOLUME
    box = Box(b[:3], tuple(a + n for a, n in zip(b[:3], b[3:], strict=True)))
    expected = REFLECTED[tuple(slice(a + 130, z + 130) for a, z in zip(box.start, box.stop, strict=True))]
    assert v.read(box) == pytest.approx(np.clip(expected, -5, 5))


@pytest.mark.parametrize("working_A", [5.0, 8.0, 17.0])
def test_a_rescaled_box_is_a_cut_of_the_rescaled_volume(working_A):
    v = volume(working_A=working_A)
    whole = v.read(Box((0, 0, 0), v.shape))
    assert v.read(Box((3, 5, 2), (11, 20, 19))) == pytest.approx(whole[3:11, 5:20, 2:19], abs=1e-5)
    positions = np.array([[1.5, 7.25, 30.0]])
    assert v.to_file(v.to_working(positions)) == pytest.approx(positions)


@pytest.mark.parametrize("working_A", [5.0, 13.0])
def test_a_blob_is_where_the_rescaled_position_says(working_A):
    at = np.array([19.6, 24.2, 31.7])
    grid = np.indices((40, 50, 60))
    blob = np.exp(-((grid - at[:, None, None, None]) ** 2).sum(0) / 18).astype(np.float32)
    v = WorkingVolume(Tomogram(blob, 10.0), working_A, PLAIN)
    image = v.read(Box((0, 0, 0), v.shape))
    mass = (np.indices(image.shape) * image).sum((1, 2, 3)) / image.sum()
    assert mass == pytest.approx(v.to_working(at[None])[0], abs=0.1)


@pytest.mark.parametrize("native_A", [2.5, 5.0, 9.0, 10.2, 13.0])
def test_grey_levels_have_unit_variance_on_the_working_grid(native_A):
    """Averaging takes variance from noise; a network must not see paler tomograms because files are finer."""
    levels = np.random.default_rng(0).normal(7, 3, (80, 96, 96)).astype(np.float32)
    v = open_volume(Tomogram(levels, native_A), 10.0, recipe())
    image = v.read(Box((0, 0, 0), v.shape))
    assert image[2:-2, 2:-2, 2:-2].std() == pytest.approx(1.03, abs=0.12)  # σ is that of the central 99 %
    assert abs(image.mean()) < 0.05


def test_nearly_equal_grids_are_not_interpolated():
    v = volume(spacing_A=10.2)
    assert v.shape == v.tomogram.shape
    assert (v.read(Box((0, 0, 0), v.shape)) == np.clip(v.tomogram.data, -5, 5)).all()


def test_a_window_has_the_volume_around_it():
    v = volume()
    window = Window(v, Box((10, 10, 10), (20, 30, 40)))
    assert window.shape == (10, 20, 30)
    assert window.read(Box((-4, 0, 0), (2, 3, 4))) == pytest.approx(v.read(Box((6, 10, 10), (12, 13, 14))))


def sampler(**changes):
    rng = np.random.default_rng(0)
    sources = []
    for seed in range(2):
        v = volume((64, 64, 64), seed=seed)
        big, small = rng.uniform(5, 58, (4, 3)), rng.uniform(5, 58, (9, 3))
        particles = Particles(np.concatenate([big, small]), np.array(["big"] * 4 + ["small"] * 9))
        sources.append(make_source(v, particles, CLASSES))
    config = recipe("fast", patch_vx=32, batch=2, **changes)
    return Sampler(sources, np.array([20.0, 8.0]), config, 2, np.zeros((0, 4)), (32, 2))


def test_subtomograms_hold_the_widest_particle_and_a_step_as_many_voxels_whatever_their_size():
    config = recipe("fast")
    sizes = [config.sized(w, 10_000, 1000) for w in (6.0, 20.0, 28.0, 90.0)]
    assert sizes == [(24, 32), (24, 32), (40, 7), (48, 4)]
    assert recipe("fast", patch_vx=32, batch=3).sized(90.0, 10_000, 1000) == (32, 3)
    assert recipe("fast", patch_vx=96).sized(20.0, 10_000, 1000) == (96, 1)
    assert recipe("fast", batch=8).sized(20.0, 10_000, 1000) == (48, 8)


def test_labels_are_not_shown_over_and_over():
    config = recipe("fast")
    assert [config.sized(20.0, labels, 2000)[0] for labels in (2340, 2000, 390, 0)] == [24, 48, 48, 48]
    assert [config.sized(20.0, 2340, steps)[0] for steps in (2193, 2194, 20_000)] == [24, 48, 48]
    assert [recipe("fast", epochs=n).sized(20.0, 390, None)[0] for n in (20.0, 60.0)] == [24, 48]


def test_every_label_is_used_and_classes_take_turns():
    s = sampler(background_share=0.0, hard_share=0.0)
    draws = [s._particle(i) for i in range(2 * 18)]
    numbers = [int(s.sources[a].labels[i]) for a, i in draws]
    assert numbers.count(1) == numbers.count(2)
    assert len(set(draws)) == 8 + 18  # all 8 big ones (twice or more) and all 18 small ones, once


def test_the_draw_of_a_step_depends_on_nothing_else():
    again = [sampler().batch(7) for _ in range(2)]
    other = sampler(seed=1).batch(7)
    assert all((a.block == b.block).all() and (a.labels == b.labels).all() for a, b in zip(*again, strict=True))
    assert any(
        a.block.shape != b.block.shape or (a.block != b.block).any() for a, b in zip(again[0], other, strict=True)
    )


def test_places_outside_the_tomogram_and_held_out_are_not_learnt():
    v = volume((64, 64, 64))
    source = Source(v, np.array([[32.0, 32, 32]]), np.array([1]), held_out=Box((0, 0, 40), (64, 64, 64)))
    s = Sampler([source], np.array([20.0]), recipe("fast", background_share=0.0), 2, np.zeros((0, 4)), (32, 2))
    for step in range(12):
        for patch in s.batch(step):
            points = np.indices(patch.weights.shape).reshape(3, -1).T * 2 + 0.5
            origins = patch.warp.to_source(points) + patch.place
            known = Box((0, 0, 0), (64, 64, 40)).contains(origins)
            assert (patch.weights.reshape(-1) == known).all()


def test_a_label_sits_where_its_particle_is_cut():
    s = sampler(background_share=0.0)
    seen = 0
    for step in range(10):
        for patch in s.batch(step):
            source = s.sources[patch.source]
            targets = patch.warp.to_target(source.positions - patch.place)
            inside = ((targets > 3) & (targets < 28)).all(axis=1)
            for target in targets[inside]:
                assert patch.labels[tuple(np.rint((target - 0.5) / 2).astype(int))] > 0
            seen += int(inside.sum())
    assert seen > 20


def test_a_volume_held_whole_reads_as_the_file_does_beyond_its_faces_too():
    levels = np.random.default_rng(0).normal(size=(21, 30, 40)).astype(np.float32)
    volume = open_volume(Tomogram(levels, 10.0), 10.0, recipe())
    whole = Box((0, 0, 0), volume.shape)
    there = Resident(torch.from_numpy(volume.read(whole)), 1.0)
    assert there.shape == volume.shape
    for box in (whole, Box((3, 4, 5), (9, 8, 7)), Box((-3, 20, 35), (24, 36, 48))):
        assert (there.read(box).numpy() == volume.read(box)).all()
    middles = np.array([[0, 5, 39], [10, 11, 12]])
    for middle, cube in zip(middles, there.cubes(middles, 12).numpy(), strict=True):
        assert (cube == volume.read(Box((*(middle - 6),), (*(middle + 6),)))).all()


def test_a_volume_too_large_for_a_card_stays_in_its_file(monkeypatch):
    monkeypatch.setattr("etpick.data.free_bytes", lambda device: 1000)
    volume = open_volume(Tomogram(np.random.default_rng(0).normal(size=(20, 20, 20)), 10.0), 10.0, recipe())
    assert resident(volume, torch.device("cuda")) is volume


def test_classes_given_in_one_colour_get_their_own():
    kinds = [ParticleClass("a", 100.0), ParticleClass("b", 100.0), ParticleClass("c", 100.0, "#377eb8")]
    data = Dataset((*kinds, ParticleClass("d", 100.0)))
    colors = [kind.color for kind in data.classes]
    assert colors[0] == kinds[0].color and colors[2] == "#377eb8" and len(set(colors)) == 4
    assert replace(data, partial_labels=True).classes == data.classes
    many = Dataset(tuple(ParticleClass(str(n), 100.0) for n in range(20)))
    assert len({kind.color for kind in many.classes}) == len(COLORS)
    assert replace(many, partial_labels=True).classes == many.classes
