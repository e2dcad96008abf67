import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etpick.errors import InputError
from etpick.simulate import Imaging
from etpick.simulate.imaging import (
    back_project,
    contrast_transfer,
    image_width,
    project,
    projector,
    take_images,
    weighted,
)
from etpick.simulate.scene import image_scene

SIZES = st.integers(3, 14)


@settings(max_examples=25, deadline=None)
@given(nz=SIZES, ny=SIZES, nx=SIZES, seed=st.integers(0, 2**31))
def test_back_projection_is_the_transpose_of_projection(nz: int, ny: int, nx: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tilts = rng.uniform(-80, 80, 5)
    rays = projector(tilts, nz, nx)
    volume = rng.standard_normal((nz, ny, nx)).astype(np.float32)
    images = rng.standard_normal((5, image_width(nz, nx), ny)).astype(np.float32)
    there = (project(volume, rays) * images).sum(dtype=float)
    back = (volume * back_project(images, rays, nz)).sum(dtype=float)
    size = float(np.linalg.norm(volume) * np.linalg.norm(images))
    assert there == pytest.approx(back, abs=1e-5 * size)


@settings(max_examples=25, deadline=None)
@given(nz=SIZES, nx=SIZES, tilt=st.floats(-80, 80), seed=st.integers(0, 2**31))
def test_a_point_is_seen_where_the_geometry_says(nz: int, nx: int, tilt: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, x = rng.integers(nz), rng.integers(nx)
    volume = np.zeros((nz, 3, nx), dtype=np.float32)
    volume[z, 1, x] = 1
    image = project(volume, projector(np.array([tilt]), nz, nx))[0]
    assert image.sum() == pytest.approx(1, abs=1e-5)  # nothing leaves the image
    assert image[:, [0, 2]].sum() == 0
    theta, width = np.deg2rad(tilt), len(image)
    expected = (x - (nx - 1) / 2) * np.cos(theta) + (z - (nz - 1) / 2) * np.sin(theta) + (width - 1) / 2
    assert np.arange(width) @ image[:, 1] == pytest.approx(expected, abs=1e-3)


def test_nothing_is_known_in_the_missing_wedge() -> None:
    rng = np.random.default_rng(3)
    volume = image_scene(rng.random((48, 32, 48), dtype=np.float32), 10.0, Imaging(), rng)
    power = np.abs(np.fft.fftn(volume * np.hanning(48)[:, None, None] * np.hanning(48))) ** 2
    fz, fy, fx = np.meshgrid(*(np.fft.fftfreq(n) for n in volume.shape), indexing="ij")
    shell = (np.hypot(fz, fx) > 0.12) & (np.hypot(fz, fx) < 0.3) & (np.abs(fy) < 0.2)
    angle = np.rad2deg(np.arctan2(np.abs(fz), np.abs(fx)))  # of the central slice that holds the frequency
    assert power[shell & (angle > 70)].mean() < 0.03 * power[shell & (angle < 50)].mean()


def test_contrast_at_300_kv_has_its_known_wavelength_and_first_zero() -> None:
    imaging = Imaging(amplitude_contrast=0.0, spherical_aberration_mm=0.0)
    assert imaging.wavelength_A == pytest.approx(0.019687, rel=1e-4)
    assert imaging.interaction_rad_per_VA == pytest.approx(6.526e-4, rel=1e-3)
    zero = 1 / np.sqrt(imaging.wavelength_A * 35_000)
    below, at, above = contrast_transfer(np.array([0.9, 1.0, 1.1]) * zero, 35_000, imaging)
    assert below > 0.1 and abs(at) < 1e-9 and above < -0.1
    assert contrast_transfer(np.zeros(1), 35_000, Imaging())[0] == pytest.approx(0.08)


def test_protein_is_dark_and_noise_is_that_of_counted_electrons() -> None:
    imaging = Imaging(tilt_max_deg=0, dose_e_A2=20.0, shift_jitter_A=0.0)
    empty = np.zeros((1, 90, 90), dtype=np.float32)
    images = take_images(empty, 0.0, 10.0, imaging, np.random.default_rng(0))
    assert images.std() == pytest.approx(1 / np.sqrt(20.0 * 100), rel=0.05)
    assert images.mean() == pytest.approx(0, abs=0.001)
    particle = empty.copy()
    particle[0, 40:50, 40:50] = 15
    assert take_images(particle, 0.0, 10.0, imaging, np.random.default_rng(0))[0, 43:47, 43:47].mean() < -0.03


def test_weighting_removes_the_mean_and_grows_with_frequency() -> None:
    u = np.arange(64)
    waves = np.stack([np.repeat(np.cos(2 * np.pi * k * u / 64)[:, None], 8, axis=1) for k in (0, 4, 8)])
    flat, slow, fast = weighted(waves.astype(np.float32)).std(axis=(1, 2))
    assert flat < 1e-6
    assert fast == pytest.approx(2 * slow, rel=0.01)


def test_impossible_imaging_is_refused() -> None:
    with pytest.raises(InputError, match="tilts to ±95"):
        Imaging(tilt_max_deg=95)
    with pytest.raises(InputError, match="positive"):
        Imaging(dose_e_A2=0)
    assert len(Imaging().tilts_deg) == 41
