"""Simulated tomograms as files: OUT/tomo_000.mrc, its truth .csv and its occupancy .npz."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from etpick.errors import InputError
from etpick.io.atomic import atomic_write, refuse_existing
from etpick.io.mrc import write_mrc
from etpick.io.picks import write_picks
from etpick.simulate.scene import Simulated, simulate_tomogram
from etpick.simulate.species import find_species
from etpick.types import Shape3


def simulate_folder(
    out: Path,
    *,
    count: int = 4,
    shape: Shape3 = (64, 192, 192),
    seed: int = 0,
    spacing_A: float = 10.0,
    maps: Path | None = None,
    species: Sequence[str] = (),
    particles_per_class: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Simulate tomograms into a folder; returns the paths of the tomograms.

    Each has beside it the truth (class, x, y, z in voxels from 0, rot, tilt, psi) and the occupancy volume
    (see `Simulated`). maps: a folder of density maps and atomic models; species: names to take from it, or
    of the built-in particles; none means all. on_progress(done, count) is called after each tomogram.
    Raises InputError for numbers or names that cannot be, OutputError where files would be overwritten.
    """
    if count < 1 or min(shape) < 1 or not spacing_A > 0 or seed < 0:
        raise InputError(
            f"cannot simulate {count} tomograms of {'×'.join(map(str, shape))} voxels at {spacing_A} Å with "
            f"seed {seed}; count, shape and spacing must be positive and the seed not negative"
        )
    if particles_per_class is not None and particles_per_class < 0:
        raise InputError(f"{particles_per_class} particles per class is not a number of particles")
    paths = [out / f"tomo_{i:03d}.mrc" for i in range(count)]
    for path in (companion for tomogram in paths for companion in _companions(tomogram)):
        refuse_existing(path, overwrite)
    kinds = find_species(maps, species, spacing_A)
    out.mkdir(parents=True, exist_ok=True)
    for i, (path, child) in enumerate(zip(paths, np.random.SeedSequence(seed).spawn(count), strict=True)):
        simulated = simulate_tomogram(
            shape,
            seed=child,
            spacing_A=spacing_A,
            species=kinds,
            particles_per_class=particles_per_class,
            name=path.stem,
        )
        write_simulated(path, simulated, overwrite=overwrite)
        if on_progress:
            on_progress(i + 1, count)
    return paths


def write_simulated(path: Path, simulated: Simulated, *, overwrite: bool = False) -> None:
    """Write path (.mrc) and, beside it, the truth (.csv) and the occupancy (_occupancy.npz)."""
    tomogram, truth, occupancy = _companions(path)
    write_picks(truth, simulated.truth, overwrite=overwrite)
    with atomic_write(occupancy, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, occupancy=simulated.occupancy)
    write_mrc(tomogram, simulated.tomogram.data, simulated.tomogram.spacing_A, overwrite=overwrite)


def _companions(path: Path) -> tuple[Path, Path, Path]:
    return path, path.with_suffix(".csv"), path.with_name(f"{path.stem}_occupancy.npz")
