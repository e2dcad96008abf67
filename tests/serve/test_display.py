"""Slices as bytes: the right slice, contrast that holds still, filters that do what they say."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from etpick.serve.display import PERCENTILES, Display, grey_table, show_slice
from etpick.serve.slices import encode
from etpick.types import Tomogram

RNG = np.random.default_rng(0)
NOISE = Tomogram(RNG.normal(100, 20, (24, 50, 60)).astype(np.float32), 8.0)


def shown(tomogram=NOISE, axis=0, index=10, **display):
    return show_slice(tomogram, axis, index, Display(**display), grey_table(tomogram)).astype(float)


@given(axis=st.integers(0, 2), share=st.floats(0, 0.999))
def test_a_slice_is_that_of_the_tomogram(axis, share):
    index = int(share * NOISE.shape[axis])
    plain = np.take(NOISE.data, index, axis=axis)
    image = shown(axis=axis, index=index, black=0.0, white=100.0)
    assert image.shape == plain.shape
    assert np.corrcoef(image.ravel(), plain.ravel())[0, 1] > 0.99


def test_contrast_is_the_tomograms_own_and_does_not_move_with_the_slice():
    ramp = Tomogram(np.broadcast_to(np.arange(30.0)[:, None, None], (30, 16, 16)).astype(np.float32), 10.0)
    means = [shown(ramp, index=i).mean() for i in range(30)]
    assert np.all(np.diff(means) >= 0)
    assert means[-1] - means[0] > 200


def test_the_percentiles_are_black_and_white():
    assert (shown(black=50.0) == 0).mean() == pytest.approx(0.5, abs=0.05)
    assert (shown(white=70.0) == 255).mean() == pytest.approx(0.3, abs=0.05)
    assert shown(invert=True) == pytest.approx(255 - shown())


def test_filters_take_noise_away():
    def roughness(image):
        return np.abs(np.diff(image, axis=1)).mean() / image.std()

    for smoother in ({"sigma_vx": 2.0}, {"lowpass_A": 80.0}):
        assert roughness(shown(**smoother)) < 0.5 * roughness(shown())
    thin, thick = (np.take(NOISE.data, range(10 - n, 11 + n), axis=0).mean(axis=0) for n in (0, 3))
    assert np.corrcoef(shown(slab=3).ravel(), thick.ravel())[0, 1] > 0.98
    assert np.corrcoef(shown(slab=3).ravel(), thin.ravel())[0, 1] < 0.6


def test_the_low_pass_leaves_long_waves_and_takes_short_ones():
    x = np.arange(64)
    long, short = np.sin(2 * np.pi * x / 32), np.sin(2 * np.pi * x / 4)
    data = np.broadcast_to(long + short, (8, 64, 64)).astype(np.float32)
    image = shown(Tomogram(data, 10.0), index=4, lowpass_A=160.0)[0]
    spectrum = np.abs(np.fft.rfft(image - image.mean()))
    assert spectrum[16] < 0.05 * spectrum[2]


def test_equalised_levels_are_all_as_frequent():
    counts = np.histogram(shown(equalise=True), 8, (0, 256))[0]
    assert counts.min() > 0.7 * counts.mean()


def test_levels_that_are_no_numbers_or_all_the_same_are_shown():
    data = np.full((8, 16, 16), 3.0, np.float32)
    assert shown(Tomogram(data, 10.0), index=4).shape == (16, 16)
    data[4, 3, 3] = np.nan
    assert np.isfinite(grey_table(Tomogram(data, 10.0))).all()
    assert len(grey_table(NOISE)) == len(PERCENTILES)


def test_what_is_sent_is_the_picture():
    image = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    back = np.asarray(Image.open(io.BytesIO(encode(image))))
    assert np.abs(back.astype(int) - image).mean() < 3
