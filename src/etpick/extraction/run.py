"""Cut subtomograms and write them: the top of an extraction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from etpick.config import ExtractionConfig, build
from etpick.errors import InputError
from etpick.extraction.contrast import decide_contrast
from etpick.extraction.output import TARGETS, describe, open_stores, prefix_of, remove_all_unfinished, write_rest
from etpick.extraction.plan import Job, plan
from etpick.io.pairing import find_picks
from etpick.io.run_folder import RunFolder, open_folder
from etpick.io.subtomograms import SubtomogramFormat, SubtomogramStore, import_zarr
from etpick.io.tilts import USUAL, tilts_of
from etpick.io.tomograms import find_tomograms, open_tomogram
from etpick.ops.subtomograms import cut, level, outside_ball

_BACKGROUND: Final = 0.75  # of the box is the particle's, as in RELION's extraction
_SAME_SPACING: Final = 0.01
PADDED: Final = "boxes that reach beyond the tomogram"


@dataclass(frozen=True, eq=False)
class Extraction:
    """What `extract` made: files to open, how many subtomograms, and what was decided and left out."""

    files: tuple[Path, ...]
    count: int
    notes: tuple[str, ...]


def extract(
    picks: Path | str,
    tomograms: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    formats: Sequence[SubtomogramFormat] = ("relion",),
    classes: Sequence[str] = (),
    tilts: str | None = None,
    spacing_A: float | None = None,
    picks_spacing_A: float | None = None,
    project: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Extraction:
    """Cut subtomograms around picks and write them, with a gallery to look through.

    `picks` is a pick file or a folder of them, `tomograms` files or folders, of the picked or of another binning:
    positions are brought from the spacing that the picks state, or `picks_spacing_A`, to the tomogram's. Formats:
    `relion` (particles.star, an MRC each, a wedge per tomogram), `stack` (particles.mrc) and `zarr`
    (particles.zarr), these two with particles.csv. `classes` names those wanted, none means all. `tilts`: see
    `etpick.io.tilts`. Paths in the STAR file count from `project`, RELION's project folder, or from `out`.
    `options` are fields of `etpick.config.ExtractionConfig`; box_vx or box_A is needed.

    Boxes are cut at whole voxels, without interpolation; what is left to the particle's centre stands in the STAR
    file's origins. Raises InputError, and OutputError where something would be overwritten.
    """
    config = build(ExtractionConfig, {name: value for name, value in options.items() if value is not None})
    if "zarr" in formats:
        import_zarr()
    paths = find_tomograms([tomograms] if isinstance(tomograms, (str, Path)) else tomograms)
    owners = find_picks(Path(picks), paths)
    angles = tilts_of(tilts or USUAL, list(owners))
    planned = [
        plan(open_tomogram(path, spacing_A=spacing_A), file, config, classes, picks_spacing_A)
        for path, file in owners.items()
    ]
    jobs = [job for job in planned if len(job.cuts)]
    _refuse_impossible(jobs, formats, classes)
    invert, contrast = decide_contrast(jobs, config.contrast)
    notes = (*_notes(planned, config, len(paths) - len(owners), tilts), contrast)
    sets = [describe(job, prefix_of(out, project)) for job in jobs]
    base = Path(out)
    request = _request(jobs, config, formats=list(formats), tilts=tilts, project=prefix_of(out, project), invert=invert)
    folder = open_folder(base, "extraction", request, TARGETS, resume=resume, overwrite=overwrite)
    if not folder.finished:
        if not folder.done:  # stopped in the first tomogram: what is there may be anything
            remove_all_unfinished(base)
        stores = open_stores(base, sets, formats)
        try:
            _cut_all(jobs, stores, folder, config, invert, on_progress)
            tilts_of_jobs = [angles[path] for path, job in zip(owners, planned, strict=True) if len(job.cuts)]
            write_rest(base, sets, stores, tilts_of_jobs, config, notes)
        finally:
            for store in stores.values():
                store.close()
        folder.finish()
    made = tuple(base / name for name in TARGETS if (base / name).exists())
    return Extraction(made, sum(len(job.cuts) for job in jobs), notes)


def no_tilts(axis: str) -> str:
    """What is assumed where no tilt angles are given."""
    return f"no tilt angles given: the missing wedge is that of {USUAL} degrees about {axis}"


def _request(jobs: Sequence[Job], config: ExtractionConfig, **more: Any) -> dict[str, Any]:
    """All that the written files depend on, to tell whether an extraction may go on."""
    return config.model_dump() | more | {f"picks of {job.tomogram.name}": job.digest for job in jobs}


def _refuse_impossible(jobs: Sequence[Job], formats: Sequence[str], classes: Sequence[str]) -> None:
    if not jobs:
        which = f" of class {', '.join(classes)}" if classes else ""
        raise InputError(
            f"nothing to extract: the pick files hold no pick{which}, or none whose box lies inside a tomogram "
            "(--edge pad fills boxes up)"
        )
    boxes = {job.box_vx for job in jobs}
    spacings = [job.tomogram.spacing_A for job in jobs]
    if set(formats) - {"relion"} and (len(boxes) > 1 or max(spacings) > (1 + _SAME_SPACING) * min(spacings)):
        raise InputError(
            f"the tomograms have {min(spacings):g} to {max(spacings):g} Å per voxel: a stack or Zarr holds boxes of "
            "one size and spacing; extract them in several runs, or as --format relion"
        )


def _cut_all(
    jobs: Sequence[Job], stores: Mapping[str, SubtomogramStore], folder: RunFolder, config: ExtractionConfig,
    invert: bool, on_progress: Callable[[int, int], None] | None,
) -> None:  # fmt: skip
    """Write every box of the tomograms that are not done."""
    row, total = 0, sum(len(job.cuts) for job in jobs)
    for job in jobs:
        if job.tomogram.name in folder.done:
            row += len(job.cuts)
            continue
        background_vx = (
            config.background_A / job.tomogram.spacing_A if config.background_A else _BACKGROUND * job.box_vx
        )
        around = outside_ball(job.box_vx, background_vx) if config.normalise else None
        for corner in job.cuts.corners:
            box = level(cut(job.tomogram.data, corner, job.box_vx), around, invert=invert)
            for store in stores.values():
                store.write(row, box)
            row += 1
            if on_progress:
                on_progress(row, total)
        folder.mark(job.tomogram.name)


def _notes(jobs: Sequence[Job], config: ExtractionConfig, without: int, tilts: str | None) -> list[str]:
    dropped = sum(job.cuts.dropped for job in jobs)
    padded = sum(int(job.cuts.over_edge.sum()) for job in jobs)
    notes = []
    if without:
        notes.append(f"tomograms without a pick file, passed over: {without}")
    if config.edge == "drop":
        notes.append(f"particles left out because their box reaches beyond the tomogram: {dropped}")
    else:
        notes.append(f"{PADDED} and were filled up: {padded}; centres outside: {dropped}")
    if tilts is None:
        notes.append(no_tilts(config.tilt_axis))
    if all(job.particles.angles is None for job in jobs):
        notes.append("the picks have no orientations: angles are 0 in the STAR file")
    return notes
