"""RELION proves the conventions: true picks of the phantom, extracted by etpick, reconstruct the particle.

python benchmarks/relion_proof.py --species 5mrc 4cr2 4v94

`etpick extract` cuts boxes around the true places in tomograms 100–106, and RELION's relion_reconstruct puts them
together with the angles, origins and wedges of our STAR file. The result is held against the density map that the
phantom was made of: as it is, mirrored and turned to fit as well as it can, with axes exchanged, and shifted; and
again with angles inverted or taken for RELION's as they stand, with origins left out or of the other sign. Only the
first may win. The measure is the Fourier shell correlation, averaged over all waves down to 35 Å: unlike the
correlation of voxels, which is given beside it, it does not reward a blur, and so tells origins of half a voxel
from none.

Conventions of the phantom: its centres are the maps' centres of mass. Its angles fit scipy's intrinsic "ZYZ"
acting on (z, y, x) vectors, from reference to tomogram; here they are turned into RELION's rot, tilt, psi.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import starfile
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, center_of_mass, shift
from scipy.spatial.transform import Rotation

import etpick
from common import DATA, PHANTOM_CLASSES, keep, phantom
from etpick.evaluation.density import agreement, band_pass, best_offset
from etpick.external import Relion, find_relion
from etpick.io.mrc import read_mrc
from etpick.orientation import angles_of

Volume = NDArray[np.float64]
NUMBERS = range(100, 107)  # 107 is left to the benchmarks of picking
SPACING_A = 10.0
SHORTEST_A = 35.0  # the phantom's CTF, which is not corrected here, changes sign between 22 and 30 Å
LONGEST_A = 400.0
COARSE_A = 42.0
ORIENTATIONS, CLOSER = 2000, 80
REACH_VX = 6
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "relion-proof.png"
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
ORIGINS = ["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"]


@dataclass(frozen=True, eq=False)
class Proof:
    """Of one species: the volumes, and by what was tried how well the reconstruction agrees with it."""

    species: str
    particles: int
    reconstruction: Volume
    density: Volume
    mirrored: Volume
    agreement: Mapping[str, float]
    correlation: float
    offset_vx: tuple[float, ...]


def relion_angles(angles: Volume) -> Volume:
    """The phantom's angles → RELION's rot, tilt, psi."""
    zyx = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
    return angles_of(Rotation.from_matrix(zyx[:, ::-1, ::-1]))


def write_truth(folder: Path, species: str) -> None:
    for number in NUMBERS:
        tomogram, truth = phantom(number)
        mine = truth.of_class(species)
        assert mine.angles is not None
        etpick.write_picks(folder / f"{tomogram.name}.csv", replace(mine, angles=relion_angles(mine.angles)))


def reconstruct(relion: Relion, folder: Path, change: Callable[[Any], None] = lambda _: None) -> Volume:
    """RELION's reconstruction from particles.star, after a change to its table of particles."""
    blocks = starfile.read(folder / "particles.star", always_dict=True)
    change(blocks["particles"])
    starfile.write(blocks, folder / "changed.star", overwrite=True)
    options = ["--i", "changed.star", "--o", "reconstruction.mrc", "--3d_rot", "--ctf", "--maxres", SHORTEST_A]
    relion.run("relion_reconstruct", options, folder)
    return np.array(read_mrc(folder / "reconstruction.mrc").data, dtype=np.float64)


def density_of(species: str, box_vx: int) -> Volume:
    """The map with its centre of mass in the middle voxel of a box."""
    density = np.array(read_mrc(DATA / "maps" / f"{species}.mrc").data, dtype=np.float64)
    density = np.pad(density, box_vx // 2)
    centre = np.array(center_of_mass(density))
    corner = np.rint(centre).astype(int) - box_vx // 2
    moved = shift(density, np.rint(centre) - centre, order=3)
    z, y, x = (slice(a, a + box_vx) for a in corner)
    return np.asarray(moved[z, y, x])


def flipped(volume: Volume, axis: int) -> Volume:
    """A mirror image about the plane through the middle voxel of an even box."""
    return np.roll(np.flip(volume, axis), 1, axis)


def invert_angles(particles: Any) -> None:
    particles[ANGLES] = -particles[ANGLES[::-1]].to_numpy()


def phantoms_own_angles(particles: Any) -> None:
    """Undo the conversion: what happens to someone who copies angles from one program to another."""
    matrices = Rotation.from_euler("ZYZ", particles[ANGLES].to_numpy(), degrees=True).inv().as_matrix()
    particles[ANGLES] = Rotation.from_matrix(matrices[:, ::-1, ::-1]).as_euler("ZYZ", degrees=True)


def drop_origins(particles: Any) -> None:
    particles[ORIGINS] = 0.0


def negate_origins(particles: Any) -> None:
    particles[ORIGINS] *= -1


MISTAKES: Mapping[str, Callable[[Any], None]] = {
    "angles inverted": invert_angles,
    "angles of the other program, unconverted": phantoms_own_angles,
    "origins left out": drop_origins,
    "origins with the other sign": negate_origins,
}


def prove(relion: Relion, species: str, box_vx: int, folder: Path) -> Proof:
    write_truth(folder / "truth", species)
    tomograms = [DATA / "phantom" / f"tomo_{n}.mrc" for n in NUMBERS]
    out = folder / "extracted"
    done = etpick.extract(folder / "truth", tomograms, out, box_vx=box_vx, tilts="-60,60,3", gallery=0)

    found, density = reconstruct(relion, out), density_of(species, box_vx)

    def score(volume: Volume) -> float:
        return agreement(found, volume, SPACING_A, SHORTEST_A)

    mirrored = turned_to_fit(found, flipped(density, 0), np.random.default_rng(0))
    turned = [density.transpose(order) for order in itertools.permutations(range(3)) if order != (0, 1, 2)]
    tried = {
        "the map": score(density),
        "mirrored and turned to fit best": score(mirrored),
        "axes exchanged, the best of five ways": max(map(score, turned)),
        "shifted by one voxel, the best of six": max(map(score, shifts(density, 1))),
        "shifted by two voxels, the best of six": max(map(score, shifts(density, 2))),
    }
    for name, change in MISTAKES.items():
        tried[name] = agreement(reconstruct(relion, out, change), density, SPACING_A, SHORTEST_A)
    voxels, offset = best_offset(visible(found), visible(density), REACH_VX)
    return Proof(species, done.count, found, density, mirrored, tried, voxels, tuple(offset.tolist()))


def visible(volume: Volume) -> Volume:
    """Without what the tilt series cannot hold (long waves) or shows with the wrong sign (short ones)."""
    return band_pass(volume, SPACING_A, LONGEST_A, SHORTEST_A)


def turned_to_fit(found: Volume, volume: Volume, rng: np.random.Generator) -> Volume:
    """A volume in the orientation, about its middle voxel, in which it agrees best: a random search, then closer."""
    coarse = coarser(found), coarser(volume)

    def score(rotation: Rotation) -> float:
        return agreement(coarse[0], turn(coarse[1], rotation), 2 * SPACING_A, COARSE_A)

    best = max(Rotation.random(ORIENTATIONS, rng=rng), key=score)
    for sigma_deg in (12, 6, 3):
        steps = Rotation.from_rotvec(rng.normal(0, sigma_deg, (CLOSER, 3)), degrees=True)
        best = max([best, *(step * best for step in steps)], key=score)
    return turn(volume, best)


def coarser(volume: Volume) -> Volume:
    """On voxels of twice the size, whose middle is the same."""
    return band_pass(volume, SPACING_A, LONGEST_A, COARSE_A)[::2, ::2, ::2]


def turn(volume: Volume, rotation: Rotation) -> Volume:
    middle = np.full(3, len(volume) // 2)
    matrix = rotation.as_matrix()
    return np.asarray(affine_transform(volume, matrix, middle - matrix @ middle, order=1))


def shifts(volume: Volume, distance: int) -> list[Volume]:
    return [np.roll(volume, sign * distance, axis) for axis in range(3) for sign in (-1, 1)]


def draw(proofs: list[Proof]) -> Figure:
    """Central slices of reconstruction, map and mirrored map, three planes each."""
    figure = Figure(figsize=(10.5, 1.42 * len(proofs) + 0.15), facecolor="white")
    grid = figure.subplots(len(proofs), 9, squeeze=False)
    figure.subplots_adjust(0.045, 0.02, 0.995, 0.94, 0.03, 0.26)
    for row, proof in zip(grid, proofs, strict=True):
        columns = {
            f"RELION, {proof.particles} subtomograms of etpick": proof.reconstruction,
            f"the map: agreement {proof.agreement['the map']:.2f}": proof.density,
            f"its mirror image: {proof.agreement['mirrored and turned to fit best']:.2f}": proof.mirrored,
        }
        for i, (title, whole) in enumerate(columns.items()):
            volume = visible(whole)
            n = len(volume) // 2
            planes = (volume[n], volume[:, n], volume[:, :, n])
            for axes, plane, name in zip(row[3 * i : 3 * i + 3], planes, ("xy", "xz", "yz"), strict=True):
                axes.imshow(plane, cmap="gray", origin="lower", vmin=volume.min(), vmax=volume.max())
                axes.set(xticks=[], yticks=[])
                axes.text(1, 1, name, color="white", fontsize=7)
            row[3 * i + 1].set_title(title, fontsize=9, pad=4)
        row[0].set_ylabel(proof.species, fontsize=10)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--species", nargs="+", default=["5mrc", "4cr2", "4v94"], choices=list(PHANTOM_CLASSES))
    parser.add_argument("--box", type=int, default=48)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    args = parser.parse_args()
    relion = find_relion()
    proofs = []
    for species in args.species:
        with tempfile.TemporaryDirectory() as folder:
            proofs.append(prove(relion, species, args.box, Path(folder)))
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(proofs).savefig(args.picture, dpi=130)
    results = {
        proof.species: {
            "particles": proof.particles,
            "offset_zyx_vx": proof.offset_vx,
            "agreement": {name: round(value, 3) for name, value in proof.agreement.items()},
            "correlation_of_voxels": round(proof.correlation, 3),
        }
        for proof in proofs
    }
    keep("relion-proof", {"protocol": __doc__, "relion": ".".join(map(str, relion.version)), "results": results})
    print(f"picture: {args.picture}")


if __name__ == "__main__":
    main()
