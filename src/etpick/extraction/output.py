"""What an extraction leaves in its folder: boxes, tables, wedges, a gallery."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.config import ExtractionConfig
from etpick.extraction.plan import Job
from etpick.io.atomic import atomic_write
from etpick.io.mrc import write_mrc
from etpick.io.relion_subtomograms import Microscope, SubtomogramSet, write_subtomogram_csv, write_subtomogram_star
from etpick.io.subtomograms import RelionFiles, Stack, SubtomogramStore, ZarrStore, remove_unfinished
from etpick.ops.ctf import Lens
from etpick.ops.wedge import transfer, wedge
from etpick.report.gallery import Shown, gallery_report
from etpick.report.page import Report, write_report
from etpick.types import FloatArray

BOXES: Final = "subtomograms"
STAR, CSV, STACK, ZARR, GALLERY = "particles.star", "particles.csv", "particles.mrc", "particles.zarr", "gallery.html"
TARGETS: Final = (BOXES, STAR, STACK, ZARR, CSV, GALLERY)


def prefix_of(out: Path | str, project: Path | str | None) -> str:
    """The way from RELION's project folder to the output, with a slash at its end; "" where they are one."""
    way = os.path.relpath(Path(out).absolute(), Path(project or out).absolute())
    return "" if way == "." else f"{Path(way).as_posix()}/"


def describe(job: Job, prefix: str) -> SubtomogramSet:
    """The subtomograms of a tomogram with the names of their files."""
    name = job.tomogram.name
    folder = f"{prefix}{BOXES}/{name}/{name}"
    images = [f"{folder}_{number:06d}.mrc" for number in job.numbers]
    middles = job.cuts.corners + job.box_vx // 2
    return SubtomogramSet(
        name, job.tomogram.spacing_A, job.box_vx, job.particles, job.numbers, middles, images, f"{folder}_wedge.mrc"
    )


def open_stores(base: Path, sets: Sequence[SubtomogramSet], formats: Sequence[str]) -> dict[str, SubtomogramStore]:
    """Places for the boxes of all sets, in their order."""
    stores: dict[str, SubtomogramStore] = {}
    first, count = sets[0], sum(map(len, sets))
    if "relion" in formats:
        paths = [base / BOXES / one.name / Path(image).name for one in sets for image in one.images]
        stores["relion"] = RelionFiles(base / BOXES, paths, [one.spacing_A for one in sets for _ in one.images])
    if "stack" in formats:
        stores["stack"] = Stack(base / STACK, count, first.box_vx, first.spacing_A)
    if "zarr" in formats:
        stores["zarr"] = ZarrStore(base / ZARR, count, first.box_vx, *_zarr_content(sets))
    return stores


def remove_all_unfinished(base: Path) -> None:
    """Take away the stack and the store that a stopped extraction left half made."""
    for name in (STACK, ZARR):
        remove_unfinished(base / name)


def write_rest(
    base: Path, sets: Sequence[SubtomogramSet], stores: Mapping[str, SubtomogramStore],
    tilts: Sequence[FloatArray], config: ExtractionConfig, notes: Sequence[str],
) -> None:  # fmt: skip
    """Tables, wedges and gallery, when every box is there; what an extraction cut short left of them is replaced."""
    for store in stores.values():
        store.finish()
    if "relion" in stores:
        for one, angles in zip(sets, tilts, strict=True):
            path = base / BOXES / one.name / Path(one.ctf).name
            write_mrc(path, measured(one, angles, config), one.spacing_A, overwrite=True)
        microscope = Microscope(config.voltage_kV, config.spherical_aberration_mm, config.amplitude_contrast)
        with atomic_write(base / STAR, overwrite=True) as temporary:
            write_subtomogram_star(temporary, sets, microscope)
    if set(stores) - {"relion"}:
        with atomic_write(base / CSV, overwrite=True) as temporary:
            write_subtomogram_csv(temporary, sets)
    if config.gallery:
        write_report(base / GALLERY, _gallery(sets, next(iter(stores.values())), config, notes), overwrite=True)


def measured(one: SubtomogramSet, tilts_deg: FloatArray, config: ExtractionConfig) -> NDArray[np.float32]:
    """RELION's 3D CTF of a tomogram: the wedge, times the contrast transfer where the defocus is known."""
    seen = wedge(tilts_deg, one.box_vx, config.tilt_axis)
    if config.defocus_um is None:
        return seen
    lens = Lens(config.voltage_kV, config.spherical_aberration_mm, config.amplitude_contrast)
    return seen * transfer(one.box_vx, one.spacing_A, config.defocus_um, lens, phase_flipped=config.phase_flipped)


def _zarr_content(sets: Sequence[SubtomogramSet]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays of what is known of each box, and attributes of all; names are numbers into lists of names."""
    names = sorted({str(name) for one in sets for name in one.particles.classes})
    columns: dict[str, NDArray[Any]] = {
        "position_zyx_vx": np.concatenate([one.particles.positions for one in sets]),
        "shift_zyx_vx": np.concatenate([one.remainders for one in sets]),
        "class": np.concatenate([np.searchsorted(names, one.particles.classes) for one in sets]),
        "tomogram": np.repeat(np.arange(len(sets)), [len(one) for one in sets]),
        "number": np.concatenate([one.numbers for one in sets]),
        "score": np.concatenate([_or_nan(one.particles.scores, len(one)) for one in sets]),
        "rot_tilt_psi_deg": np.concatenate([_or_nan(one.particles.angles, len(one), 3) for one in sets]),
    }
    attributes = {
        "spacing_A": sets[0].spacing_A, "axes": "zyx", "middle_voxel": sets[0].box_vx // 2,
        "classes": names, "tomograms": [one.name for one in sets],
    }  # fmt: skip
    return columns, attributes


def _or_nan(values: FloatArray | None, *shape: int) -> FloatArray:
    return np.full(shape, np.nan) if values is None else values


def _gallery(
    sets: Sequence[SubtomogramSet], store: SubtomogramStore, config: ExtractionConfig, notes: Sequence[str]
) -> Report:
    scores = np.concatenate([_or_nan(one.particles.scores, len(one)) for one in sets])
    shown = Shown(
        np.concatenate([one.particles.classes for one in sets]),
        np.repeat([one.name for one in sets], [len(one) for one in sets]),
        scores if np.isfinite(scores).any() else None,
        np.concatenate([one.numbers for one in sets]),
        store.read,
    )
    boxes = sorted({(one.box_vx, one.spacing_A) for one in sets})
    facts = {
        "tomograms": str(len(sets)),
        "boxes": ", ".join(f"{box} voxels of {spacing:g} Å, {box * spacing / 10:.4g} nm" for box, spacing in boxes),
        "grey levels": "background at mean 0, σ 1" if config.normalise else "as in the tomogram",
    }
    return gallery_report(shown, config.gallery, facts, notes)
