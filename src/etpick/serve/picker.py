"""A dialog to choose files and folders on the server, within the folders that it may touch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from nicegui import ui

from etpick.errors import InputError
from etpick.serve.access import Roots

_MOST: Final = 500


async def choose_paths(roots: Roots, title: str, wanted: Callable[[Path], bool], *, many: bool) -> list[Path] | None:
    """The files chosen, with `many` folders as well; None where nothing was."""
    with ui.dialog() as dialog, ui.card().classes("etpick-card").style("width: 640px; max-width: 90vw"):
        ui.label(title).classes("etpick-title")
        _Listing(roots, wanted, many, dialog.submit)
    answer = await dialog
    dialog.delete()
    return list(answer) if answer else None


class _Listing:
    """One folder at a time; what was ticked stays ticked in the next."""

    def __init__(
        self, roots: Roots, wanted: Callable[[Path], bool], many: bool, submit: Callable[[object], None]
    ) -> None:
        self.roots, self.wanted, self.many, self.submit = roots, wanted, many, submit
        self.folder = roots.folders[0]
        self.ticked: set[Path] = set()
        self.where = ui.row().classes("items-center w-full").style("gap: 4px")
        self.rows = ui.column().classes("w-full no-wrap").style("height: 46vh; overflow-y: auto; gap: 0")
        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=lambda: submit(None)).props("flat no-caps")
            if many:
                self.choose = ui.button("Choose", on_click=lambda: submit(sorted(self.ticked))).props("no-caps")
        self.show(self.folder)

    def show(self, folder: Path) -> None:
        """List a folder."""
        try:
            self.folder = self.roots.inside(folder)
            entries = sorted(self.folder.iterdir(), key=lambda p: (not p.is_dir(), p.name.lower()))
        except (InputError, OSError) as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        shown = [p for p in entries if not p.name.startswith(".") and (p.is_dir() or self.wanted(p))]
        self._head()
        self.rows.clear()
        with self.rows:
            for path in shown[:_MOST]:
                self._row(path)
            if len(shown) > _MOST:
                ui.label(f"and {len(shown) - _MOST} more: choose the folder itself").classes("etpick-hint")
            if not shown:
                ui.label("nothing of that kind in this folder").classes("etpick-hint").style("padding: 12px")

    def _head(self) -> None:
        self.where.clear()
        with self.where:
            for root in self.roots.folders:
                ui.button(root.name or str(root), on_click=lambda r=root: self.show(r)).props("flat dense no-caps")
            up = self.folder.parent
            if any(up.is_relative_to(root) for root in self.roots.folders):
                ui.button(icon="arrow_upward", on_click=lambda: self.show(up)).props("flat dense")
            ui.label(str(self.folder)).classes("etpick-hint")

    def _row(self, path: Path) -> None:
        is_file = self.wanted(path)  # a .zarr is a folder, and a tomogram
        with ui.row().classes("w-full no-wrap items-center etpick-class").style("min-height: 38px"):
            if self.many:
                ui.checkbox(value=path in self.ticked, on_change=lambda e: self._tick(path, e.value)).props("dense")
            ui.icon("description" if is_file else "folder").style("color: #5b6875; font-size: 20px")
            label = ui.label(path.name).style("flex: 1")
            if not is_file:
                label.on("click", lambda: self.show(path))
            elif not self.many:
                label.on("click", lambda: self.submit([path]))

    def _tick(self, path: Path, on: bool) -> None:
        (self.ticked.add if on else self.ticked.discard)(path)
        self.choose.text = f"Choose {len(self.ticked)}" if self.ticked else "Choose"
