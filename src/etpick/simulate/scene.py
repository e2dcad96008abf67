"""A simulated tomogram: particles, look-alikes, gold and membranes in ice, imaged and reconstructed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from etpick.errors import InputError
from etpick.orientation import angles_of
from etpick.simulate.imaging import Imaging, back_project, project, projector, take_images, weighted
from etpick.simulate.placement import DISTRACTOR, GOLD, MAX_PARTICLES, MEMBRANE, Body, Canvas, turned
from etpick.simulate.rotation import random_rotation
from etpick.simulate.shapes import ellipsoid, lookalikes
from etpick.simulate.species import Species, built_in_species, species_from_formula
from etpick.types import FloatArray, Particles, Shape3, Tomogram

# A full but not crowded field of view: 64×192×192 voxels of 10 Å is about 2.4e9 Å³.
_VOLUME_PER_PARTICLE_A3 = 9e7  # at least this much volume for each particle of a class
_FILLED = 0.09  # at most this share of the volume is particles
_VOLUME_PER_GOLD_A3 = 8e8
_VOLUME_PER_VESICLE_A3 = 2e9
_LOOKALIKES_PER_PARTICLE = 0.6
_GOLD_DIAMETER_A = 100.0
_GOLD_DENSITY = 12.0  # of protein's
_BILAYER_HALF_A = 19.0  # from the middle of a membrane to the heads of its lipids
_LEAFLET_SIGMA_A = 7.0
_VESICLE_RADIUS_A = (220.0, 420.0)


@dataclass(frozen=True, eq=False)
class Scene:
    """What is in the ice: density (protein 1) and occupancy [z, y, x], and the particles among it."""

    density: NDArray[np.float32]
    occupancy: NDArray[np.uint16]
    truth: Particles


@dataclass(frozen=True, eq=False)
class Simulated:
    """A tomogram, its truth with angles (see `etpick.orientation`), and whose each voxel is.

    occupancy: uint16 [z, y, x]; the particle's row in the truth counted from 1, 0 for ice, 65535 membrane,
    65534 gold, 65533 look-alike.
    """

    tomogram: Tomogram
    truth: Particles
    occupancy: NDArray[np.uint16]


def simulate_tomogram(
    shape: Shape3,
    *,
    seed: int | np.random.SeedSequence,
    spacing_A: float = 10.0,
    species: Sequence[Species] = (),
    particles_per_class: int | None = None,
    imaging: Imaging | None = None,
    name: str = "simulated",
) -> Simulated:
    """Simulate one tomogram: float32, protein dark, mean 0 and standard deviation 1.

    species: made for this spacing (`find_species`); none means the built-in ones. particles_per_class: None
    fills the volume to a fair density. Particles that find no free place are left out, of the truth too. The
    same arguments give the same bytes. Raises InputError for a volume too small or a species of another
    spacing.
    """
    imaging = imaging or Imaging()
    rng = np.random.default_rng(seed)
    scene = build_scene(shape, species or built_in_species(spacing_A), spacing_A, particles_per_class, rng)
    data = image_scene(scene.density, spacing_A, imaging, rng)
    truth = replace(scene.truth, spacing_A=spacing_A, tomogram=name)
    return Simulated(Tomogram(data, spacing_A, name), truth, scene.occupancy)


def build_scene(
    shape: Shape3,
    species: Sequence[Species],
    spacing_A: float,
    particles_per_class: int | None,
    rng: np.random.Generator,
) -> Scene:
    """Fill a volume: membranes and gold first, then particles and their look-alikes, large ones first."""
    _check_fits(shape, species, spacing_A)
    volume_A3 = float(np.prod(shape)) * spacing_A**3
    wanted = _usual_count(volume_A3, species) if particles_per_class is None else particles_per_class
    canvas = Canvas(shape)
    _add_vesicles(canvas, round(volume_A3 / _VOLUME_PER_VESICLE_A3), spacing_A, rng)
    _add_gold(canvas, round(volume_A3 / _VOLUME_PER_GOLD_A3), spacing_A, rng)
    positions: list[FloatArray] = []
    angles: list[FloatArray] = []
    classes: list[str] = []
    for kind in sorted(species, key=lambda kind: -float(kind.density.sum())):
        for _ in range(wanted):
            rotation = random_rotation(rng)
            body = turned(kind.density, rotation, rng.uniform(-0.5, 0.5, 3))
            centre = canvas.place(body, len(positions) + 1, rng) if len(positions) < MAX_PARTICLES else None
            if centre is not None:
                positions.append(centre)
                angles.append(angles_of(rotation))
                classes.append(kind.name)
        _add_lookalikes(canvas, kind, round(_LOOKALIKES_PER_PARTICLE * wanted), rng)
    truth = Particles(
        np.array(positions).reshape(-1, 3),
        np.array(classes, dtype=np.str_),
        angles=np.array(angles).reshape(-1, 3),
    )
    return Scene(canvas.density, canvas.occupancy, truth)


def image_scene(
    density: NDArray[np.float32], spacing_A: float, imaging: Imaging, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Density (protein 1) → reconstruction [z, y, x], protein dark, mean 0, standard deviation 1."""
    nz, _, nx = density.shape
    ice = gaussian_filter(
        rng.standard_normal(density.shape, dtype=np.float32), imaging.ice_noise_A / spacing_A, mode="wrap"
    )
    ice *= imaging.ice_noise / ice.std()
    rays = projector(imaging.tilts_deg, nz, nx)
    images = take_images(project(density + ice, rays), nz * spacing_A, spacing_A, imaging, rng)
    volume = back_project(weighted(images), rays, nz)
    volume -= volume.mean(dtype=np.float64).astype(np.float32)
    volume /= volume.std(dtype=np.float64).astype(np.float32)
    return volume


def _check_fits(shape: Shape3, species: Sequence[Species], spacing_A: float) -> None:
    for kind in species:
        if kind.spacing_A != spacing_A:
            raise InputError(
                f"species {kind.name} has {kind.spacing_A} Å per voxel but the tomogram {spacing_A} Å; "
                "load it at the tomogram's spacing"
            )
        side = int(np.ceil(kind.diameter_A / spacing_A)) + 4
        if min(shape) < side:
            raise InputError(
                f"a volume of {'×'.join(map(str, shape))} voxels has no room for {kind.name} "
                f"({kind.diameter_A:.0f} Å); make each side at least {side} voxels"
            )


def _usual_count(volume_A3: float, species: Sequence[Species]) -> int:
    """Particles per class that make a full field of view."""
    solid_A3 = sum(float((kind.density > 0.3).sum()) * kind.spacing_A**3 for kind in species)
    return max(1, round(min(_FILLED * volume_A3 / solid_A3, volume_A3 / _VOLUME_PER_PARTICLE_A3)))


def _add_lookalikes(canvas: Canvas, kind: Species, count: int, rng: np.random.Generator) -> None:
    """Solid ellipsoids, rods and discs of about a species' size, each a little different."""
    for _ in range(count):
        diameter_A = kind.diameter_A * rng.uniform(0.8, 1.05)
        formulas = lookalikes(diameter_A)
        formula = formulas[rng.integers(len(formulas))]
        alike = species_from_formula("look-alike", formula, diameter_A, kind.spacing_A)
        canvas.place(turned(alike.density, random_rotation(rng), rng.uniform(-0.5, 0.5, 3)), DISTRACTOR, rng)


def _add_gold(canvas: Canvas, count: int, spacing_A: float, rng: np.random.Generator) -> None:
    r = _GOLD_DIAMETER_A / 2
    bead = species_from_formula("gold", ellipsoid((r, r, r)), _GOLD_DIAMETER_A, spacing_A)
    for _ in range(count):
        body = turned(bead.density, random_rotation(rng), rng.uniform(-0.5, 0.5, 3))
        canvas.place(Body(_GOLD_DENSITY * body.density, body.solid, body.margin, body.centre), GOLD, rng)


def _add_vesicles(canvas: Canvas, count: int, spacing_A: float, rng: np.random.Generator) -> None:
    """Closed membranes of two leaflets, somewhat squeezed; the edges of the volume may cut them."""
    for _ in range(count):
        radii_A = rng.uniform(*_VESICLE_RADIUS_A) * rng.uniform(0.85, 1.15, 3)
        centre = rng.integers(0, canvas.density.shape)
        canvas.place_cut(_vesicle(radii_A, spacing_A), MEMBRANE, centre)


def _vesicle(radii_A: FloatArray, spacing_A: float) -> Body:
    half = np.ceil((radii_A + _BILAYER_HALF_A + 3 * _LEAFLET_SIGMA_A) / spacing_A).astype(int)
    offsets_A = [np.arange(-n, n + 1) * spacing_A for n in half]
    z, y, x = np.meshgrid(*offsets_A, indexing="ij", sparse=True)
    scaled = np.sqrt((z / radii_A[0]) ** 2 + (y / radii_A[1]) ** 2 + (x / radii_A[2]) ** 2)
    from_middle_A = (scaled - 1) * radii_A.mean()
    depth = (np.abs(from_middle_A) - _BILAYER_HALF_A) / _LEAFLET_SIGMA_A
    return Body.of(np.exp(-0.5 * depth**2).astype(np.float32), half.astype(np.float64))
