"""Open or make a project; its tomograms and classes."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from nicegui import run, ui

from etpick.errors import EtpickError
from etpick.io.picks import is_pick_file
from etpick.io.project_edit import next_color
from etpick.serve.frame import PAGES, frame, told
from etpick.serve.picker import choose_paths
from etpick.serve.slices import Slices
from etpick.serve.workspace import Entry, Workspace
from etpick.types import ParticleClass

PAGES["/"] = "Project"
_TOMOGRAMS: Final = re.compile(r"\.(mrc|rec|map|st|em|npy|tiff?|zarr)(\.gz|\.bz2)?$", re.IGNORECASE)


def register(workspace: Workspace, slices: Slices) -> None:
    """Enter the page."""

    @ui.page("/")
    def page() -> None:
        with frame(workspace, "Project"):
            if workspace.path is None:
                _welcome(workspace)
            else:
                _project(workspace)


# --- no project yet ------------------------------------------------------------------------------


def _welcome(workspace: Workspace) -> None:
    with ui.row().classes("w-full items-stretch").style("gap: 18px; max-width: 1200px; margin: 3vh auto"):
        with ui.column().classes("etpick-card").style("flex: 1; min-width: 320px"):
            ui.label("Open a project").classes("etpick-title")
            ui.label("A project file (.toml) names tomograms, their picks and the classes of particles.").classes(
                "etpick-hint"
            )
            ui.button("Choose a project file", on_click=lambda: _open(workspace)).props("no-caps")
        with ui.column().classes("etpick-card").style("flex: 1; min-width: 320px"):
            ui.label("Make a project").classes("etpick-title")
            ui.label("Choose tomograms, say what to look for, and begin to mark particles.").classes("etpick-hint")
            _maker(workspace)


async def _open(workspace: Workspace) -> None:
    chosen = await choose_paths(workspace.roots, "Choose a project file", lambda p: p.suffix == ".toml", many=False)
    if chosen:
        with told():
            workspace.open(chosen[0])
            ui.navigate.to("/")


def _maker(workspace: Workspace) -> None:
    sources: list[Path] = []
    listed = ui.label("No tomograms chosen").classes("etpick-hint")

    async def choose() -> None:
        chosen = await choose_paths(workspace.roots, "Choose tomograms, or folders of them", _is_tomogram, many=True)
        if chosen:
            sources[:] = chosen
            listed.text = ", ".join(path.name for path in sources)

    ui.button("Choose tomograms", on_click=choose).props("no-caps outline")
    name = ui.input("Particle, for example ribosome").classes("w-full").props("dense outlined")
    diameter = ui.number("Its diameter in Å", min=1, value=None).classes("w-full").props("dense outlined")
    partial_labels = ui.checkbox("I will mark only some of the particles in each tomogram").props("dense")
    folder = workspace.roots.folders[0]
    path = ui.input("Project file", value=str(folder / "project.toml")).classes("w-full").props("dense outlined")

    def make() -> None:
        with told():
            classes = [ParticleClass((name.value or "").strip(), float(diameter.value or 0), next_color([]))]
            workspace.create(path.value, sources, classes, "partial" if partial_labels.value else "complete")
            ui.navigate.to("/")

    ui.button("Make the project", on_click=make).props("no-caps")


# --- an open project -----------------------------------------------------------------------------


def _project(workspace: Workspace) -> None:
    with ui.row().classes("w-full no-wrap items-start").style("gap: 18px"):
        with ui.column().classes("etpick-card").style("flex: 1; min-width: 0"):
            with ui.row().classes("w-full items-center"):
                ui.label("Tomograms").classes("etpick-title")
                ui.space()
                ui.button("Add tomograms", on_click=lambda: _add(workspace)).props("no-caps outline dense")
                ui.button("Another project", on_click=lambda: _leave(workspace)).props("no-caps flat dense")
            for note in workspace.notes:
                ui.label(note).classes("etpick-warning")
            for entry in workspace.entries:
                _row(workspace, entry)
        with ui.column().style("width: 380px; flex: none; gap: 16px"):
            _classes(workspace)
            _labels(workspace)


async def _add(workspace: Workspace) -> None:
    chosen = await choose_paths(workspace.roots, "Choose tomograms, or folders of them", _is_tomogram, many=True)
    if chosen:
        with told():
            count = workspace.add(chosen)
            ui.navigate.to("/")
            ui.notify(f"{count} tomogram(s) added" if count else "these tomograms are in the project already")


def _leave(workspace: Workspace) -> None:
    workspace.close()
    ui.navigate.to("/")


def _row(workspace: Workspace, entry: Entry) -> None:
    with ui.row().classes("w-full no-wrap items-center").style("border-top: 1px solid #e6eaee; padding-top: 12px"):
        if entry.tomogram is None:
            ui.label(entry.problem).classes("etpick-warning")
            return
        ui.html(f'<img class="etpick-thumb" src="/thumbnails/{entry.key}" alt="">', sanitize=False)
        with ui.column().style("flex: 1; min-width: 0; gap: 2px"):
            ui.label(entry.name).style("font-weight: 600")
            z, y, x = entry.tomogram.shape
            ui.label(f"{x} × {y} × {z} voxels of {entry.tomogram.spacing_A:g} Å").classes("etpick-hint")
            _counts(workspace, entry)
            warnings = ui.column().style("gap: 2px")
            ui.timer(0.2, partial(_warnings, workspace, entry, warnings), once=True)
        ui.checkbox(
            "chooses the model", value=entry.validate,
            on_change=lambda e, key=entry.key: _validation(workspace, key, e.value),
        ).props("dense").tooltip("not learnt from: its picks decide which state of a training is kept")  # fmt: skip
        ui.button("Import picks", on_click=lambda: _import(workspace, entry)).props("no-caps flat dense")
        ui.button("Annotate", on_click=lambda: ui.navigate.to(f"/annotate/{entry.key}")).props("no-caps")


def _counts(workspace: Workspace, entry: Entry) -> None:
    try:
        counts = workspace.counts(entry.key)
    except EtpickError as error:
        ui.label(str(error)).classes("etpick-warning")
        return
    text = ", ".join(f"{n} {name}" for name, n in counts.items())
    ui.label(text or "no picks yet").classes("etpick-hint")


async def _warnings(workspace: Workspace, entry: Entry, column: ui.column) -> None:
    """What `etpick info` warns of, looked for beside the event loop."""
    try:
        found = await run.io_bound(workspace.warnings, entry.key)
    except EtpickError as error:
        found = [str(error)]
    with column:
        for line in found or []:
            ui.label(line).classes("etpick-warning")


async def _import(workspace: Workspace, entry: Entry) -> None:
    chosen = await choose_paths(workspace.roots, f"Choose picks for {entry.name}", is_pick_file, many=True)
    if chosen:
        with told():
            count = workspace.import_picks(entry.key, chosen)
            ui.navigate.to("/")
            ui.notify(f"{count} picks joined to those of {entry.name}", type="positive")


def _validation(workspace: Workspace, key: str, validate: bool) -> None:
    with told():
        workspace.change_validation(key, validate)


def _classes(workspace: Workspace) -> None:
    with ui.column().classes("etpick-card w-full"):
        ui.label("Classes").classes("etpick-title")
        ui.label(
            "The diameter is that of a ball around the particle: it sizes labels, circles and what counts as found."
        ).classes("etpick-hint")
        rows = [_class_row(c) for c in workspace.classes]
        area = ui.column().classes("w-full").style("gap: 6px")

        def more() -> None:
            with area:
                rows.append(_class_row(ParticleClass("", 200.0, next_color([row() for row in rows]))))

        def save() -> None:
            with told():
                workspace.change_classes([c for row in rows if (c := row()).name])
                ui.notify("classes saved", type="positive")

        with ui.row():
            ui.button("Add a class", on_click=more).props("no-caps flat dense")
            ui.button("Save", on_click=save).props("no-caps dense")


def _class_row(c: ParticleClass) -> Callable[[], ParticleClass]:
    with ui.row().classes("w-full no-wrap items-center").style("gap: 8px"):
        color = ui.color_input(value=c.color).props("dense outlined").style("width: 116px")
        name = ui.input("name", value=c.name).props("dense outlined").style("flex: 1")
        diameter = ui.number("Å", value=c.diameter_A, min=1).props("dense outlined").style("width: 84px")
    return lambda: ParticleClass((name.value or "").strip(), float(diameter.value or 0), color.value)


def _labels(workspace: Workspace) -> None:
    with ui.column().classes("etpick-card w-full"):
        ui.label("Are all particles marked?").classes("etpick-title")

        def change(value: str) -> None:
            with told():
                workspace.change_labels("partial" if value == "partial" else "complete")

        ui.radio(
            {"complete": "yes, all that I can see in these tomograms", "partial": "no, only some of them"},
            value=workspace.labels, on_change=lambda e: change(e.value),
        )  # fmt: skip
        ui.label("Where only some are marked, places that look like particles are not learnt as background.").classes(
            "etpick-hint"
        )


def _is_tomogram(path: Path) -> bool:
    return bool(_TOMOGRAMS.search(path.name))
