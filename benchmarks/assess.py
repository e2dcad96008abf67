"""Does `etpick assess` tell better picks from worse, and do its poses come closer to the truth?

python benchmarks/assess.py --by light --species 5mrc 4cr2
python benchmarks/assess.py --by relion --species 5mrc --tomograms 100 101 102 103
python benchmarks/assess.py --by light --real

Discrimination: the true places of a species in the phantoms; the same places displaced at random by a quarter and by
half of the particle's radius; and the same with 30 and 60 % of them exchanged for random background places. All sets
have as many picks. On every curve they should stand in that order.

Convergence: the poses that the assessment found for the true places, the random poses that it began with, and
RELION's start where it is by RELION, against the true poses; and the average that each of them gives in one
unregularised reconstruction, the true poses too, by its Fourier shell correlation with the density map that the
phantom was made of, averaged over waves down to 30 Å. A set's average may be turned and moved as a whole: the turn
and shift that fit the true poses best are taken out first.

With --real instead: the labelled ribosomes of the real tomogram, and as many random places of the same slab that keep
7 voxels (220 Å) away from them. There is no truth of their poses; the labels should average, the random places not.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import starfile
import torch
from scipy.spatial.transform import Rotation

from common import DATA, PHANTOM_CLASSES, RESULTS, density, keep, phantom
from etpick.assessing import assess
from etpick.assessment.particles import Extracted, poses_in, read_extracted
from etpick.assessment.result import SetResult, read_result
from etpick.averaging.expectation import Poses, average
from etpick.averaging.rotations import angle_between, random_rotations
from etpick.evaluation.density import agreement
from etpick.io.picks import write_picks
from etpick.orientation import angles_of
from etpick.types import FloatArray, Particles

SHORTEST_A = 30.0
SPACING_A = 10.0
KINDS = ("true", "moved-quarter", "moved-half", "diluted-30", "diluted-60")


def truth(number: int, species: str) -> Particles:
    """The particles of a species with RELION's angles; the phantom's are of scipy's "ZYZ" acting on (z, y, x)."""
    particles = phantom(number)[1].of_class(species)
    assert particles.angles is not None
    matrices = Rotation.from_euler("ZYZ", particles.angles, degrees=True).as_matrix()[:, ::-1, ::-1]
    return replace(particles, angles=angles_of(Rotation.from_matrix(matrices)))


def variant(particles: Particles, shape: tuple[int, ...], others: FloatArray, radius_vx: float, kind: str,
            rng: np.random.Generator) -> Particles:  # fmt: skip
    """A worse set of as many picks; `others` are the places of all particles, which background keeps away from."""
    positions = particles.positions.copy()
    if kind.startswith("moved"):
        step = rng.standard_normal(positions.shape)
        share = 0.25 if kind == "moved-quarter" else 0.5
        positions += share * radius_vx * step / np.linalg.norm(step, axis=1, keepdims=True)
    if kind.startswith("diluted"):
        wrong = rng.permutation(len(positions))[: round(len(positions) * int(kind[-2:]) / 100)]
        for row in wrong:
            while True:
                place = rng.uniform(radius_vx, np.array(shape) - radius_vx)
                if np.linalg.norm(others - place, axis=1).min() > radius_vx:
                    positions[row] = place
                    break
    return replace(particles, positions=positions, angles=None)


def write_sets(folder: Path, species: str, numbers: list[int]) -> list[Path]:
    """A folder with pick files for each kind of set."""
    radius_vx = PHANTOM_CLASSES[species] / 2 / SPACING_A
    for number in numbers:
        tomogram, every = phantom(number)
        true = truth(number, species)
        for i, kind in enumerate(KINDS):
            rng = np.random.default_rng([number, i])
            picks = variant(true, tomogram.shape, every.positions, radius_vx, kind, rng)
            write_picks(folder / kind / f"tomo_{number}.csv", picks, overwrite=True)
    return [folder / kind for kind in KINDS]


def true_poses(extracted: Extracted, species: str) -> Poses:
    """Of the extracted particles, in the order of their table."""
    spots = {f"tomo_{n}": truth(n, species) for n in {int(m[-3:]) for m in extracted.table["rlnMicrographName"]}}
    coordinates = extracted.table[["rlnCoordinateZ", "rlnCoordinateY", "rlnCoordinateX"]].to_numpy(dtype=float)
    angles, shifts = [], []
    for name, middle in zip(extracted.table["rlnMicrographName"], coordinates, strict=True):
        own = spots[name]
        assert own.angles is not None
        row = np.linalg.norm(own.positions - middle, axis=1).argmin()
        angles.append(own.angles[row])
        shifts.append(own.positions[row] - middle)
    table = extracted.table.copy()
    table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]] = angles
    table[["rlnOriginZAngst", "rlnOriginYAngst", "rlnOriginXAngst"]] = -np.array(shifts) * SPACING_A
    return poses_in(table, extracted.spacing_A)


def fitted(poses: Poses, true: Poses) -> Poses:
    """Without the turn and shift of the reference as a whole that explain most of the difference to the truth."""
    turns = true.rotations.transpose(1, 2) @ poses.rotations  # of the reference, one for each particle
    apart = torch.stack([angle_between(turns, one.expand_as(turns)).median() for one in turns])
    near = angle_between(turns, turns[apart.argmin()].expand_as(turns)) < 30
    turn = torch.from_numpy(Rotation.from_matrix(turns[near].double().numpy()).mean().as_matrix()).float()
    rotations = poses.rotations @ turn.T
    moved = (rotations.transpose(1, 2) @ (poses.shifts_vx - true.shifts_vx)[:, :, None])[:, :, 0]
    middle = moved[near].median(dim=0).values
    return Poses(rotations, poses.shifts_vx - (rotations @ middle[:, None])[:, :, 0])


def convergence(place: Path, species: str) -> dict[str, Any]:
    """How far poses lie from the truth, and how well what they average to agrees with the density map."""
    extracted = read_extracted(place / "extracted")
    true, expected = true_poses(extracted, species), density(species, extracted.grid.box_vx)
    rng = np.random.default_rng(0)
    tables = {"refined": place / "refined.star", "common start": place / "relion" / "start.star"}
    poses = {"true": true, "random": Poses(random_rotations(len(extracted), rng), true.shifts_vx * 0)}
    poses |= {name: poses_in(starfile.read(path, always_dict=True)["particles"], extracted.spacing_A)
              for name, path in tables.items() if path.exists()}  # fmt: skip
    found = {}
    for name, own in poses.items():
        fit = own if name == "true" else fitted(own, true)
        sums = average(extracted.spectra, extracted.grid, fit)
        volume = extracted.grid.solve(sums, torch.full((extracted.grid.shells + 1,), 1e-3), extracted.grid.shells)
        angles = angle_between(fit.rotations, true.rotations)
        found[name] = {
            "median_angle_deg": float(angles.median()), "within_20_deg": float((angles < 20).float().mean()),
            "median_shift_vx": float((fit.shifts_vx - true.shifts_vx).norm(dim=1).median()),
            "agreement": agreement(volume.double().numpy(), expected, extracted.spacing_A, SHORTEST_A),
        }  # fmt: skip
    return found


def write_real(folder: Path) -> list[Path]:
    """The labels of the real tomogram, and random places."""
    with (DATA / "real" / "chlamy_lamella_171_ribosomes.csv").open() as file:
        labels = np.array([[float(z), float(y), float(x)] for x, y, z in list(csv.reader(file))[1:]])
    low, high = [labels[:, 0].min(), 8, 8], [labels[:, 0].max(), 248, 248]
    rng = np.random.default_rng(0)
    places: list[FloatArray] = []
    while len(places) < len(labels):
        place = rng.uniform(low, high)
        if np.linalg.norm(labels - place, axis=1).min() > 7:
            places.append(place)
    sets = {"labels": labels, "random": np.array(places)}
    return [
        write_picks(folder / f"{name}.csv", Particles(positions, np.array("ribosome")), overwrite=True)
        for name, positions in sets.items()
    ]


def run_real(by: str) -> None:
    """Assess both sets and keep what was found."""
    base = RESULTS / f"assess-{by}-real"
    shutil.rmtree(base, ignore_errors=True)
    found = assess(
        write_real(base / "picks"), DATA / "real" / "chlamy_lamella_171.mrc", base / "assessed", by=by,
        diameters_A={"ribosome": 280.0}, differences=False, contrast="invert",
    )  # fmt: skip
    keep(f"assess-{by}-real", {"protocol": __doc__, "sets": {r.name: summary(r) for r in found.results}})


def summary(r: SetResult) -> dict[str, Any]:
    """What the table in the documentation shows of a set."""
    fit = r.b_factor
    sizes = np.unique(r.subset_counts)
    return {
        "particles": r.particles, "resolution_A": r.resolution_A, "at_limit": r.at_limit,
        "mean_corrected_fsc": float(r.curves.corrected[1:].mean()), "local_median_A": float(np.median(r.local_A)),
        "b_factor_A2": fit.b_A2 if fit else None, "log_likelihood_median": float(np.median(r.log_likelihood)),
        "correlation": float(r.correlation.mean()), "off_centre_median_A": float(np.median(r.moved_A)),
        "maximum_value_probability": float(r.top.mean()),
        "subsets_A": {str(int(n)): float(np.median(r.subset_resolutions_A[r.subset_counts == n])) for n in sizes},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", default="light", choices=["light", "relion"])
    parser.add_argument("--species", nargs="+", default=["5mrc", "4cr2"])
    parser.add_argument("--tomograms", type=int, nargs="+", default=list(range(100, 107)))
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--name", default="assess", help="of the folder and file in runs/")
    parser.add_argument("--real", action="store_true", help="the real tomogram instead of phantoms")
    args = parser.parse_args()
    if args.real:
        run_real(args.by)
        return
    results: dict[str, Any] = {}
    for species in args.species:
        base = RESULTS / f"{args.name}-{args.by}-{species}"
        if not args.resume:
            shutil.rmtree(base, ignore_errors=True)
        sets = [path for path in write_sets(base / "picks", species, args.tomograms) if path.name in args.kinds]
        began = time.perf_counter()
        assess(
            sets, [DATA / "phantom" / f"tomo_{n}.mrc" for n in args.tomograms], base / "assessed", by=args.by,
            diameters_A={species: float(PHANTOM_CLASSES[species])}, differences=False, resume=args.resume,
            on_message=lambda line: print(line, flush=True),
        )  # fmt: skip
        places = base / "assessed" / "sets"
        found = {kind: summary(read_result(places / kind / "assessed.json")) for kind in args.kinds}
        results[species] = {
            "minutes": (time.perf_counter() - began) / 60, "sets": found,
            "convergence": convergence(places / "true", species) if "true" in args.kinds else None,
        }  # fmt: skip
        keep(f"{args.name}-{args.by}", {"protocol": __doc__, "options": vars(args), "results": results})


if __name__ == "__main__":
    main()
