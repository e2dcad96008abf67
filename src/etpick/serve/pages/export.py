"""Export: what is kept of a model's picks, in any format, and reports on it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from nicegui import app, run, ui

from etpick.curation.session import Session
from etpick.errors import InputError
from etpick.exporting import Chosen, export_picks
from etpick.io.formats.registry import BY_NAME
from etpick.serve import reports
from etpick.serve.frame import PAGES, frame, is_open, to_pick_first, told
from etpick.serve.parts import FIELD, TABLE, card, hint, spoken, title
from etpick.serve.results import Results, results_of
from etpick.serve.slices import Slices
from etpick.serve.workspace import Workspace

PAGES["/export"] = "Export"
LABELS: Final = "the project's labels"


def register(workspace: Workspace, slices: Slices) -> None:
    """Enter the page, and the route of its reports."""
    app.include_router(reports.router(results_of(workspace)))

    @ui.page("/export")
    def page(model: str = "") -> None:
        with frame(workspace, "Export"):
            if not is_open(workspace):
                return
            with told():
                _Export(results_of(workspace), model)


class _Export:
    """The page of one project, in one tab; `model` chooses whose picks, the newest if not given."""

    def __init__(self, results: Results, model: str) -> None:
        self.results = results
        picked, newest = results.picked(), results.newest_picked()
        if newest is None:
            to_pick_first("export the picks")
            return
        self.model = model if model in picked else newest
        self.session = results.session(self.model)
        self.classes = [c.name for c in results.workspace.classes]
        with ui.row().classes("w-full no-wrap items-start gap-4"):
            with ui.column().classes("gap-4").style("width: 30rem; flex: none"):
                with card():
                    self._what(sorted(picked))
                with card():
                    self._form()
                with card():
                    self._reports(sorted(picked))
            self.result = ui.column().classes("col gap-3").style("min-width: 0")
        with self.result:
            hint("Files that you write are listed here, and reports are shown here.")

    # --- what is kept --------------------------------------------------------------------------------

    def _what(self, models: list[str]) -> None:
        title("What is exported")
        ui.select(models, value=self.model, label="Picks of", on_change=lambda e: ui.navigate.to(
            f"/export?model={e.value}")).props(FIELD).classes("w-full")  # fmt: skip
        chosen = self.session.chosen()
        rows = [
            {"tomogram": one.name} | {name: int((one.picks.classes == name).sum()) for name in self.classes}
            for one in chosen
        ]
        columns = [{"name": "tomogram", "label": "tomogram", "field": "tomogram", "align": "left"}]
        columns += [{"name": name, "label": name, "field": name, "align": "right"} for name in self.classes]
        self.table = ui.table(columns=columns, rows=rows, row_key="tomogram", selection="multiple").props(
            TABLE
        ).classes("w-full").style("max-height: 16rem")  # fmt: skip
        self.table.selected = list(rows)
        s = self.session
        said = f"; {s.accepted} accepted by hand, {s.rejected} rejected" if s.accepted or s.rejected else ""
        hint(f"Kept: {s.filters.what}{said}. Change that on the page Curate.")

    def _chosen(self) -> list[Chosen]:
        names = [row["tomogram"] for row in self.table.selected]
        if not names:
            raise InputError("no tomogram is chosen: tick those to export")
        return self.session.chosen(names)

    # --- files ---------------------------------------------------------------------------------------

    def _form(self) -> None:
        title("Write files")
        titles = {name: f"{form.title} ({form.suffixes[0]})" for name, form in BY_NAME.items()}
        self.format = ui.select(titles, value="relion4", label="Format", on_change=self._explain).props(FIELD)
        self.format.classes("w-full").mark("format")
        self.explained = hint("")
        self.binning = ui.number("Binning of these tomograms", value=1, min=0.01, step=1).props(FIELD)
        self.binning.classes("w-full")
        hint(
            "Positions in voxels are multiplied by it: 4 where the tomograms are binned by 4 and the other program "
            "counts unbinned voxels."
        )
        self.folder = ui.input("Folder, beside the project file", value=f"export/{self.model}").props(FIELD)
        self.folder.classes("w-full")
        self.overwrite = ui.checkbox("Replace files that are there").props("dense")
        ui.button("Write files", icon="save", on_click=spoken(self._write)).props("unelevated no-caps").classes(
            "w-full"
        ).mark("export")
        self._explain()

    def _explain(self) -> None:
        form = BY_NAME[str(self.format.value)]
        holds = ", ".join(name for name in ("class names", "class numbers", "scores", "angles") if name in form.holds)
        missing = "" if "scores" in form.holds else ", but no scores"
        self.explained.text = (
            f"Positions: {form.positions}. Holds {holds or 'positions alone, a file for each class'}{missing}."
        )

    def _write(self) -> None:
        root, wanted = self.results.root, Path(str(self.folder.value or "").strip() or "export")
        folder = (root / wanted).resolve()
        if not folder.is_relative_to(root.resolve()):
            raise InputError(f"{wanted} lies outside the project's folder: name one inside it")
        files = export_picks(
            self._chosen(), folder, str(self.format.value), classes=self.classes,
            binning=float(self.binning.value or 0), overwrite=bool(self.overwrite.value),
        )  # fmt: skip
        self.result.clear()
        with self.result, card():
            with ui.row().classes("w-full items-center"):
                title(f"{len(files)} file{'s' if len(files) != 1 else ''} written")
                ui.space()
                archive = f"{folder.name}.zip"
                ui.button(
                    "Download as a zip", icon="download",
                    on_click=lambda: ui.download.content(zipped(files, folder), archive),
                ).props("outline no-caps").mark("download")  # fmt: skip
            hint(str(folder))
            for path in files:
                ui.label(path.relative_to(folder).as_posix()).classes("text-body2 text-mono").mark("written")
            ui.code(_beginning(files[0]), language="text").classes("w-full") if files else None

    # --- reports -------------------------------------------------------------------------------------

    def _reports(self, models: list[str]) -> None:
        title("Reports")
        others = [name for name in models if name != self.model]
        self.against = ui.select([LABELS, *others], value=LABELS, label="Hold the picks against").props(FIELD)
        self.against.classes("w-full")
        hint(
            "Against labels: precision, recall, the worst mistakes; labels that a model learnt from flatter it. "
            "Against another model's picks: what both found, and what only one."
        )
        with ui.row().classes("w-full gap-2"):
            ui.button("Evaluate", on_click=spoken(self._evaluate)).props("outline no-caps").classes("col").mark(
                "evaluate"
            )
            ui.button("Compare", on_click=spoken(self._compare)).props("outline no-caps").classes("col").mark("compare")

    async def _evaluate(self) -> None:
        """Score what is kept against the labels."""
        names = [one.name for one in self._chosen()]
        await self._show(lambda: reports.evaluation(self.results, self.session, names), "evaluated")

    async def _compare(self) -> None:
        """Hold what is kept against the labels, or another model's picks."""
        names, other = [one.name for one in self._chosen()], str(self.against.value)
        sets: dict[str, Session | None] = {self.model: self.session}
        sets |= {reports.LABELS: None} if other == LABELS else {other: self.results.session(other)}
        await self._show(lambda: reports.comparison(self.results, sets, names), "compared")

    async def _show(self, make: Callable[[], Path], what: str) -> None:
        self.result.clear()
        with self.result, ui.row().classes("items-center gap-3 q-pa-md"):
            ui.spinner()
            hint(f"The picks are being {what} …")
        try:
            page = await run.io_bound(make)
        finally:
            self.result.clear()
        if page is None:  # the server is going down
            return
        with self.result:
            with ui.row().classes("w-full items-center gap-3"):
                hint(f"{page}")
                ui.space()
                ui.button(
                    "Open in a tab of its own", on_click=lambda: ui.navigate.to(reports.address(page), new_tab=True)
                ).props("outline no-caps dense").classes("q-px-sm")
            ui.element("iframe").props(f'src="{reports.address(page)}" title="report"').classes("w-full").style(
                "height: calc(100vh - 9rem); border: 1px solid #dde3e8; border-radius: 8px; background: #fff"
            ).mark("report")


def zipped(files: Sequence[Path], folder: Path) -> bytes:
    """Files of a folder as one archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(folder.parent))
    return buffer.getvalue()


def _beginning(path: Path) -> str:
    """The first lines of a text file, to see that it is right."""
    content = path.read_bytes()[:2000]
    try:
        return "\n".join(content.decode("utf-8").splitlines()[:30])
    except UnicodeDecodeError:
        return f"{path.name}: {path.stat().st_size} bytes"
