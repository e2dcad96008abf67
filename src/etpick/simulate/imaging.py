"""The microscope: tilt series of a volume, contrast transfer, noise, weighted back-projection.

Geometry: the stage tilts about y; at tilt θ the voxel at (z, x) from the volume's centre is seen at
u = x cos θ + z sin θ. Images are [tilt, u, y]; one pixel is as wide as one voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.sparse import csr_array

from etpick.errors import InputError
from etpick.ops.ctf import ELECTRON_REST_EV, Lens, wavelength_A
from etpick.ops.ctf import contrast_transfer as lens_transfer
from etpick.types import FloatArray

Images = NDArray[np.float32]
Array3 = NDArray[np.float32]

_MEAN_FREE_PATH_A = 3100.0  # inelastic, vitreous ice at 300 kV
_LOW_PASS = 0.4  # cycles per voxel where the reconstruction's soft low-pass has fallen to a half


@dataclass(frozen=True)
class Imaging:
    """How a tomogram is taken. One defocus is drawn per tomogram.

    protein_V: potential of protein above that of ice. ice_noise: standard deviation of the structure of the
    ice and of small unknown molecules, as a share of protein_V; ice_noise_A: its grain (Gaussian σ).
    dose_e_A2: whole tilt series. shift_jitter_A: error of the images' alignment (σ of each component).
    """

    tilt_max_deg: float = 60.0
    tilt_step_deg: float = 3.0
    voltage_kV: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.08
    defocus_um: tuple[float, float] = (2.5, 4.5)
    defocus_jitter_um: float = 0.05
    dose_e_A2: float = 100.0
    protein_V: float = 3.0
    ice_noise: float = 0.2
    ice_noise_A: float = 12.0
    shift_jitter_A: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.tilt_max_deg < 90 or self.tilt_step_deg <= 0:
            raise InputError(
                f"tilts to ±{self.tilt_max_deg}° in steps of {self.tilt_step_deg}° cannot be taken; "
                "choose a largest tilt from 0 to below 90° and a positive step"
            )
        if self.voltage_kV <= 0 or self.dose_e_A2 <= 0:
            raise InputError(
                f"voltage {self.voltage_kV} kV and dose {self.dose_e_A2} e/Å² must both be positive numbers"
            )

    @property
    def tilts_deg(self) -> FloatArray:
        """(n,) tilt angles, symmetric about 0."""
        steps = int(self.tilt_max_deg / self.tilt_step_deg + 1e-9)
        return self.tilt_step_deg * np.arange(-steps, steps + 1, dtype=np.float64)

    @property
    def wavelength_A(self) -> float:
        """Relativistic wavelength of the electrons."""
        return wavelength_A(self.voltage_kV)

    @property
    def interaction_rad_per_VA(self) -> float:
        """Phase shift per volt and Å (Kirkland, Advanced Computing in Electron Microscopy, eq. 5.6)."""
        volts = self.voltage_kV * 1e3
        relativity = (ELECTRON_REST_EV + volts) / (2 * ELECTRON_REST_EV + volts)
        return float(2 * np.pi / (self.wavelength_A * volts) * relativity)


def projector(tilts_deg: FloatArray, nz: int, nx: int) -> csr_array[np.float32]:
    """Sparse (nz·nx voxels, tilts·width pixels): each voxel's two pixels in each image, linear weights.

    Its transpose projects a volume [z·x, y], itself it back-projects images [tilt·u, y]. The width takes in
    every voxel at every tilt.
    """
    width = image_width(nz, nx)
    z, x = np.divmod(np.arange(nz * nx), nx)
    z, x = z - (nz - 1) / 2, x - (nx - 1) / 2
    theta = np.deg2rad(tilts_deg)
    u = x[:, None] * np.cos(theta) + z[:, None] * np.sin(theta) + (width - 1) / 2  # (voxels, tilts)
    low = np.floor(u).astype(np.int32)
    share = (u - low).astype(np.float32)
    first = low + width * np.arange(len(theta), dtype=np.int32)
    pixels = np.stack([first, first + 1], axis=-1).reshape(-1)
    weights = np.stack([1 - share, share], axis=-1).reshape(-1)
    rows = np.arange(nz * nx + 1, dtype=np.int32) * (2 * len(theta))
    return csr_array((weights, pixels, rows), shape=(nz * nx, len(theta) * width))


def image_width(nz: int, nx: int) -> int:
    """Pixels across the tilt axis, so that no voxel leaves the image at any tilt; quick to transform."""
    return int(fft.next_fast_len(int(np.ceil(np.hypot(nz, nx))) + 2, real=True))


def project(volume: Array3, rays: csr_array[np.float32]) -> Images:
    """Volume [z, y, x] → images [tilt, u, y]: sums along the beam, in voxels."""
    nz, ny, nx = volume.shape
    columns = np.ascontiguousarray(volume.transpose(0, 2, 1)).reshape(nz * nx, ny)
    return np.asarray(rays.T @ columns).reshape(-1, image_width(nz, nx), ny)


def back_project(images: Images, rays: csr_array[np.float32], nz: int) -> Array3:
    """Images [tilt, u, y] → volume [z, y, x]; the transpose of `project`."""
    tilts, width, ny = images.shape
    volume = np.asarray(rays @ images.reshape(tilts * width, ny)).reshape(nz, -1, ny)
    return np.ascontiguousarray(volume.transpose(0, 2, 1))


def contrast_transfer(frequency_per_A: FloatArray, defocus_A: float, imaging: Imaging) -> FloatArray:
    """Share of a phase shift seen as darkness at a frequency, underfocus positive."""
    lens = Lens(imaging.voltage_kV, imaging.spherical_aberration_mm, imaging.amplitude_contrast)
    return lens_transfer(frequency_per_A, defocus_A, lens)


def take_images(
    projections: Images, thickness_A: float, spacing_A: float, imaging: Imaging, rng: np.random.Generator
) -> Images:
    """Projections (protein = 1, sums in voxels) → images as the camera counts them, relative to their mean.

    Weak phases: intensity = 1 − 2 CTF ∗ phase; each image is shifted by its alignment error and its
    electrons are counted (Poisson), fewer at high tilt where the ice is thicker.
    """
    phase_per_voxel = imaging.interaction_rad_per_VA * imaging.protein_V * spacing_A
    tilts = imaging.tilts_deg
    electrons = imaging.dose_e_A2 / len(tilts) * spacing_A**2
    defocus = 1e4 * rng.uniform(*imaging.defocus_um)
    fu, fy = _frequencies(projections.shape[1:])
    radius = np.hypot(fu, fy)
    images = np.empty_like(projections)
    for i, tilt in enumerate(tilts):
        image_defocus = defocus + 1e4 * imaging.defocus_jitter_um * rng.standard_normal()
        du, dy = imaging.shift_jitter_A / spacing_A * rng.standard_normal(2)
        transfer = contrast_transfer(radius / spacing_A, image_defocus, imaging)
        moved = transfer * np.exp(-2j * np.pi * (fu * du + fy * dy))
        phase = _filtered(projections[i], moved) * phase_per_voxel
        expected = electrons * np.exp(-thickness_A / (_MEAN_FREE_PATH_A * np.cos(np.deg2rad(tilt))))
        counts = rng.poisson(expected * np.clip(1 - 2 * phase, 0, None))
        images[i] = counts / expected - 1
    return images


def weighted(images: Images) -> Images:
    """Ramp across the tilt axis (Radermacher's weighting for single-axis tilting) and a soft low-pass."""
    fu, fy = _frequencies(images.shape[1:])
    low_pass = 1 / (1 + (np.hypot(fu, fy) / _LOW_PASS) ** 8)
    return np.stack([_filtered(image, np.abs(fu) * low_pass) for image in images])


def _frequencies(shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Cycles per pixel along u (column) and y (row) of a real transform."""
    return fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]


def _filtered(image: Images, transfer: NDArray[np.floating | np.complexfloating]) -> Images:
    """An image through a filter given in Fourier space."""
    wide = np.complex64 if np.iscomplexobj(transfer) else np.float32
    return np.asarray(fft.irfft2(fft.rfft2(image) * transfer.astype(wide), s=image.shape))
