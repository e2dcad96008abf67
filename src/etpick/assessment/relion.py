"""RELION's gold-standard refinement of a set, and its postprocessing."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from etpick.assessment.light import refiner_of
from etpick.assessment.measure import particle_mask
from etpick.assessment.particles import Extracted, poses_in, write_star
from etpick.assessment.result import Averaged
from etpick.averaging.expectation import correlations
from etpick.averaging.refine import SHIFTS_PER_WAVE, mask_diameter, start_shell
from etpick.errors import ExternalError
from etpick.evaluation.resolution import Halves, compare_halves, crossing_shell
from etpick.external import Relion
from etpick.io.mrc import read_mrc, write_mrc
from etpick.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

LIKELIHOOD: Final = "RELION's log-likelihood contribution"
_FOLDER: Final = "relion"
_START, _REFERENCE, _MASK = "start.star", "start.mrc", "mask.mrc"
_PROCESSES: Final = 3  # a leader and one for each half
_HEALPIX: Final = 2  # 15 degrees, 7.5 with oversampling: orientations are known that well from the common start
_OFFSET_PX: Final = 3  # at least; a step of the common start's shifts where that is more
_STEP_PX: Final = 2
_NEVER_BELOW: Final = "never drops below"  # … randomize_fsc_at, says relion_postprocess and stops
_POSTPROCESSED: Final = {
    "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
    "masked": "rlnFourierShellCorrelationMaskedMaps",
    "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
    "corrected": "rlnFourierShellCorrelationCorrected",
}


def refine_relion(
    relion: Relion, extracted: Extracted, folder: Path, diameter_A: float, reach_A: float, seed: int,
    on_step: Callable[[], None],
) -> Averaged:  # fmt: skip
    """Refine two halves apart with relion_refine_mpi --auto_refine, in FOLDER/relion; goes on where it was stopped.

    The reference and the orientations to begin with are the light path's common start: made from the picks
    themselves at low resolution. RELION searches around them. Raises ExternalError.
    """
    place = folder / _FOLDER
    place.mkdir(exist_ok=True)
    if not (place / _START).exists():
        _write_start(extracted, place, diameter_A, reach_A, seed, on_step)
    grid = extracted.grid
    first = extracted.box_A / start_shell(grid.box_vx, diameter_A / extracted.spacing_A, grid.shells)
    if not (place / "run_data.star").exists():
        _refine(relion, extracted, place, diameter_A, first, seed, on_step)
    return _read(relion, extracted, place, diameter_A, first)


def _write_start(
    extracted: Extracted, place: Path, diameter_A: float, reach_A: float, seed: int, on_step: Callable[[], None]
) -> None:
    start = refiner_of(extracted, diameter_A, reach_A, seed, on_step).common_start()
    size = int(extracted.optics["rlnImageSize"].iloc[0])
    spacing_A = extracted.box_A / size
    write_mrc(place / _REFERENCE, _enlarged(start.reference.double().numpy(), size), spacing_A, overwrite=True)
    write_mrc(place / _MASK, particle_mask(size, diameter_A / spacing_A), spacing_A, overwrite=True)
    write_star(place / _START, extracted.optics, extracted.at(start.poses))


def _enlarged(volume: FloatArray, size: int) -> FloatArray:
    """A cube with more voxels over the same length: its transform with zeros around."""
    n = volume.shape[0]
    if n == size:
        return volume
    margin = (size - n) // 2
    transformed = np.pad(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume))), margin)
    larger = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(transformed)).real)
    return np.asarray(larger * (size / n) ** 3)


def _refine(
    relion: Relion, extracted: Extracted, place: Path, diameter_A: float, first_A: float, seed: int,
    on_step: Callable[[], None],
) -> None:  # fmt: skip
    output = os.path.relpath(place.resolve() / "run", extracted.folder.resolve())
    going = _complete(place)
    if going:
        options: list[object] = ["--continue", os.path.relpath(going[-1].resolve(), extracted.folder.resolve())]
    else:
        spacing_A = extracted.box_A / int(extracted.optics["rlnImageSize"].iloc[0])
        wide_A = mask_diameter(diameter_A / spacing_A, int(extracted.optics["rlnImageSize"].iloc[0])) * spacing_A
        options = [
            "--i", os.path.relpath((place / _START).resolve(), extracted.folder.resolve()),
            "--ref", os.path.relpath((place / _REFERENCE).resolve(), extracted.folder.resolve()),
            "--ini_high", f"{first_A:.2f}", "--low_resol_join_halves", f"{first_A:.2f}",
            "--auto_refine", "--split_random_halves", "--K", 1, "--sym", "C1", "--particle_diameter", f"{wide_A:.1f}",
            "--ctf", "--flatten_solvent", "--zero_mask", "--norm", "--scale", "--oversampling", 1,
            "--healpix_order", _HEALPIX, "--auto_local_healpix_order", _HEALPIX,
            "--offset_range", max(_OFFSET_PX, math.ceil(first_A / SHIFTS_PER_WAVE / spacing_A)),
            "--offset_step", _STEP_PX, "--pad", 1, "--pool", 30,
            "--dont_combine_weights_via_disc", "--random_seed", seed + 1,
        ]  # fmt: skip
    told = len(going)

    def watch() -> None:
        nonlocal told
        made = len(list(place.glob("run_it[0-9][0-9][0-9]_optimiser.star")))
        for _ in range(made - told):
            on_step()
        told = max(told, made)

    relion.run(
        "relion_refine_mpi", [*options, "--o", output, "--j", 1], extracted.folder, processes=_PROCESSES,
        log=place / "run.log", while_running=watch,
    )  # fmt: skip


def _complete(place: Path) -> list[Path]:
    """The optimisers of iterations of which all files are there: they are written one after the other, and a run may be
    stopped in between."""
    found = []
    for path in sorted(place.glob("run_it[0-9][0-9][0-9]_optimiser.star")):
        iteration = path.name.removesuffix("_optimiser.star")
        parts = ["_data.star", "_sampling.star"]
        parts += [f"_half{half}_{what}" for half in (1, 2) for what in ("model.star", "class001.mrc")]
        if all((place / f"{iteration}{part}").exists() for part in parts):
            found.append(path)
    return found


def _read(relion: Relion, extracted: Extracted, place: Path, diameter_A: float, first_A: float) -> Averaged:
    import starfile

    found: pd.DataFrame = starfile.read(place / "run_data.star", always_dict=True)["particles"]
    rows = found.set_index("rlnImageName").loc[list(extracted.table["rlnImageName"])].reset_index()
    paths = [place / f"run_half{half}_class001_unfil.mrc" for half in (1, 2)]
    one, other = (np.array(read_mrc(path).data, dtype=np.float64) for path in paths)
    spacing_A = extracted.box_A / one.shape[0]
    poses = poses_in(rows, extracted.spacing_A)
    half = rows["rlnRandomSubset"].to_numpy(dtype=np.float64) - 1
    mask = particle_mask(len(one), diameter_A / spacing_A)
    curves = _postprocess(relion, place, paths[0], spacing_A) or compare_halves(one, other, mask)
    last = max(1, min(round(crossing_shell(curves.corrected)), extracted.grid.shells))
    correlation = np.zeros(len(rows))
    for number, volume in enumerate((one, other)):
        mine = np.flatnonzero(half == number)
        reference = extracted.grid.volume(torch.from_numpy(volume * mask))
        chosen = torch.from_numpy(mine)
        correlation[mine] = list(
            correlations(extracted.spectra.select(chosen), extracted.grid, reference, poses.select(chosen), last)
        )
    return Averaged(
        f"RELION {'.'.join(map(str, relion.version))}", (one, other), spacing_A, half, poses,
        rows["rlnLogLikeliContribution"].to_numpy(dtype=np.float64), LIKELIHOOD,
        rows["rlnMaxValueProbDistribution"].to_numpy(dtype=np.float64), correlation, first_A, curves,
    )  # fmt: skip


def _postprocess(relion: Relion, place: Path, half_map: Path, spacing_A: float) -> Halves | None:
    """RELION's own curves of the two halves; None where they agree so well that it gives up."""
    import starfile

    options = ["--i", half_map.name, "--mask", _MASK, "--angpix", spacing_A, "--o", "./post", "--skip_fsc_weighting"]
    try:
        output = relion.run("relion_postprocess", options, place)
    except ExternalError as error:
        if _NEVER_BELOW not in str(error):
            raise
        return None
    blocks: dict[str, Any] = starfile.read(place / "post.star", always_dict=True)
    table = blocks["fsc"]
    missing = [name for name in _POSTPROCESSED.values() if name not in table]
    if missing:
        raise ExternalError(
            f"{place / 'post.star'} has no {missing[0]}: RELION 3.1 writes it; is this another version?"
        )
    curves = {name: table[column].to_numpy(dtype=np.float64) for name, column in _POSTPROCESSED.items()}
    told = re.search(r"randomi[sz]e phases beyond:\s*([\d.]+)", output)
    random_A = float(told[1]) if told else 0.0
    box_A = spacing_A * 2 * (len(table) - 1)
    return Halves(**curves, random_from=round(box_A / random_A) if random_A else len(table))
