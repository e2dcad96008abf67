import numpy as np
import pytest

from etpick.ops.ctf import Lens, contrast_transfer, wavelength_A
from etpick.ops.wedge import transfer, wedge
from etpick.simulate.imaging import back_project, project, projector

N = 24


def test_one_untilted_image_measures_the_plane_without_kz() -> None:
    seen = wedge(np.array([0.0]), N)
    assert seen.shape == (N, N, N // 2 + 1) and seen.dtype == np.float32
    assert (seen[0] == 1).all() and (seen[1:] == 0).all()


def test_tilts_all_around_measure_everything() -> None:
    assert wedge(np.arange(-90, 90, 2.0), N).min() > 0.99


@pytest.mark.parametrize("tilts", [np.arange(-60, 61, 3.0), np.arange(-10, 61, 3.0)])
def test_it_is_where_a_back_projection_has_power_and_turns_the_right_way(tilts: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal((N, N, N)).astype(np.float32)
    rays = projector(tilts, N, N)
    window = np.hanning(N + 2)[1:-1]
    volume = back_project(project(noise, rays), rays, N) * (window[:, None, None] * window[:, None] * window)
    power = np.abs(np.fft.rfftn(volume)) ** 2
    k = np.fft.fftfreq(N, 1 / N)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(N // 2 + 1) ** 2)
    across = np.hypot(k[:, None, None], np.arange(N // 2 + 1)) + 0 * k[:, None]
    used = (radius > 4) & (radius < N / 2) & (across > 4)

    def share(seen: np.ndarray) -> float:
        """Power outside the wedge over power inside."""
        return float(power[used & (seen < 0.01)].mean() / power[used & (seen > 0.99)].mean())

    assert share(wedge(tilts, N)) < 0.05
    if tilts[0] == -10:
        assert share(wedge(-tilts, N)) > 0.3


def test_a_tilt_about_x_is_one_about_y_with_axes_exchanged() -> None:
    tilts = np.arange(-20, 61, 3.0)
    half = np.arange(N // 2)  # at the Nyquist frequency + and − are one
    about_y, about_x = wedge(tilts, N), wedge(tilts, N, "x")
    np.testing.assert_allclose(about_x[:, half][:, :, half], about_y[:, half][:, :, half].transpose(0, 2, 1))


def test_contrast_at_300_kv_has_its_known_wavelength_and_first_zero() -> None:
    assert wavelength_A(300) == pytest.approx(0.019687, rel=1e-4)
    n, spacing_A, defocus_um = 64, 10.0, 3.5
    values = transfer(n, spacing_A, defocus_um, Lens(amplitude_contrast=0.0))
    along = values[0, 0]
    zero = 1 / np.sqrt(wavelength_A(300) * defocus_um * 1e4) * n * spacing_A  # Fourier voxels
    assert along[1 : int(zero)].min() > 0 and along[int(zero) + 2] < 0
    np.testing.assert_allclose(values[0, :, 0][: n // 2], along[: n // 2], atol=1e-6)
    np.testing.assert_array_equal(
        transfer(n, spacing_A, defocus_um, Lens(amplitude_contrast=0.0), phase_flipped=True), np.abs(values)
    )


def test_amplitude_contrast_is_what_is_left_at_frequency_zero() -> None:
    assert contrast_transfer(np.zeros(1), 35_000, Lens(amplitude_contrast=0.07))[0] == pytest.approx(0.07)
