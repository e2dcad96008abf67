import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from etpick.evaluation.density import agreement, band_pass, best_offset, correlation, fourier_shell_correlation

N = 32


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, N, N))


def test_a_wave_passes_its_band_alone() -> None:
    wave = np.broadcast_to(np.cos(2 * np.pi * 4 * np.arange(N) / N), (N, N, N))  # 80 Å at 10 Å per voxel
    np.testing.assert_allclose(band_pass(wave, 10, 100, 60), wave, atol=1e-9)
    np.testing.assert_allclose(band_pass(wave, 10, 70, 60), 0, atol=1e-9)


@pytest.mark.parametrize("snr", [0.5, 2.0])
def test_shells_of_signal_in_noise_correlate_as_theory_says(snr: float) -> None:
    """Frank & Al-Ali 1975: two images of one signal with independent noise correlate by SNR / (SNR + 1)."""
    signal = noise(0) * np.sqrt(snr)
    curve, counts = fourier_shell_correlation(signal + noise(1), signal + noise(2))
    assert np.average(curve, weights=counts) == pytest.approx(snr / (snr + 1), abs=0.02)
    assert counts.sum() < N**3 and counts[0] == 1


def test_agreement_takes_no_notice_of_a_blur() -> None:
    one, other = noise(0), gaussian_filter(noise(0), 1.5, mode="wrap") * 7
    assert agreement(one, other, 10, 30) > 0.97
    assert correlation(one, other) < 0.6
    assert abs(agreement(one, noise(3), 10, 30)) < 0.05


def test_the_offset_is_found_to_a_fraction_of_a_voxel() -> None:
    one = gaussian_filter(noise(0), 2, mode="wrap")
    k = np.fft.fftfreq(N)
    moved = np.fft.ifftn(np.fft.fftn(one) * np.exp(-2j * np.pi * (2.25 * k[:, None, None] - 1.5 * k))).real
    value, offset = best_offset(moved, one, 4)
    assert value == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(offset, [2.25, 0, -1.5])
