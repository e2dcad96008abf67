"""Reports on what is kept of a model's picks, written beside the project: reports/NAME/REPORT.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Response

from etpick import api
from etpick.comparing import compare
from etpick.curation.session import Session
from etpick.errors import EtpickError, InputError
from etpick.exporting import Chosen, export_picks
from etpick.judging import judge
from etpick.serve.results import Results, checked_name
from etpick.types import NEGATIVE, Particles

FOLDER: Final = "reports"
LABELS: Final = "labels"


def evaluation(results: Results, session: Session, names: Sequence[str]) -> Path:
    """Score what is kept against the project's labels, in tomograms that have some. Raises EtpickError.

    The report, and the picks and labels that it is about, replace those of the last time.
    """
    labels = labelled(results, names)
    folder = results.root / FOLDER / f"{session.folder.name}-evaluation"
    picks = _written(folder / "picks", session.chosen([one.name for one in labels]))
    judged = judge(picks, _written(folder / LABELS, labels), diameters_A=_diameters(results))
    page = folder / "evaluation.html"
    api.write_evaluation(
        judged, json_path=folder / "evaluation.json", csv_path=folder / "evaluation.csv", report=page,
        tomograms=_paths(results, judged.names), overwrite=True,
    )  # fmt: skip
    return page


def comparison(results: Results, sets: Mapping[str, Session | None], names: Sequence[str]) -> Path:
    """Compare what is kept of several models' picks, or labels (None), in the same tomograms. Raises EtpickError."""
    folder = results.root / FOLDER / "-".join([*sets, "comparison"])
    parts = []
    for name, session in sets.items():
        chosen = labelled(results, names) if session is None else session.chosen(_shared(session, names, name))
        parts.append(_written(folder / "sets" / name, chosen))
    compared = compare(parts, names=list(sets), diameters_A=_diameters(results))
    return api.write_comparison(compared, folder, _paths(results, compared.tomograms), overwrite=True)


def labelled(results: Results, names: Sequence[str]) -> list[Chosen]:
    """The labels of tomograms that have some, without places marked as none. Raises InputError where none has."""
    found = []
    for name, entry in results.entries().items():
        marked = results.workspace.document(entry.key).particles() if name in names else Particles.empty()
        marked = marked.select(marked.classes != NEGATIVE)
        if len(marked):
            found.append(Chosen(name, results.workspace.tomogram(entry.key).shape, marked))
    if not found:
        raise InputError("none of these tomograms has labels to hold the picks against: mark some particles first")
    return found


def router(results: Results) -> APIRouter:
    """The route by which the browser gets reports of the project that is open, and nothing else."""
    routes = APIRouter()

    @routes.get("/reports/{folder}/{name}")
    def report(folder: str, name: str) -> Response:
        try:
            page = results.root / FOLDER / checked_name(folder) / checked_name(name)
            if page.suffix != ".html" or not page.is_file():
                raise InputError(f"there is no report {folder}/{name}")
            return Response(results.workspace.roots.inside(page).read_bytes(), media_type="text/html")
        except EtpickError as error:
            raise HTTPException(404, str(error)) from None

    return routes


def address(page: Path) -> str:
    """Where the browser gets a report; another one after it was made anew."""
    return f"/reports/{page.parent.name}/{page.name}?{page.stat().st_mtime_ns}"


def _diameters(results: Results) -> dict[str, float]:
    return {c.name: c.diameter_A for c in results.workspace.classes}


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


def _paths(results: Results, names: Sequence[str]) -> list[Path]:
    entries = results.entries()
    return [entries[name].path for name in names]
