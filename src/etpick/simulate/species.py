"""A species: the density of one kind of particle, from a formula, a density map or an atomic model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError, SpacingError
from etpick.simulate.shapes import BUILT_IN_CLASSES, BUILT_IN_FORMULAS, Formula
from etpick.types import FloatArray, ParticleClass

MAP_SUFFIXES = (".mrc", ".map", ".ccp4")
MODEL_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
# Gaussian width per resolution of a density made from atoms, as ChimeraX's molmap: 1 / (π √2).
_SIGMA_PER_RESOLUTION = 0.225
_MODEL_OVERSAMPLING = 3
_WATER = 0.05  # below this share of a protein's density a voxel is taken for empty


@dataclass(frozen=True, eq=False)
class Species:
    """One kind of particle to place.

    density: cubic float32 [z, y, x] with an odd side, the inside of the particle about 1, water 0; its centre
    of mass sits on the middle voxel. spacing_A: edge of its voxels. diameter_A: see `diameter_of`.
    """

    name: str
    density: NDArray[np.float32]
    spacing_A: float
    diameter_A: float

    @property
    def particle_class(self) -> ParticleClass:
        """The class that its particles belong to."""
        return ParticleClass(self.name, self.diameter_A)


def built_in_species(spacing_A: float) -> tuple[Species, ...]:
    """The particles described by formulas, at a spacing."""
    return tuple(
        species_from_formula(kind.name, BUILT_IN_FORMULAS[kind.name], kind.diameter_A, spacing_A)
        for kind in BUILT_IN_CLASSES
    )


def species_from_formula(name: str, formula: Formula, diameter_A: float, spacing_A: float) -> Species:
    """Evaluate a formula on a grid that reaches 0.75 diameters from the centre."""
    half = int(np.ceil(0.75 * diameter_A / spacing_A)) + 1
    points = spacing_A * (np.moveaxis(np.indices((2 * half + 1,) * 3), 0, -1) - half).astype(np.float64)
    return species_from_density(name, formula(points, spacing_A), spacing_A, spacing_A, diameter_A)


def species_from_map(path: Path, spacing_A: float) -> Species:
    """Read a density map (MRC, protein positive), rescaled to a spacing.

    Raises InputError for a file that is not a map or holds nothing positive, SpacingError for one whose
    header has no voxel size.
    """
    import mrcfile

    try:
        with mrcfile.open(path, permissive=False) as mrc:
            density = np.asarray(mrc.data, dtype=np.float64)
            map_spacing_A = float(mrc.voxel_size.x)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a density map ({error}); give an MRC file") from error
    if density.ndim != 3:
        raise InputError(f"{path} has {density.ndim} dimensions; a density map has three")
    if not map_spacing_A > 0:
        raise SpacingError(f"voxel size {map_spacing_A} Å in {path}: write the true one into its header")
    return species_from_density(path.stem, density, map_spacing_A, spacing_A)


def species_from_model(path: Path, spacing_A: float) -> Species:
    """Read an atomic model (PDB, mmCIF; its first model) as a density at a spacing.

    Every atom counts with its atomic number, as a Gaussian of σ = 0.225 spacing_A on a grid three times
    finer, which is then brought to the spacing like any fine map.
    Raises InputError for a file that is not a model or holds no atoms.
    """
    import gemmi
    from scipy.ndimage import gaussian_filter

    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as an atomic model ({error}); give PDB or mmCIF") from error
    atoms = [site.atom for site in structure[0].all()] if len(structure) else []
    if not atoms:
        raise InputError(f"{path} holds no atoms; give a PDB or mmCIF file with coordinates")
    zyx = np.array([(atom.pos.z, atom.pos.y, atom.pos.x) for atom in atoms])
    weights = np.array([atom.element.atomic_number * atom.occ for atom in atoms])
    grid_A = spacing_A / _MODEL_OVERSAMPLING
    sigma_vx = _SIGMA_PER_RESOLUTION * _MODEL_OVERSAMPLING
    margin = int(np.ceil(4 * sigma_vx)) + 1
    counts = _splat((zyx - zyx.min(axis=0)) / grid_A + margin, weights, margin)
    return species_from_density(path.stem, gaussian_filter(counts, sigma_vx), grid_A, spacing_A)


def species_from_density(
    name: str,
    density: FloatArray,
    density_spacing_A: float,
    spacing_A: float,
    diameter_A: float | None = None,
) -> Species:
    """Bring a density to a spacing, its centre of mass to the middle voxel and its inside to 1.

    Grey levels mean nothing between maps, so each is divided by its own level inside the particle: the 95th
    percentile of the voxels above a tenth of its maximum. What is below 5 % of that is water and becomes 0.
    Without diameter_A it is measured by `diameter_of`.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    if not (np.isfinite(density).all() and density.max() > 0):
        raise InputError(f"the density of {name} holds NaN or nothing positive; give a map of bright protein")
    inside = float(np.percentile(density[density > 0.1 * density.max()], 95))
    density = np.where(density > _WATER * inside, density / inside, 0.0)
    diameter = diameter_of(density, density_spacing_A) if diameter_A is None else diameter_A
    step = spacing_A / density_spacing_A
    if step > 1:  # what the coarser grid cannot hold must go before it is sampled
        density = gaussian_filter(density, 0.5 * np.sqrt(step**2 - 1))
    centre = _centre_of_mass(density)
    reach = np.abs(np.argwhere(density > _WATER) - centre).max(axis=0).max()
    half = int(np.ceil(reach / step)) + 2
    offsets = np.indices((2 * half + 1,) * 3) - half
    resampled = map_coordinates(density, centre[:, None, None, None] + offsets * step, order=3)
    resampled = np.where(resampled > 0.01, resampled, 0.0)
    return Species(name, _trimmed(resampled).astype(np.float32), spacing_A, float(diameter))


def diameter_of(density: FloatArray, spacing_A: float) -> float:
    """Diameter in Å of the uniform ball with the same radius of gyration: 2 √(5/3) R, to the nearest Å.

    It needs no threshold, does not change with orientation, and equals the diameter for a ball.
    """
    where = np.argwhere(density > 0)
    weights = density[tuple(where.T)]
    squares = ((where - _centre_of_mass(density)) ** 2).sum(axis=1)
    gyration_vx = np.sqrt((weights * squares).sum() / weights.sum())
    return float(round(2 * np.sqrt(5 / 3) * gyration_vx * spacing_A))


def find_species(maps: Path | None, names: Sequence[str], spacing_A: float) -> tuple[Species, ...]:
    """The species of these names: built-in ones, or maps and models of a folder by their file stems.

    Without names: all of them. Raises InputError, saying which there are, for a name that is not among them.
    """
    if maps is None:
        known = {species.name: species for species in built_in_species(spacing_A)}
        return tuple(known[name] for name in _checked(names, list(known), "the built-in particles"))
    if not maps.is_dir():
        raise InputError(f"{maps} is not a folder; give one that holds density maps or atomic models")
    files = {p.stem: p for p in sorted(maps.iterdir()) if p.suffix.lower() in MAP_SUFFIXES + MODEL_SUFFIXES}
    if not files:
        raise InputError(f"{maps} holds no {', '.join(MAP_SUFFIXES + MODEL_SUFFIXES)} file to simulate from")
    readers = {
        **dict.fromkeys(MAP_SUFFIXES, species_from_map),
        **dict.fromkeys(MODEL_SUFFIXES, species_from_model),
    }
    chosen = [files[name] for name in _checked(names, list(files), str(maps))]
    return tuple(readers[path.suffix.lower()](path, spacing_A) for path in chosen)


def _checked(names: Sequence[str], known: list[str], where: str) -> list[str]:
    """The names in the order given, each once, all of them known."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"no species {', '.join(unknown)} in {where}; there is {', '.join(known)}")
    return list(dict.fromkeys(names)) or known


def _splat(positions: FloatArray, weights: FloatArray, margin: int) -> FloatArray:
    """(n, 3) voxel positions, (n,) weights → grid, each weight shared linearly by its eight neighbours."""
    shape = np.ceil(positions.max(axis=0)).astype(int) + margin + 1
    grid = np.zeros(shape)
    low = np.floor(positions).astype(int)
    share = positions - low
    for corner in np.ndindex(2, 2, 2):
        part = np.where(corner, share, 1 - share).prod(axis=1)
        np.add.at(grid, tuple((low + corner).T), weights * part)
    return grid


def _centre_of_mass(density: FloatArray) -> FloatArray:
    from scipy.ndimage import center_of_mass

    return np.asarray(center_of_mass(density), dtype=np.float64)


def _trimmed(density: FloatArray) -> FloatArray:
    """Cut a cube down around its middle voxel to what is not empty, and one voxel more."""
    middle = len(density) // 2
    reach = int(np.abs(np.argwhere(density > 0) - middle).max())
    keep = slice(max(0, middle - reach - 1), middle + reach + 2)
    return density[keep, keep, keep]
