"""Assess sets of picks: the top of it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from etpick.assessing.sets import choose, differences_of, digest, gather
from etpick.assessment.light import refine_light
from etpick.assessment.measure import SUBSETS, average_map, measure, particle_mask, subset_sizes
from etpick.assessment.particles import Extracted, read_extracted, write_star
from etpick.assessment.relion import refine_relion
from etpick.assessment.result import FILE, Averaged, SetResult, read_result
from etpick.averaging.refine import ITERATIONS, START_ITERATIONS
from etpick.checkpoint import load_model
from etpick.comparing import names_of
from etpick.config import AssessmentConfig, ExtractionConfig, build
from etpick.errors import ExternalError, InputError
from etpick.external import Relion, find_relion
from etpick.extraction import extract
from etpick.extraction.contrast import decide_contrast
from etpick.extraction.plan import job_of
from etpick.extraction.run import PADDED, no_tilts
from etpick.io.mrc import write_mrc
from etpick.io.picks import write_picks
from etpick.io.run_folder import open_folder
from etpick.io.sanity import same_spacing
from etpick.io.table import tomogram_name
from etpick.io.tilts import USUAL, tilts_of
from etpick.io.tomograms import find_tomograms, open_tomogram
from etpick.judging import classes_of
from etpick.report.assessed import assessment_report
from etpick.report.page import write_report
from etpick.types import ParticleClass, Particles, Tomogram

PAGE: Final = "assess.html"

OnStage = Callable[[str], Callable[[int, int], None]]
"""Told the name of a stage that begins; returns what is told of its progress, (done, total)."""

_SETS: Final = "sets"
_BOX: Final = 1.6  # diameters
_REACH: Final = 0.25  # diameters
_USUAL_ITERATIONS: Final = 20  # of RELION, for the bar
_OF_EXTRACTION: Final = ("tilts", "tilt_axis", "defocus_um", "phase_flipped", "contrast", "voltage_kV")


@dataclass(frozen=True, eq=False)
class Assessment:
    """Results of all sets, where they were written, and what had to be assumed or left out."""

    results: tuple[SetResult, ...]
    report: Path
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """To print."""
        return [*(f"note: {note}" for note in self.notes), *(result.line() for result in self.results)]


def assess(
    sets: Sequence[Path | str],
    tomograms: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    names: Sequence[str] = (),
    class_name: str | None = None,
    model: Path | str | None = None,
    diameters_A: Mapping[str, float] | None = None,
    spacing_A: float | None = None,
    picks_spacing_A: float | None = None,
    differences: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    on_message: Callable[[str], None] = lambda _: None,
    on_stage: OnStage = lambda _: lambda _done, _total: None,
    **options: Any,
) -> Assessment:
    """Average one or several sets of picks by one protocol and report how good the averages are.

    `sets` are pick files, or folders with a file for each tomogram; `tomograms` are files or folders. Of several
    classes `class_name` says which. With two sets or more, what all share and what each has alone are sets of their
    own, unless `differences` is false. `options` are fields of `etpick.config.AssessmentConfig`, and of
    `etpick.extraction.extract` tilts, tilt_axis, defocus_um, phase_flipped, contrast and voltage_kV.

    Everything of a set is in OUT/sets/NAME (average.mrc, half1.mrc, half2.mrc, mask.mrc, local_resolution.mrc,
    refined.star with orientations, assessed.json), the report is OUT/assess.html. Raises EtpickError.
    """
    extraction = {name: options.pop(name) for name in _OF_EXTRACTION if options.get(name) is not None}
    config = build(AssessmentConfig, {name: value for name, value in options.items() if value is not None})
    relion, notes = _program(config)
    kind = _class(classes_of(diameters_A or {}, None if model is None else load_model(model)), class_name)
    paths = find_tomograms([tomograms] if isinstance(tomograms, (str, Path)) else tomograms)
    opened = {path: open_tomogram(path, spacing_A=spacing_A) for path in paths}
    spacing_A = _one_spacing(list(opened.values()))
    tilts_of(extraction.get("tilts", USUAL), paths)  # says now what is missing, not after hours
    named = names_of([Path(path) for path in sets], names)
    gathered, remarks = gather(dict(zip(named, map(Path, sets), strict=True)), opened, kind, picks_spacing_A)
    if differences and len(gathered) > 1:
        gathered |= differences_of(gathered, kind)
    chosen, left_out = choose(gathered, config)
    extraction["contrast"], why = _contrast(chosen, opened, config, kind, extraction.get("contrast", "auto"))
    notes += [*remarks, *left_out, why]
    if "tilts" not in extraction:
        notes.append(no_tilts(extraction.get("tilt_axis", "y")))
    request = {
        "sets": {name: digest(rows) for name, rows in chosen.items()}, "class": kind.name,
        "diameter_A": kind.diameter_A, "program": "light" if relion is None else "relion",
    } | config.model_dump(exclude={"by"}) | extraction  # fmt: skip
    folder = open_folder(Path(out), "assessment", request, (_SETS, PAGE), resume=resume, overwrite=overwrite)
    places = {name: Path(out) / _SETS / name.replace(" ", "-") for name in chosen}
    results = []
    for name, rows in chosen.items():
        if name not in folder.done:
            task = _Task(name, places[name], kind, config, relion, on_stage)
            notes += _assess_set(task, rows, paths, spacing_A, extraction)
            folder.mark(name)
        results.append(read_result(places[name] / FILE))
        on_message(results[-1].line())
    folder.finish()
    page = assessment_report(results, list(places.values()), kind, notes)
    report = write_report(Path(out) / PAGE, page, overwrite=True)
    return Assessment(tuple(results), report, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True, eq=False)
class _Task:
    """A set, where its files go, and how it is refined."""

    name: str
    place: Path
    kind: ParticleClass
    config: AssessmentConfig
    relion: Relion | None
    on_stage: OnStage


def _program(config: AssessmentConfig) -> tuple[Relion | None, list[str]]:
    """RELION, or None for the light path, and a note where that was not chosen.

    Raises ExternalError where RELION is asked for and not there.
    """
    if config.by == "light":
        return None, []
    try:
        relion = find_relion("relion_refine_mpi")
        relion.refuse_without_mpi()
    except ExternalError as absent:
        if config.by == "relion":
            raise
        return None, [f"refined by the light path, because {absent}"]
    return relion, []


def _class(classes: Sequence[ParticleClass], wanted: str | None) -> ParticleClass:
    """The class to average. Raises InputError where it is not clear which."""
    names = ", ".join(c.name for c in classes)
    if wanted is None and len(classes) != 1:
        raise InputError(f"an average is of one kind of particle and there are {len(classes)} ({names}): give --class")
    found = [c for c in classes if wanted in (None, c.name)]
    if not found:
        raise InputError(f"there is no class {wanted!r}: the classes are {names}")
    return found[0]


def _one_spacing(tomograms: Sequence[Tomogram]) -> float:
    """The spacing of all tomograms. Raises InputError where they differ."""
    first = tomograms[0]
    for other in tomograms:
        if not same_spacing(first.spacing_A, other.spacing_A):
            raise InputError(
                f"{first.name} has {first.spacing_A:g} Å per voxel and {other.name} {other.spacing_A:g} Å: an average "
                "needs one spacing; assess them in two runs"
            )
    return first.spacing_A


def _contrast(
    sets: Mapping[str, Mapping[Path, Particles]], tomograms: Mapping[Path, Tomogram], config: AssessmentConfig,
    kind: ParticleClass, wanted: Literal["auto", "keep", "invert"],
) -> tuple[str, str]:  # fmt: skip
    """One decision for all sets, and why: a set of few right picks could not tell dark from bright by itself."""
    box = build(ExtractionConfig, _box(config, kind) | {"edge": "pad"})
    rows = [(tomograms[path], own) for parts in sets.values() for path, own in parts.items()]
    invert, why = decide_contrast([job_of(tomogram, own, box) for tomogram, own in rows], wanted)
    return ("invert" if invert else "keep"), why


def _box(config: AssessmentConfig, kind: ParticleClass) -> dict[str, Any]:
    """Edge of the subtomograms, as options of the extraction."""
    if config.box_vx is None and config.box_A is None:
        return {"box_A": _BOX * kind.diameter_A}
    return {"box_vx": config.box_vx, "box_A": config.box_A}


def _assess_set(
    task: _Task, rows: Mapping[Path, Particles], paths: Sequence[Path], spacing_A: float,
    extraction: Mapping[str, Any],
) -> list[str]:  # fmt: skip
    """Extract, refine and measure a set, and write what came out; returns notes."""
    picks = task.place / "picks"
    for path, particles in rows.items():
        write_picks(picks / f"{tomogram_name(path)}.csv", particles, overwrite=True)
    diameter_A = task.kind.diameter_A
    made = extract(
        picks, [path for path in paths if path in rows], task.place / "extracted",
        **_box(task.config, task.kind), edge="pad", gallery=0, spacing_A=spacing_A, resume=True,
        on_progress=task.on_stage(f"{task.name}: subtomograms"), **extraction,
    )  # fmt: skip
    extracted = read_extracted(task.place / "extracted")
    averaged = _refine(task, extracted)
    points = sum(SUBSETS if size < len(extracted) else 1 for size in subset_sizes(len(extracted)))
    told = _Counter(task.on_stage(f"{task.name}: random subsets"), points)
    result, local = measure(task.name, averaged, extracted, diameter_A, task.config.seed, told)
    _write_maps(task, averaged, result, local)
    write_star(task.place / "refined.star", extracted.optics, _refined_table(extracted, averaged))
    result.write(task.place / FILE)
    return [f"{task.name}: {note}" for note in made.notes if note.startswith(PADDED) and "up: 0;" not in note]


def _refine(task: _Task, extracted: Extracted) -> Averaged:
    diameter_A, seed = task.kind.diameter_A, task.config.seed
    reach_A = task.config.reach_A or _REACH * diameter_A
    if task.relion is None:
        told = _Counter(task.on_stage(f"{task.name}: light path"), ITERATIONS)
        return refine_light(extracted, diameter_A, reach_A, seed, told)
    told = _Counter(task.on_stage(f"{task.name}: RELION"), START_ITERATIONS + _USUAL_ITERATIONS)
    return refine_relion(task.relion, extracted, task.place, diameter_A, reach_A, seed, told)


def _refined_table(extracted: Extracted, averaged: Averaged) -> Any:
    """The particles where the refinement put them, with what it says of each."""
    return extracted.at(averaged.poses).assign(
        rlnRandomSubset=averaged.half.astype(int) + 1,
        rlnLogLikeliContribution=averaged.log_likelihood,
        rlnMaxValueProbDistribution=averaged.top,
        etpickCorrelation=averaged.correlation,
    )


def _write_maps(task: _Task, averaged: Averaged, result: SetResult, local: Any) -> None:
    one, other = averaged.half_maps
    volumes = {
        "average": average_map(one, other, result), "half1": one, "half2": other, "local_resolution": local,
        "mask": particle_mask(len(one), task.kind.diameter_A / averaged.spacing_A),
    }  # fmt: skip
    for name, volume in volumes.items():
        write_mrc(task.place / f"{name}.mrc", volume.astype(np.float32), averaged.spacing_A, overwrite=True)


class _Counter:
    """Counts steps for a bar; more than expected make it longer."""

    def __init__(self, advance: Callable[[int, int], None], total: int) -> None:
        self.advance, self.total, self.done = advance, total, 0

    def __call__(self) -> None:
        """One more."""
        self.done += 1
        self.advance(self.done, max(self.total, self.done))
