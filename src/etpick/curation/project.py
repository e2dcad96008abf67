"""A correction of a whole project: each tomogram's labels joined with what was said, as the texts of its files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from etpick.curation.correction import Corrected, correct_labels
from etpick.curation.review import read_decisions, reviewed_tomograms
from etpick.curation.rounds import write_round
from etpick.errors import InputError
from etpick.io.picks import read_picks, write_picks
from etpick.io.project import ProjectFile, TomogramEntry, open_entry, read_project
from etpick.io.table import tomogram_name
from etpick.io.tomograms import open_tomogram
from etpick.types import NEGATIVE, Particles, Tomogram

PICKS: Final = "picks"  # the folder of label files that are etpick's own to write


@dataclass(frozen=True, eq=False)
class Correction:
    """What a correction did, by tomogram. unreviewed: how many picks above the thresholds have no label and no word
    in tomograms that were corrected; `partial`: whether the project says that labels are partial."""

    project: Path
    tomograms: Mapping[str, Corrected]
    unreviewed: int
    partial: bool

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return any(c.changed for c in self.tomograms.values())

    @property
    def what(self) -> str:
        """`12 labels and 8 places without a particle in t1, t2`."""
        added, negatives = (sum(getattr(c, n) for c in self.tomograms.values()) for n in ("added", "negatives"))
        return (
            f"{_count(added, 'label')} and {_count(negatives, 'place')} without a particle added in "
            f"{', '.join(self.tomograms)}"
        )

    def lines(self) -> list[str]:
        """To print: what was added, what was known, and when labels should be called partial."""
        if not self.changed:
            return ["nothing to add: the labels say already what was said of the picks"]
        lines = [self.what]
        counts = {n: sum(getattr(c, n) for c in self.tomograms.values()) for n in ("known", "replaced", "standing")}
        if counts["known"]:
            lines.append(f"{_count(counts['known'], 'pick')} marked already")
        if counts["replaced"]:
            lines.append(f"{_count(counts['replaced'], 'mark')} that said otherwise replaced")
        if counts["standing"]:
            lines.append(f"{_count(counts['standing'], 'rejected pick')} inside a labelled particle: the label stands")
        return lines + ([self.advice] if self.advice else [])

    @property
    def advice(self) -> str:
        """Why labels should be called partial, where they are not and it looks so."""
        if self.partial or not self.unreviewed:
            return ""
        return (
            f"{_count(self.unreviewed, 'pick')} above the threshold in these tomograms have no label and were not "
            'reviewed: unless they are wrong, set labels = "partial" in the project file (--partial), or training '
            "takes them for background"
        )


def correct_project(
    project: Path, picked: Path, *, tomograms: Mapping[str, Path] | None = None, partial: bool = False,
    write: bool = True,
) -> Correction:  # fmt: skip
    """Join what was said of the picks in a folder to the labels of a project, as one round that can be undone.

    Labels go to picks/NAME.csv beside the project file, to which the project then points; files elsewhere stay as
    they are. `tomograms` are paths by name of those that the project does not list yet. `partial` declares the
    labels partial. Without `write` it only says what it would do. Raises InputError, before anything is written, for
    what does not fit.
    """
    read, root = read_project(project), project.resolve().parent
    reviewed = reviewed_tomograms(picked)
    if not reviewed:
        raise InputError(f"nothing was said of the picks in {picked}: accept or reject some first")
    texts: dict[Path, str] = {}
    done, entries, unreviewed = {}, {}, 0
    for name, file in reviewed.items():
        entry = _entry(read, name)
        tomogram = _opened(root, read, entry, name, tomograms or {})
        labels = _labels(root, read, entry, tomogram)
        said = read_decisions(file)
        radii = {c.name: c.diameter_A / 2 / tomogram.spacing_A for c in read.classes}
        _refuse_unknown(file, said.particles, radii)
        done[name] = correct_labels(labels, said, radii)
        unreviewed += _unreviewed(picked / f"{name}.csv", done[name].particles, radii)
        if done[name].changed:
            target = _own_file(root, entry, name)
            texts[target] = _as_csv(done[name].particles)
            entries[name] = (tomogram, target)
    correction = Correction(project, done, unreviewed, partial or read.labels == "partial")
    text = _project_text(project, root, entries, partial)
    if text != project.read_text(encoding="utf-8"):
        texts[project.resolve()] = text
    if texts and write:
        write_round(root, correction.what, texts)
    return correction


def _own_file(root: Path, entry: TomogramEntry | None, name: str) -> Path:
    """The only label file of a tomogram if it is etpick's own, else a new one that replaces none."""
    files = () if entry is None else entry.picks
    own = root / PICKS / f"{name}.csv"
    if len(files) == 1 and files[0].suffix == ".csv" and (root / files[0]).resolve().parent == root / PICKS:
        return (root / files[0]).resolve()
    number = 1
    while own.exists():
        number += 1
        own = root / PICKS / f"{name}-{number}.csv"
    return own


def _entry(project: ProjectFile, name: str) -> TomogramEntry | None:
    return next((entry for entry in project.tomograms if tomogram_name(entry.path) == name), None)


def _opened(
    root: Path, project: ProjectFile, entry: TomogramEntry | None, name: str, others: Mapping[str, Path]
) -> Tomogram:
    if entry is not None:
        return open_entry(root, entry, project.spacing_A)
    if name not in others:
        raise InputError(f"the project does not list the tomogram {name}: say where it is (--tomograms)")
    return open_tomogram(others[name], spacing_A=project.spacing_A)


def _labels(root: Path, project: ProjectFile, entry: TomogramEntry | None, tomogram: Tomogram) -> Particles:
    """All that is marked in a tomogram, in its voxels."""
    names = [c.name for c in project.classes]
    files = () if entry is None else entry.picks
    binning = 1.0 if entry is None else entry.binning
    parts = [read_picks(root / f, classes=names, tomogram=tomogram, binning=binning) for f in files]
    return Particles(
        np.concatenate([np.zeros((0, 3)), *(p.positions for p in parts)]),
        np.concatenate([np.zeros(0, dtype=np.str_), *(p.classes for p in parts)]),
        spacing_A=tomogram.spacing_A, tomogram=tomogram.name,
    )  # fmt: skip


def _refuse_unknown(file: Path, particles: Particles, radii: Mapping[str, float]) -> None:
    if unknown := sorted({str(name) for name in particles.classes} - {*radii, NEGATIVE}):
        raise InputError(
            f"{file} has picks of class {', '.join(unknown)}, which the project does not know: it has "
            f"{', '.join(radii)}"
        )


def _unreviewed(picks: Path, labels: Particles, radii: Mapping[str, float]) -> int:
    """Picks above the thresholds that no mark is near."""
    from scipy.spatial import KDTree

    if not picks.exists():
        return 0
    found = read_picks(picks)
    if not len(found) or not len(labels):
        return len(found)
    distances, _ = KDTree(labels.positions).query(found.positions)
    reach = np.array([radii.get(str(name), max(radii.values())) for name in found.classes])
    return int((distances >= reach).sum())


def _as_csv(particles: Particles) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return write_picks(Path(folder) / "labels.csv", particles).read_text(encoding="utf-8")


def _project_text(project: Path, root: Path, entries: Mapping[str, tuple[Tomogram, Path]], partial: bool) -> str:
    """The project file with each corrected tomogram pointing at its labels; remarks and order stay."""
    import tomlkit

    document: Any = tomlkit.parse(project.read_text(encoding="utf-8"))
    if partial:
        document["labels"] = "partial"
    known = {tomogram_name(str(table["path"])): table for table in document["tomograms"]}
    for name, (tomogram, target) in entries.items():
        table = known.get(name)
        if table is None:
            assert tomogram.path is not None  # it was opened from a file
            table = tomlkit.table()
            table.add("path", Path(os.path.relpath(tomogram.path.resolve(), root)).as_posix())
            document["tomograms"].append(table)
        picks = target.relative_to(root).as_posix()
        if table.get("picks") != picks:
            table["picks"] = picks
            table.pop("binning", None)
    return str(tomlkit.dumps(document))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
