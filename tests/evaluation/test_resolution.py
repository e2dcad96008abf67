"""Each statistic of resolution on a case whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import starfile
from hypothesis import given
from hypothesis import strategies as st

from etpick.errors import ExternalError
from etpick.evaluation.density import fourier_shell_correlation
from etpick.evaluation.local_resolution import local_resolution_A
from etpick.evaluation.resolution import (
    b_factor,
    compare_halves,
    crossing_shell,
    last_shell_above,
    resolution_A,
    with_random_phases,
)
from etpick.external import find_relion
from etpick.io.mrc import write_mrc


def white(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, n, n))


def ball(n: int, radius: float, edge: float = 4.0) -> np.ndarray:
    axis = np.arange(n) - n // 2
    r = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    return 0.5 + 0.5 * np.cos(np.pi * ((r - radius) / edge).clip(0, 1))


@pytest.mark.parametrize("ratio", [0.1, 1.0, 5.0])
def test_correlation_of_halves_is_that_of_theory(ratio: float) -> None:
    """FSC = SNR / (1 + SNR) where both halves hold the same signal and noise of equal power."""
    signal = white(48, 0) * np.sqrt(ratio)
    curve, counts = fourier_shell_correlation(signal + white(48, 1), signal + white(48, 2))
    assert np.average(curve[5:], weights=counts[5:]) == pytest.approx(ratio / (1 + ratio), abs=0.02)


def test_crossing_lies_between_shells_and_resolution_is_a_wavelength() -> None:
    curve = np.array([1, 1, 0.9, 0.243, 0.043, 0.5])
    assert last_shell_above(curve) == 3
    assert crossing_shell(curve) == pytest.approx(3.5)
    assert resolution_A(curve, 350.0) == pytest.approx(100.0)
    assert resolution_A(np.array([1, 0.0, 0.9]), 350.0) == np.inf
    assert resolution_A(np.ones(6), 350.0) == pytest.approx(70.0)


def test_random_phases_keep_amplitudes_and_what_lies_below() -> None:
    volume = white(20, 0)
    found = with_random_phases(volume, 5, np.random.default_rng(1))
    curve, _ = fourier_shell_correlation(volume, found)
    np.testing.assert_allclose(curve[:5], 1, atol=1e-9)
    assert np.abs(curve[6:]).max() < 0.2
    before, after = np.abs(np.fft.rfftn(volume)), np.abs(np.fft.rfftn(found))
    inner = (slice(1, 10), slice(1, 10), slice(1, 10))  # where no frequency is its own mirror image
    np.testing.assert_allclose(before[inner], after[inner], rtol=1e-6)


def test_a_tight_mask_alone_makes_no_resolution() -> None:
    n = 32
    smooth = ball(n, 6, 6)  # a signal of low resolution alone
    one, other = (20 * smooth + white(n, seed) for seed in (1, 2))
    tight = ball(n, 4, 1)
    curves = compare_halves(one, other, tight)
    beyond = slice(curves.random_from + 2, n // 2)
    assert curves.masked[beyond].mean() > 0.3  # the mask's edge is in both
    assert abs(curves.corrected[beyond].mean()) < 0.15


def test_curves_are_those_of_relion(tmp_path: Path) -> None:
    try:
        relion = find_relion("relion_postprocess")
    except ExternalError as absent:
        pytest.skip(str(absent))
    n, spacing_A = 32, 5.0
    signal = np.fft.irfftn(np.fft.rfftn(white(n, 0)) * np.exp(-30 * (np.fft.fftfreq(n)[:, None, None] ** 2
        + np.fft.fftfreq(n)[None, :, None] ** 2 + np.fft.rfftfreq(n)[None, None, :] ** 2)))  # fmt: skip
    one, other = (signal * ball(n, 9) + 0.1 * white(n, seed) for seed in (1, 2))
    mask = ball(n, 10)
    for name, volume in {"half1_unfil": one, "half2_unfil": other, "mask": mask}.items():
        write_mrc(tmp_path / f"{name}.mrc", volume.astype(np.float32), spacing_A)
    relion.run(
        "relion_postprocess",
        [
            "--i",
            "half1_unfil.mrc",
            "--i2",
            "half2_unfil.mrc",
            "--mask",
            "mask.mrc",
            "--angpix",
            spacing_A,
            "--o",
            "./post",
        ],
        tmp_path,
    )
    theirs = starfile.read(tmp_path / "post.star", always_dict=True)["fsc"]
    ours = compare_halves(one, other, mask)
    for name, column in (("unmasked", "UnmaskedMaps"), ("masked", "MaskedMaps"), ("corrected", "Corrected")):
        found = theirs[f"rlnFourierShellCorrelation{column}"].to_numpy()[: n // 2]
        tolerance = 0.08 if name == "corrected" else 0.02  # other phases are drawn; RELION sums over half of the shells
        np.testing.assert_allclose(getattr(ours, name)[1:], found[1:], atol=tolerance)


@given(
    st.floats(200, 5000), st.floats(0.0005, 0.002), st.lists(st.integers(10, 2000), min_size=3, max_size=8, unique=True)
)
def test_b_factor_of_exact_points(b_A2: float, intercept: float, counts: list[int]) -> None:
    n = np.array(counts, dtype=np.float64)
    fit = b_factor(n, 1 / np.sqrt(2 / b_A2 * np.log(n) + intercept))
    assert fit is not None
    assert fit.b_A2 == pytest.approx(b_A2, rel=1e-6)
    assert fit.low_A2 == pytest.approx(b_A2, rel=1e-6) and fit.high_A2 == pytest.approx(b_A2, rel=1e-6)


def test_the_band_holds_the_b_factor_of_noisy_points_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    n = np.repeat([20.0, 40, 80, 160, 320], 5)
    exact = 2 / 1000 * np.log(n) + 0.001
    held = 0
    for seed in range(100):
        fit = b_factor(n, 1 / np.sqrt(exact + rng.normal(0, 4e-4, len(n))), seed)
        assert fit is not None
        held += fit.low_A2 <= 1000 <= fit.high_A2
    assert 85 <= held <= 100


def test_no_b_factor_without_resolutions() -> None:
    assert b_factor(np.array([10.0, 20, 40]), np.array([np.inf, np.inf, 30.0])) is None
    flat = b_factor(np.array([10.0, 20, 40]), np.array([30.0, 30, 30]))
    assert flat is not None and np.isinf(flat.b_A2)


def test_local_resolution_tells_a_good_half_from_a_bad_one() -> None:
    n = 32
    signal = white(n, 0)
    quiet = np.where(np.arange(n)[None, None, :] < n // 2, 0.1, 3.0)
    one, other = (signal + quiet * white(n, seed) for seed in (1, 2))
    local = local_resolution_A(one, other, 10.0, np.ones((n, n, n)))
    assert np.median(local[8:24, 8:24, :6]) < 25
    assert np.median(local[8:24, 8:24, -6:]) > 60


def test_local_resolution_of_perfect_halves_is_the_finest_up_to_the_rim_of_the_mask() -> None:
    n = 40
    signal = white(n, 0)
    mask = ball(n, 12, 1)
    inside = local_resolution_A(signal, signal, 10.0, mask)[mask > 0]
    assert inside.max() < 1.2 * inside.min()
