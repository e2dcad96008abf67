"""Contrast transfer of a microscope without astigmatism, of weak phase objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etpick.types import FloatArray

ELECTRON_REST_EV = 510_998.95


def wavelength_A(voltage_kV: float) -> float:
    """Relativistic wavelength of electrons in Å."""
    volts = voltage_kV * 1e3
    return float(12.2642597 / np.sqrt(volts * (1 + volts / (2 * ELECTRON_REST_EV))))


@dataclass(frozen=True)
class Lens:
    """What contrast transfer depends on beside the defocus."""

    voltage_kV: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1


def contrast_transfer(frequency_per_A: FloatArray, defocus_A: float, lens: Lens) -> FloatArray:
    """Share of a phase shift seen as contrast at a frequency: sin(χ + asin A), underfocus positive.

    Positive at low frequency, as in RELION for particles that are bright (CTF::getCTF).
    """
    squared = np.square(frequency_per_A)
    aberration_A = lens.spherical_aberration_mm * 1e7
    wave = wavelength_A(lens.voltage_kV)
    chi = np.pi * wave * defocus_A * squared - np.pi / 2 * aberration_A * wave**3 * squared**2
    return np.asarray(np.sin(chi + np.arcsin(lens.amplitude_contrast)))
