"""Reports on what is kept of a model's picks, written beside the project: reports/NAME/REPORT.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from etpick import api
from etpick.comparing import compare
from etpick.curation.session import Session
from etpick.errors import InputError
from etpick.exporting import Chosen, export_picks
from etpick.io.picks import read_picks
from etpick.judging import judge
from etpick.serve.workspace import Workspace
from etpick.types import NEGATIVE, Particles

FOLDER: Final = "reports"
LABELS: Final = "labels"


def evaluation(workspace: Workspace, session: Session, names: Sequence[str]) -> Path:
    """Score what is kept against the project's labels, in tomograms that have some. Raises EtpickError.

    The report and the picks and labels that it is about replace those of the last time.
    """
    labels = labelled(workspace, names)
    folder = workspace.root / FOLDER / f"{session.folder.name}-evaluation"
    picks = _written(folder / "picks", session.chosen(list(labels)))
    truth = _written(folder / LABELS, [Chosen(n, session.tomograms[n].shape, p) for n, p in labels.items()])
    judged = judge(picks, truth, diameters_A={c.name: c.diameter_A for c in workspace.classes()})
    page = folder / "evaluation.html"
    api.write_evaluation(
        judged, json_path=folder / "evaluation.json", csv_path=folder / "evaluation.csv", report=page,
        tomograms=_paths(workspace, judged.names), overwrite=True,
    )  # fmt: skip
    return page


def comparison(workspace: Workspace, sets: Mapping[str, Session | None], names: Sequence[str]) -> Path:
    """Compare what is kept of several models' picks, or the labels (None), in the same tomograms. Raises EtpickError."""
    folder = workspace.root / FOLDER / "-".join([*sets, "comparison"])
    parts = []
    for name, session in sets.items():
        chosen = _of_labels(workspace, names) if session is None else session.chosen(_shared(session, names, name))
        parts.append(_written(folder / "sets" / name, chosen))
    compared = compare(parts, names=list(sets), diameters_A={c.name: c.diameter_A for c in workspace.classes()})
    return api.write_comparison(compared, folder, _paths(workspace, compared.tomograms), overwrite=True)


def labelled(workspace: Workspace, names: Sequence[str]) -> dict[str, Particles]:
    """The labels of tomograms that have some, without places marked as none. Raises InputError where none has."""
    classes, found = [c.name for c in workspace.classes()], {}
    for name, entry in workspace.entries().items():
        if name not in names:
            continue
        tomogram = workspace.tomogram(name)
        for path in (workspace.root / p for p in entry.picks):
            marked = read_picks(path, classes=classes, tomogram=tomogram, binning=entry.binning)
            marked = marked.select(marked.classes != NEGATIVE)
            if len(marked):
                found[name] = joined(found[name], marked) if name in found else marked
    if not found:
        raise InputError("none of these tomograms has labels to hold the picks against: mark some particles first")
    return found


def joined(one: Particles, other: Particles) -> Particles:
    """Labels of two files, without scores."""
    import numpy as np

    return Particles(
        np.concatenate([one.positions, other.positions]), np.concatenate([one.classes, other.classes]),
        spacing_A=one.spacing_A, tomogram=one.tomogram,
    )  # fmt: skip


def _of_labels(workspace: Workspace, names: Sequence[str]) -> list[Chosen]:
    return [Chosen(n, workspace.tomogram(n).shape, p) for n, p in labelled(workspace, names).items()]


def _shared(session: Session, names: Sequence[str], model: str) -> list[str]:
    shared = [name for name in names if name in session.tomograms]
    if not shared:
        raise InputError(f"{model} has picked none of these tomograms: pick them with it first")
    return shared


def _written(folder: Path, chosen: Sequence[Chosen]) -> Path:
    """A folder with a CSV for each tomogram; those of the last time go."""
    for old in folder.glob("*.csv"):
        old.unlink()
    export_picks(chosen, folder, "csv", overwrite=True)
    return folder


def _paths(workspace: Workspace, names: Sequence[str]) -> list[Path]:
    entries = workspace.entries()
    return [workspace.root / entries[name].path for name in names]
