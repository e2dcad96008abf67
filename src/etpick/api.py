"""What etpick does, as functions: the one place where files, training, picking and scoring meet."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from numpy.typing import NDArray

from etpick.checkpoint import Model, load_model, stored_config
from etpick.comparing import Compared
from etpick.config import PickingConfig, TrainingConfig, build, recipe
from etpick.crosschecking import PAGE, Crosscheck, crosscheck
from etpick.curation.project import Correction, correct_project
from etpick.curation.review import CANDIDATES
from etpick.curation.rounds import Round, undo_round
from etpick.errors import InputError, OutputError
from etpick.evaluation.metrics import Evaluation
from etpick.evaluation.metrics import evaluate as evaluate_particles
from etpick.exclusion import Masks
from etpick.inference import OnScores
from etpick.io.atomic import atomic_write, refuse_existing
from etpick.io.masks import find_masks
from etpick.io.picks import write_picks
from etpick.io.project import load_project
from etpick.io.read_ahead import read_ahead
from etpick.io.score_maps import writing_scores
from etpick.io.table import tomogram_name
from etpick.io.tomograms import find_tomograms, open_mask, open_tomogram
from etpick.judging import Judged
from etpick.picking import Found, Opened, Picker
from etpick.progress import OnProgress, OnValidated
from etpick.report.build import evaluation_report
from etpick.report.compared import comparison_report
from etpick.report.crosschecked import crosscheck_report
from etpick.report.page import Report, write_report
from etpick.report.picked import picking_report
from etpick.training import train_model
from etpick.types import Dataset, ParticleClass, Particles, Tomogram, Volume

LEAST_CANDIDATE: Final = 0.01  # of a score; what is less likely need not be looked at


def train(
    project: Path | str | Dataset,
    out: Path | str | None = None,
    *,
    network: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    on_validated: OnValidated | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Model:
    """Train on a project file, or on a Dataset made of arrays, and return the model.

    With `out` the model is kept in that folder. `options` are fields of `etpick.config.TrainingConfig`,
    for example max_minutes, steps, seed; None leaves a default, or with `resume` what the training began
    with. The network is `fast` unless said otherwise. `on_validated` is shown the picks of each validation.
    Raises EtpickError.
    """
    dataset = project if isinstance(project, Dataset) else load_project(project)
    folder = None if out is None else Path(out)
    stored = stored_config(folder) if resume and folder is not None else {}
    if stored:
        given = {name: value for name, value in (options | {"network": network}).items() if value is not None}
        config = build(TrainingConfig, stored | given)
    else:
        config = recipe(network or "fast", **options)
    return train_model(
        dataset, config, folder, resume=resume, overwrite=overwrite, device=device,
        on_progress=on_progress, on_validated=on_validated, should_stop=should_stop,
    )  # fmt: skip


def pick(
    model: Model | Path | str,
    tomogram: Path | str | NDArray[Any] | Tomogram,
    *,
    spacing_A: float | None = None,
    mask: Path | str | NDArray[Any] | None = None,
    avoid_mask: Path | str | NDArray[Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Particles:
    """Find the particles of one tomogram, best first, in its own voxels.

    An array [z, y, x] needs `spacing_A`. Where `mask` is zero nothing is picked, and nothing where `avoid_mask`
    is not; both may have another binning than the tomogram. `options` are fields of
    `etpick.config.PickingConfig`, for example min_score, gold, device. Raises EtpickError.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    picker = Picker(loaded, **options)
    masks = Masks(_opened(mask), _opened(avoid_mask))
    return picker(open_tomogram(tomogram, spacing_A=spacing_A), on_progress, masks=masks).picks


def _opened(mask: Path | str | NDArray[Any] | None) -> Volume | None:
    return open_mask(Path(mask)) if isinstance(mask, (str, Path)) else mask


@dataclass(frozen=True, eq=False)
class Picked:
    """One tomogram done by `pick_files`: what was found, and where it was written."""

    tomogram: Tomogram
    found: Found
    files: tuple[Path, ...]


def pick_files(
    model: Path | str,
    tomograms: Sequence[Path | str],
    out: Path | str,
    *,
    spacing_A: float | None = None,
    copick_tomograms: str | None = None,
    star_style: str = "relion4",
    star_binning: float = 1.0,
    mask: Path | str | None = None,
    avoid_mask: Path | str | None = None,
    report: bool = False,
    candidates: bool = False,
    score_maps: Literal["mrc", "zarr"] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    share: tuple[int, int] = (1, 1),
    on_message: Callable[[str], None] | None = None,
    on_start: Callable[[Path, int, int], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_done: Callable[[Picked], None] | None = None,
    **options: Any,
) -> list[Picked]:
    """Pick tomograms, given as files or folders, and write OUT/NAME.csv and OUT/NAME.star for each.

    The configuration of a copick project stands for its tomograms, of the kind `copick_tomograms` (wbp@10).
    `star_style` is relion4 or warp (voxels, times `star_binning` for the unbinned tomogram) or relion5 (centred Å).
    `mask` and `avoid_mask` (see `pick`) are files for a single tomogram, or folders with masks of the tomograms'
    names. `report` adds OUT/NAME.html, a page of pictures and counts to look at; `candidates` OUT/candidates/NAME.csv
    with what lies below the thresholds, too, to choose others by looking; `score_maps` OUT/NAME_scores.mrc with the
    chance of any particle, or .zarr with each class's as well, at the network's resolution. `resume`
    passes over tomograms whose files are there already; `share` (2, 5) takes the second of five shares, for jobs side
    by side. Nothing is picked where a file would be overwritten, two
    tomograms share a name, or a mask is missing. A tomogram that cannot be read is left out and named in the
    InputError raised at the end.
    """
    picker = Picker(load_model(model), on_message=on_message, **options)
    every, folder = find_tomograms(tomograms, copick_tomograms), Path(out)
    targets = {path: _targets(path, folder, candidates, report, score_maps) for path in every}
    _check_targets(targets)
    if not 1 <= share[0] <= share[1]:
        raise InputError(f"share {share[0]} of {share[1]} is none of them")
    paths = every[share[0] - 1 :: share[1]]
    if resume:
        paths = [p for p in paths if not all(t.exists() for t in targets[p])]
        overwrite = True
    elif not overwrite and (there := [t for p in paths for t in targets[p] if t.exists()]):
        raise OutputError(
            f"{there[0]} exists already{f' and {len(there) - 1} more' if len(there) > 1 else ''}: choose another "
            "folder with --out, pick only what is missing with --resume, or replace them with --overwrite"
        )
    allowed = find_masks(mask, every, "--mask", opened=paths)
    avoided = find_masks(avoid_mask, every, "--avoid-mask", opened=paths)

    def opened(path: Path) -> Opened:
        masks = Masks(_opened(allowed.get(path)), _opened(avoided.get(path)))
        return picker.open(open_tomogram(path, spacing_A=spacing_A), masks)

    done, failed = [], []
    for number, (path, opening) in enumerate(_one_ahead(paths, opened, ahead=picker.device.type != "cpu")):
        if on_start:
            on_start(path, number, len(paths))
        for following in paths[number + 1 : number + 2]:
            read_ahead(following)
        try:
            ready = opening()
            tomogram = ready.volume.tomogram
            with _score_map(picker, tomogram, targets[path][-1] if score_maps else None, overwrite) as on_scores:
                found = picker.pick(ready, on_progress, on_scores)
        except InputError as error:  # one bad file must not cost a night's work on the others
            failed.append(str(error))
            continue
        names = [c.name for c in picker.model.classes]
        csv_file, star, *others = targets[path]
        for target in (csv_file, star):
            write_picks(
                target, found.picks, tomogram_shape=tomogram.shape, classes=names, overwrite=overwrite,
                style=star_style if target is star else None, binning=star_binning if target is star else 1.0,
            )  # fmt: skip
        if candidates:
            kept = found.all.select(found.all.scores >= LEAST_CANDIDATE) if found.all.scores is not None else found.all
            write_picks(others.pop(0), kept, classes=names, overwrite=overwrite)
        for target in others[: int(report)]:
            choices = _choices(picker.config, mask=allowed.get(path), avoid_mask=avoided.get(path))
            write_report(target, picking_report(tomogram, found, picker.model, choices), overwrite=overwrite)
        done.append(Picked(tomogram, found, targets[path]))
        if on_done:
            on_done(done[-1])
    if failed:
        count = f"{len(failed)} of {len(paths)} tomograms were not picked: " if len(paths) > 1 else ""
        raise InputError(count + "; ".join(failed))
    return done


def _one_ahead(
    paths: Sequence[Path], opened: Callable[[Path], Opened], *, ahead: bool
) -> Iterator[tuple[Path, Callable[[], Opened]]]:
    """Each path with what gives its tomogram opened; `ahead`, the next is opened in a thread meanwhile, so that a card
    does not wait for reading, measuring and sending."""
    if not ahead:
        yield from ((path, partial(opened, path)) for path in paths)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(opened, path) for path in paths[:1])
        for number, path in enumerate(paths):
            waiting.extend(pool.submit(opened, following) for following in paths[number + 1 : number + 2])
            yield path, waiting.popleft().result


def _targets(path: Path, folder: Path, candidates: bool, report: bool, score_maps: str | None) -> tuple[Path, ...]:
    name = tomogram_name(path)
    more = [folder / CANDIDATES / f"{name}.csv"] if candidates else []
    more += [folder / f"{name}.html"] if report else []
    more += [folder / f"{name}_scores.{score_maps}"] if score_maps else []
    return (folder / f"{name}.csv", folder / f"{name}.star", *more)


@contextmanager
def _score_map(picker: Picker, tomogram: Tomogram, path: Path | None, overwrite: bool) -> Iterator[OnScores | None]:
    """Where the score maps of a tomogram go; nowhere without a path."""
    if path is None:
        yield None
        return
    names = [c.name for c in picker.model.classes]
    with writing_scores(path, picker.map_grid(tomogram), names, overwrite=overwrite) as put:
        yield lambda slab: put(slab.start, slab.foreground.numpy(force=True), slab.classes.numpy(force=True))


def _choices(config: PickingConfig, **masks: Path | None) -> dict[str, str]:
    """The options of a picking that differ from what is usual."""
    usual = PickingConfig().model_dump()
    given = {name: value for name, value in config.model_dump().items() if value != usual[name]}
    return {name: str(value) for name, value in (given | masks).items() if value is not None}


def _check_targets(targets: Mapping[Path, tuple[Path, ...]]) -> None:
    seen: dict[Path, Path] = {}
    for path, (first, *_) in targets.items():
        if first in seen:
            raise InputError(f"{seen[first]} and {path} would both be written to {first}: pick them in two runs")
        seen[first] = path


def evaluate(
    picks: Particles | Sequence[Particles],
    truth: Particles | Sequence[Particles],
    classes: Sequence[ParticleClass],
    spacing_A: float | None = None,
) -> Evaluation:
    """Score picks against truth, one tomogram or many, in voxels of the same files.

    `spacing_A` may be left out where the picks or the truth carry it. Raises InputError.
    """
    found = [picks] if isinstance(picks, Particles) else list(picks)
    true = [truth] if isinstance(truth, Particles) else list(truth)
    spacings = [spacing_A or f.spacing_A or t.spacing_A for f, t in zip(found, true, strict=True)]
    if any(s is None for s in spacings):
        raise InputError("the picks do not say the spacing of their tomogram: pass spacing_A, the Å per voxel")
    return evaluate_particles(found, true, classes, [float(s) for s in spacings if s is not None])


def correct(
    project: Path | str, picked: Path | str, *, tomograms: Sequence[Path | str] = (), partial: bool = False,
    write: bool = True,
) -> Correction:  # fmt: skip
    """Join what was said of the picks in a folder, PICKED/reviewed/NAME.csv, to the labels of a project.

    Accepted picks become labels, rejected ones (`not-a-particle`) places to learn as background, in picks/NAME.csv
    beside the project file; what is labelled already is not added again. `tomograms` are files or folders with those
    that the project does not list. `partial` declares its labels partial. Without `write` nothing is changed, and
    the answer says what would be. Raises EtpickError.
    """
    paths = {tomogram_name(path): path for path in find_tomograms(tomograms)} if tomograms else {}
    return correct_project(Path(project), Path(picked), tomograms=paths, partial=partial, write=write)


def undo_correction(project: Path | str) -> Round:
    """Put a project's files back as they were before the last `correct`. Raises InputError where that loses work."""
    return undo_round(Path(project).resolve().parent)


def write_comparison(
    compared: Compared, out: Path | str, tomograms: Sequence[Path | str] = (), *, overwrite: bool = False
) -> Path:
    """Write the picks of each part, OUT/compare.json and the report OUT/compare.html; returns the report's path.

    `tomograms` are files or folders to draw slices of, found by the names of the pick files. Raises OutputError
    where a file exists, InputError where no tomogram has the name of one.
    """
    drawn = [
        open_tomogram(path, spacing_A=compared.spacing_A) for path in _named(tomograms, compared.tomograms).values()
    ]
    page = Path(out) / "compare.html"
    refuse_existing(page, overwrite)
    compared.write(Path(out), overwrite=overwrite)
    return write_report(page, comparison_report(compared, drawn), overwrite=overwrite)


def write_crosscheck(project: Path | str | Dataset, out: Path | str, **options: Any) -> tuple[Crosscheck, Path]:
    """`etpick.crosschecking.crosscheck` with the same arguments, and a report on it, OUT/crosscheck.html.

    Raises EtpickError.
    """
    found = crosscheck(project, out, **options)
    return found, write_report(Path(out) / PAGE, crosscheck_report(found), overwrite=True)


def write_evaluation(
    judged: Judged,
    *,
    json_path: Path | str | None = None,
    csv_path: Path | str | None = None,
    report: Path | str | None = None,
    tomograms: Sequence[Path | str] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Write scores as JSON, as CSV, and as a page with pictures from the tomograms, each where a path is given.

    Returns the paths. Raises InputError where a report is asked for without each judged tomogram, OutputError,
    before anything is written, where a file exists.
    """
    wanted = [Path(path) for path in (json_path, csv_path, report) if path is not None]
    for path in wanted:
        refuse_existing(path, overwrite)
    page = None if report is None else _evaluation_page(judged, tomograms)
    if json_path is not None:
        with atomic_write(Path(json_path), overwrite=overwrite) as temporary:
            temporary.write_text(json.dumps(judged.to_dict(), indent=1) + "\n", encoding="utf-8")
    if csv_path is not None:
        rows = judged.rows()
        with atomic_write(Path(csv_path), overwrite=overwrite) as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    if report is not None and page is not None:
        write_report(Path(report), page, overwrite=overwrite)
    return wanted


def _evaluation_page(judged: Judged, tomograms: Sequence[Path | str]) -> Report:
    drawn = _named(tomograms, judged.names)
    if lacking := [name for name in judged.names if name not in drawn]:
        raise InputError(f"the report shows slices of {', '.join(lacking)}: pass --tomograms with files of these names")
    shown = [
        open_tomogram(drawn[name], spacing_A=spacing)
        for name, spacing in zip(judged.names, judged.spacings_A, strict=True)
    ]
    return evaluation_report(
        f"Evaluation of {judged.provenance['picks']}", shown, judged.picks, judged.classes, truths=judged.truths,
        provenance={name: value for name, value in judged.provenance.items() if value},
        notes=[note for note in (*judged.notes, judged.by_rule) if note],
    )  # fmt: skip


def _named(tomograms: Sequence[Path | str], names: Sequence[str]) -> dict[str, Path]:
    """Those of the tomograms, files or folders, that have one of the names; raises InputError where none has."""
    if not tomograms:
        return {}
    found = {name: path for path in find_tomograms(tomograms) if (name := tomogram_name(path)) in names}
    if not found:
        raise InputError(f"none of the tomograms has the name of a pick file: {', '.join(names)}")
    return found
