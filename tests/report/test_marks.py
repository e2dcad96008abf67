import base64
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from etpick.report import embed
from etpick.report.marks import busiest_slices, mark
from etpick.report.slices import STATE_COLORS, colors_of, draw_marks, draw_slices, round_length_nm, slab
from etpick.types import ParticleClass, Particles, Tomogram

CLASSES = [ParticleClass("big", 160), ParticleClass("small", 80)]  # radii of 8 and 4 voxels at 10 Å
TRUTH = Particles(np.array([[16.0, 10, 10], [16, 40, 40], [40, 20, 20]]), np.array(["big", "small", "small"]))
PICKS = Particles(
    np.array([[16.0, 10, 12], [16, 40, 41], [16, 10, 40]]),
    np.array(["big", "big", "small"]),
    np.array([0.9] * 3),
)


class Watched:
    """A volume that remembers which slices of z were read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.read = data, 0
        self.shape, self.dtype = data.shape, data.dtype

    def __getitem__(self, key: slice) -> np.ndarray:
        part = self.data[key]
        self.read += len(part)
        return part


def noise(shape: tuple[int, int, int] = (48, 56, 64)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_states_by_hand() -> None:
    marks = mark(PICKS, TRUTH, CLASSES, 10.0)
    assert marks.states.tolist() == ["right", "other class", "wrong", "missed"]
    assert marks.radii.tolist() == [8, 8, 4, 4]
    np.testing.assert_array_equal(marks.positions[3], [40, 20, 20])


def test_without_truth_every_pick_is_just_a_pick() -> None:
    assert set(mark(PICKS, None, CLASSES, 10.0).states) == {"pick"}


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 30), count=st.integers(1, 4))
def test_chosen_slices_cut_particles_and_lie_a_diameter_apart(seed: int, n: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    picks = Particles(rng.uniform(0, 63, (n, 3)), rng.choice(["big", "small"], n))
    marks = mark(picks, None, CLASSES, 10.0)
    chosen = busiest_slices(marks, 64, count)
    assert 1 <= len(chosen) <= count
    assert chosen == sorted(chosen)
    cut = [(np.abs(marks.positions[:, 0] - z) < marks.radii).sum() for z in range(64)]
    if n:
        assert max(cut) == max(cut[z] for z in chosen)
        assert all(cut[z] > 0 for z in chosen)
        assert (np.diff(chosen) >= 2 * marks.radii.max()).all()
    else:
        assert chosen == [32]


def test_circles_are_cuts_through_spheres() -> None:
    figure = draw_slices(Tomogram(noise(), 10.0), PICKS, TRUTH, CLASSES, slices=[16, 20])
    for axes, z in zip(figure.axes, (16, 20), strict=True):
        circles = [c for c in axes.collections if hasattr(c, "get_widths")]
        drawn = sorted(float(w) for c in circles for w in c.get_widths())
        radii = [8.0, 8.0, 4.0]
        expected = [2 * np.sqrt(max(r**2 - (z - 16) ** 2, 0)) for r in radii]
        assert drawn == pytest.approx(sorted(w for w in expected if w > 0))


def test_only_the_slices_shown_are_read() -> None:
    volume = Watched(noise((200, 32, 32)))
    draw_slices(Tomogram(volume, 10.0), PICKS, None, CLASSES, slices=[20])
    assert volume.read <= 5


@pytest.mark.parametrize("z", [0, 47])
def test_a_slab_is_stretched_to_0_1_whatever_the_outliers(z: int) -> None:
    data = noise()
    data[z, 0, 0] = 1e9
    image = slab(Tomogram(data, 10.0), z, 2)
    assert image.shape == (56, 64)
    assert (image.min(), image.max()) == (0, 1)
    assert 0.15 < image.std() < 0.4


def test_a_flat_tomogram_and_no_classes_can_be_drawn() -> None:
    figure = draw_slices(Tomogram(np.zeros((8, 16, 16), np.int8), 10.0), Particles.empty(), None, [])
    figure.savefig(BytesIO())
    assert [axes.get_title() for axes in figure.axes] == ["z = 4"]


@given(longest=st.floats(0.01, 1e5))
def test_the_scale_bar_has_a_round_length(longest: float) -> None:
    length = round_length_nm(longest)
    assert longest * 0.4 * (1 - 1e-6) < length <= longest * (1 + 1e-6)
    assert float(f"{length:e}".split("e")[0]) in (1, 2, 5)


def test_what_is_no_colour_becomes_grey() -> None:
    odd = [ParticleClass("a", 1, "red;background:url(//x)"), ParticleClass("b", 1, "red")]
    assert colors_of(odd) == {"a": "#888888", "b": "#ff0000"}


def test_a_lone_circle_keeps_its_colour_in_the_page() -> None:
    alone = Particles(np.array([[16.0, 28, 32]]), np.array("small"))
    marks = mark(Particles.empty(), alone, CLASSES, 10.0)
    markup = embed.png(draw_marks(Tomogram(noise((24, 200, 200)), 10.0), marks, CLASSES, [16]), "a slice")
    data = base64.b64decode(markup.split("base64,")[1].split('"')[0])
    pixels = np.asarray(Image.open(BytesIO(data)).convert("RGB")).reshape(-1, 3).astype(int)
    yellow = [int(STATE_COLORS["missed"][i : i + 2], 16) for i in (1, 3, 5)]
    assert np.abs(pixels - yellow).sum(axis=1).min() < 30
