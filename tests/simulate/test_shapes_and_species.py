from pathlib import Path

import gemmi
import mrcfile
import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from etpick.errors import InputError, SpacingError
from etpick.simulate import BUILT_IN_CLASSES, built_in_species, find_species
from etpick.simulate.shapes import ellipsoid
from etpick.simulate.species import (
    diameter_of,
    species_from_density,
    species_from_formula,
    species_from_map,
    species_from_model,
)

ATOMS_ZYX_A = np.array([[0, 0, 0], [0, 0, 50], [0, 30, 0], [20, 0, 0], [0, 0, 100], [35, 35, 20]], dtype=float)


def write_map(path: Path, density: np.ndarray, spacing_A: float) -> Path:
    with mrcfile.new(path) as mrc:
        mrc.set_data(density.astype(np.float32))
        mrc.voxel_size = spacing_A
    return path


def write_model(path: Path) -> Path:
    structure, model, chain = gemmi.Structure(), gemmi.Model(1), gemmi.Chain("A")
    for number, (z, y, x) in enumerate(ATOMS_ZYX_A, start=1):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "GLY", gemmi.SeqId(number, " ")
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(x, y, z)
        residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    if path.suffix == ".pdb":
        structure.write_pdb(str(path))
    else:
        structure.make_mmcif_document().write_file(str(path))
    return path


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two centred cubes, the smaller one padded with water."""
    half = max(len(a), len(b)) // 2
    a, b = (np.pad(c, half - len(c) // 2) for c in (a, b))
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("spacing_A", [6.0, 10.0, 14.0])
def test_built_in_particles_have_the_size_that_their_class_says(spacing_A: float) -> None:
    for species, kind in zip(built_in_species(spacing_A), BUILT_IN_CLASSES, strict=True):
        assert species.particle_class.name == kind.name
        assert species.diameter_A == kind.diameter_A
        assert diameter_of(species.density, spacing_A) == pytest.approx(kind.diameter_A, rel=0.15)


def test_density_sits_on_the_middle_voxel_with_inside_one(tmp_path: Path) -> None:
    ribosome = built_in_species(10.0)[0]
    shifted = np.pad(7.3 * ribosome.density, ((9, 2), (0, 4), (3, 3)))
    for species in (*built_in_species(10.0), species_from_density("shifted", shifted, 10.0, 10.0)):
        assert species.density.dtype == np.float32
        middle = len(species.density) // 2
        np.testing.assert_allclose(center_of_mass(species.density), middle, atol=0.05)
        inside = species.density[species.density > 0.1 * species.density.max()]
        assert np.percentile(inside, 95) == pytest.approx(1.0, abs=0.15)


def test_ball_has_its_own_diameter_and_keeps_its_volume_at_every_spacing() -> None:
    ball = species_from_formula("ball", ellipsoid((80.0, 80.0, 80.0)), 160.0, 4.0)
    assert diameter_of(ball.density, 4.0) == pytest.approx(160, rel=0.03)
    for spacing_A in (4.0, 7.0, 10.0):
        rescaled = species_from_density("ball", ball.density.astype(float), 4.0, spacing_A)
        volume_A3 = rescaled.density.sum() * spacing_A**3
        assert volume_A3 == pytest.approx(4 / 3 * np.pi * 80**3, rel=0.06)
        assert rescaled.diameter_A == pytest.approx(160, rel=0.03)


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_map_and_model_of_the_same_atoms_give_the_same_density(tmp_path: Path, suffix: str) -> None:
    spacing_A, fine_A = 10.0, 2.5
    grid = (np.moveaxis(np.indices((60, 60, 80)), 0, -1) - 20) * fine_A
    density = sum(np.exp(-((grid - atom) ** 2).sum(axis=-1) / (2 * (0.225 * spacing_A) ** 2)) for atom in ATOMS_ZYX_A)
    from_map = species_from_map(write_map(tmp_path / "a.mrc", 40 * density, fine_A), spacing_A)
    from_model = species_from_model(write_model(tmp_path / f"b{suffix}"), spacing_A)
    assert correlation(from_map.density, from_model.density) > 0.98
    assert correlation(from_map.density, from_model.density[::-1]) < 0.8
    assert from_map.diameter_A == pytest.approx(from_model.diameter_A, abs=4)


def test_species_are_found_by_name_in_the_order_asked(tmp_path: Path) -> None:
    density = built_in_species(10.0)[1].density
    write_map(tmp_path / "b.mrc", density, 10.0)
    write_map(tmp_path / "a.map", density, 10.0)
    write_model(tmp_path / "c.cif")
    (tmp_path / "readme.txt").write_text("not a map")
    assert [s.name for s in find_species(tmp_path, [], 10.0)] == ["a", "b", "c"]
    assert [s.name for s in find_species(tmp_path, ["c", "a"], 10.0)] == ["c", "a"]
    assert [s.name for s in find_species(None, ["proteasome"], 10.0)] == ["proteasome"]


def test_unknown_species_are_refused_with_what_there_is(tmp_path: Path) -> None:
    write_map(tmp_path / "1abc.mrc", np.ones((5, 5, 5)), 10.0)
    with pytest.raises(InputError, match=r"9xyz in .*there is 1abc"):
        find_species(tmp_path, ["1abc", "9xyz"], 10.0)
    with pytest.raises(InputError, match="there is ribosome, proteasome"):
        find_species(None, ["spliceosome"], 10.0)


def test_unusable_folders_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        find_species(tmp_path / "nowhere", [], 10.0)
    with pytest.raises(InputError, match="holds no"):
        find_species(tmp_path, [], 10.0)
    (tmp_path / "broken.mrc").write_bytes(b"MRC?" * 10)
    with pytest.raises(InputError, match="density map"):
        species_from_map(tmp_path / "broken.mrc", 10.0)
    (tmp_path / "empty.pdb").write_text("REMARK nothing\nEND\n")
    with pytest.raises(InputError, match="no atoms"):
        species_from_model(tmp_path / "empty.pdb", 10.0)
    with pytest.raises(SpacingError, match=r"0\.0 Å"):
        species_from_map(write_map(tmp_path / "spaceless.mrc", np.ones((5, 5, 5)), 0.0), 10.0)
    with pytest.raises(InputError, match="nothing positive"):
        species_from_map(write_map(tmp_path / "zeros.mrc", np.zeros((5, 5, 5)), 10.0), 10.0)


def test_real_maps_come_to_one_grey_level_and_a_believable_size(shared_data: Path) -> None:
    species = {s.name: s for s in find_species(shared_data / "maps", ["3j9i", "1s3x", "6qzp"], 10.0)}
    assert species["3j9i"].diameter_A == pytest.approx(150, abs=10)
    assert species["1s3x"].diameter_A == pytest.approx(60, abs=10)
    assert species["6qzp"].diameter_A == pytest.approx(250, abs=20)
    assert all(0.9 < s.density.max() < 1.6 for s in species.values())
