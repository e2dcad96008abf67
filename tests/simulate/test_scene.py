from functools import cache

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, gaussian_filter
from scipy.spatial.transform import Rotation

from etpick.errors import InputError
from etpick.orientation import angles_of, rotation_of
from etpick.simulate import Imaging, Simulated, built_in_species, simulate_tomogram
from etpick.simulate.placement import DISTRACTOR, GOLD, MEMBRANE, Canvas, turned
from etpick.simulate.rotation import random_rotation
from etpick.simulate.scene import Scene, build_scene

SHAPE = (48, 110, 120)
SPACING_A = 12.0


@cache
def scene() -> Scene:
    return build_scene(SHAPE, built_in_species(SPACING_A), SPACING_A, None, np.random.default_rng(11))


@cache
def simulated(seed: int) -> Simulated:
    return simulate_tomogram(SHAPE, seed=seed, spacing_A=SPACING_A)


def box_around(position: np.ndarray, half: int) -> tuple[slice, slice, slice]:
    z, y, x = (slice(p - half, p + half + 1) for p in np.round(position).astype(int))
    return z, y, x


def reference_at(name: str, angles: np.ndarray, position: np.ndarray, inverse: bool) -> np.ndarray:
    """The reference turned by truth angles (or the other way), in a small box at a sub-voxel centre."""
    half = 7
    offsets = np.stack(np.meshgrid(*[np.arange(-half, half + 1)] * 3, indexing="ij"), axis=-1)
    from_centre = offsets - (position - np.round(position))
    # RELION: R = Rz(rot) Ry(tilt) Rz(psi) takes vectors (xyz) of the tomogram to those of the reference.
    to_reference = Rotation.from_euler("ZYZ", angles, degrees=True)
    if inverse:
        to_reference = to_reference.inv()
    points = to_reference.apply(from_centre.reshape(-1, 3)[:, ::-1])[:, ::-1]
    density = next(s for s in built_in_species(SPACING_A) if s.name == name).density
    index = np.clip(np.round(points + len(density) // 2).astype(int), 0, len(density) - 1)
    return density[tuple(index.T)].reshape(offsets.shape[:3])


def test_truth_centre_is_the_centre_of_what_the_particle_fills() -> None:
    truth, occupancy = scene().truth, scene().occupancy
    assert set(truth.classes) == {"ribosome", "proteasome"}
    centres = np.array(center_of_mass(occupancy > 0, occupancy, np.arange(1, len(truth) + 1)))
    assert np.linalg.norm(centres - truth.positions, axis=1).max() < 1.0
    assert np.abs((centres - truth.positions).mean(axis=0)).max() < 0.2  # no half-voxel bias
    assert (np.abs(truth.positions - np.round(truth.positions)) > 0.1).any()  # truly sub-voxel


def test_particles_are_whole_and_apart() -> None:
    truth, occupancy = scene().truth, scene().occupancy
    volumes = np.bincount(occupancy.ravel(), minlength=len(truth) + 1)[1 : len(truth) + 1]
    for species in built_in_species(SPACING_A):
        # Each particle keeps its volume: nobody overwrote it and no edge cut it.
        whole = volumes[truth.classes == species.name]
        np.testing.assert_allclose(whole, (species.density > 0.3).sum(), rtol=0.15)
    for name in ("z", "y", "x"):  # a free voxel lies between any two bodies
        near = np.moveaxis(occupancy, "zyx".index(name), 0).astype(int)
        first, second = near[:-1], near[1:]
        assert (first[(first > 0) & (second > 0)] == second[(first > 0) & (second > 0)]).all()


def test_distractors_gold_and_membrane_are_there_but_not_in_the_truth() -> None:
    codes = set(np.unique(scene().occupancy))
    assert {MEMBRANE, GOLD, DISTRACTOR} <= codes
    assert codes - {0, MEMBRANE, GOLD, DISTRACTOR} == set(range(1, len(scene().truth) + 1))
    gold = scene().density[scene().occupancy == GOLD]
    assert gold.mean() > 5 * scene().density[scene().occupancy == 1].mean()


def test_truth_angles_put_the_reference_into_the_volume_and_their_inverse_does_not() -> None:
    truth, density = scene().truth, np.pad(scene().density, 7)
    right, wrong = [], []
    for position, angles, name in zip(truth.positions, truth.angles, truth.classes, strict=True):
        there = density[box_around(position + 7, 7)]
        for inverse, scores in ((False, right), (True, wrong)):
            reference = reference_at(str(name), angles, position, inverse)
            scores.append(np.corrcoef(reference.ravel(), there.ravel())[0, 1])
    assert min(right) > 0.85
    assert np.mean(right) > np.mean(wrong) + 0.2


def test_angles_and_rotations_are_inverse_to_each_other() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        rotation = random_rotation(rng)
        assert (rotation_of(angles_of(rotation)) * rotation.inv()).magnitude() < 1e-6


def test_rot_spins_about_the_particles_own_axis_and_psi_about_the_tomograms() -> None:
    axis = np.array([0.0, 0.0, 1.0])
    one, other = rotation_of(np.array([10.0, 50.0, 70.0])), rotation_of(np.array([130.0, 50.0, 70.0]))
    np.testing.assert_allclose(one.apply(axis), other.apply(axis), atol=1e-12)
    # Written out from RELION's matrix, third column: (−cos ψ sin θ, sin ψ sin θ, cos θ).
    psi, tilt = np.deg2rad([70.0, 50.0])
    expected = [-np.cos(psi) * np.sin(tilt), np.sin(psi) * np.sin(tilt), np.cos(tilt)]
    np.testing.assert_allclose(one.apply(axis), expected, atol=1e-12)


def test_orientations_are_uniform() -> None:
    rng = np.random.default_rng(0)
    axes = np.array([random_rotation(rng).apply([0, 0, 1]) for _ in range(2000)])
    np.testing.assert_allclose(axes.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose((axes**2).mean(axis=0), 1 / 3, atol=0.03)


def test_turned_body_keeps_mass_and_centre() -> None:
    density = built_in_species(10.0)[0].density
    rng = np.random.default_rng(2)
    for _ in range(3):
        body = turned(density, random_rotation(rng), rng.uniform(-0.5, 0.5, 3))
        assert body.density.sum() == pytest.approx(density.sum(), rel=0.01)
        np.testing.assert_allclose(center_of_mass(body.density), body.centre, atol=0.1)


def test_a_full_canvas_takes_nothing_more() -> None:
    canvas = Canvas((40, 40, 40))
    rng = np.random.default_rng(0)
    body = turned(built_in_species(10.0)[0].density, random_rotation(rng), np.zeros(3))
    assert canvas.place(body, 1, rng) is not None
    before = canvas.occupancy.copy()
    assert canvas.place(body, 2, rng) is None
    assert (canvas.occupancy == before).all()
    assert Canvas((8, 8, 8)).place(body, 1, rng) is None


def test_same_seed_same_bytes_other_seed_other_tomogram() -> None:
    again = simulate_tomogram(SHAPE, seed=1, spacing_A=SPACING_A)
    one, two = simulated(1), simulated(2)
    assert one.tomogram.data.tobytes() == again.tomogram.data.tobytes()
    assert one.truth.positions.tobytes() == again.truth.positions.tobytes()
    assert one.occupancy.tobytes() == again.occupancy.tobytes()
    assert one.truth.positions.shape != two.truth.positions.shape or (one.truth.positions != two.truth.positions).any()


def test_particles_and_gold_are_dark_in_the_tomogram_at_their_places() -> None:
    data, occupancy = simulated(1).tomogram.data, simulated(1).occupancy
    assert data.dtype == np.float32 and data.shape == occupancy.shape == SHAPE
    water = data[occupancy == 0].mean()
    particle = data[(occupancy > 0) & (occupancy < DISTRACTOR)].mean()
    assert particle < water - 0.2
    assert data[occupancy == GOLD].mean() < particle - 1


def test_a_noise_free_tomogram_shows_the_density() -> None:
    clean = Imaging(dose_e_A2=1e6, ice_noise=0.0, shift_jitter_A=0.0, tilt_max_deg=75.0)
    species = built_in_species(SPACING_A)
    result = simulate_tomogram(SHAPE, seed=11, spacing_A=SPACING_A, species=species, imaging=clean)
    solid = (scene().occupancy > 0).astype(float)
    assert (result.occupancy == scene().occupancy).all()
    dark = -np.clip(gaussian_filter(result.tomogram.data, 1), -4, 4)
    inside = scene().occupancy < GOLD
    assert np.corrcoef(dark[inside], solid[inside])[0, 1] > 0.35


def test_number_of_particles_can_be_chosen() -> None:
    none = simulate_tomogram(SHAPE, seed=0, spacing_A=SPACING_A, particles_per_class=0)
    assert len(none.truth) == 0 and none.truth.angles is not None
    three = build_scene(SHAPE, built_in_species(SPACING_A), SPACING_A, 3, np.random.default_rng(0))
    assert [(three.truth.classes == c).sum() for c in ("ribosome", "proteasome")] == [3, 3]


def test_a_volume_too_thin_or_a_species_of_another_spacing_is_refused() -> None:
    with pytest.raises(InputError, match="no room for ribosome"):
        simulate_tomogram((16, 64, 64), seed=0)
    with pytest.raises(InputError, match=r"14\.0 Å per voxel but the tomogram 10\.0 Å"):
        simulate_tomogram((64, 64, 64), seed=0, species=built_in_species(14.0))
