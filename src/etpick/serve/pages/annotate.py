"""Look at a tomogram and mark particles in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from nicegui import ui

from etpick.errors import EtpickError
from etpick.serve.annotation import Changes, Document, Pick
from etpick.serve.display import MOST_SLICES, Display
from etpick.serve.frame import PAGES, frame, nothing_here, told
from etpick.serve.slices import Slices
from etpick.serve.viewer import Mark, Viewer, colors_and_diameters
from etpick.serve.workspace import Workspace
from etpick.types import NEGATIVE

PAGES["/annotate"] = "Annotate"
_REFRESH_S: Final = 2.0
_KEYS: Final = (
    ("wheel, arrows", "scroll through z (Shift, Page: faster)"), ("Ctrl + wheel, + −", "zoom; f fits"),
    ("drag", "pan; a pick: move it"), ("click", "add a pick, or select one"), ("1 – 9, 0", "class; 0: no particle"),
    ("n, p", "next, previous pick"), ("s", "snap to the centre of mass"), ("Delete", "delete the selected pick"),
    ("Ctrl + Z, Ctrl + Y", "undo, redo"),
)  # fmt: skip


def register(workspace: Workspace, slices: Slices) -> None:
    """Enter the page."""

    @ui.page("/annotate")
    def first() -> None:
        _page(workspace, None)

    @ui.page("/annotate/{key}")
    def one(key: str) -> None:
        _page(workspace, key)


def _page(workspace: Workspace, key: str | None) -> None:
    with frame(workspace, "Annotate"):
        readable = [entry for entry in workspace.entries if entry.tomogram]
        if not readable:
            nothing_here("No tomogram to look at yet.", "Open or make a project", lambda: ui.navigate.to("/"))
            return
        try:
            _Annotate(workspace, key or readable[0].key)
        except EtpickError as error:
            nothing_here(str(error), "Go to the project", lambda: ui.navigate.to("/"))


class _Annotate:
    """The page for one tomogram, in one tab."""

    def __init__(self, workspace: Workspace, key: str) -> None:
        self.workspace, self.key = workspace, key
        self.tomogram = workspace.tomogram(key)
        self.document: Document = workspace.document(key)
        self.looks = colors_and_diameters(workspace.classes)
        self.kind = workspace.classes[0].name
        self.selected: int | None = None
        self.display = Display()
        self.rows: dict[str, tuple[ui.row, ui.label]] = {}
        self._build()
        self.viewer.set_marks([self._mark(k, pick) for k, pick in self.document.picks.items()])
        self._refresh_panel()
        forget = self.document.on_change(self._changed)
        ui.context.client.on_delete(forget)
        ui.timer(_REFRESH_S, self._look_at_file)

    # --- the page --------------------------------------------------------------------------------

    def _build(self) -> None:
        with ui.row().classes("w-full no-wrap items-stretch").style("height: calc(100vh - 84px); gap: 14px"):
            with ui.element("div").style("flex: 1; min-width: 0; height: 100%"):
                self.viewer = Viewer(
                    self.key, self.tomogram, self.display, placing=True, on_place=self._place, on_select=self._select,
                    on_move=self._move, on_key=self._key,
                ).style("height: 100%")  # fmt: skip
            with ui.column().classes("no-wrap").style("width: 310px; height: 100%; overflow-y: auto; gap: 12px"):
                self._build_tomogram()
                self._build_classes()
                self._build_display()
                self._build_help()

    def _build_tomogram(self) -> None:
        names = {entry.key: entry.name for entry in self.workspace.entries if entry.tomogram}
        with ui.column().classes("etpick-card w-full"):
            ui.select(
                names, value=self.key, label="Tomogram", on_change=lambda e: ui.navigate.to(f"/annotate/{e.value}")
            ).classes("w-full").props("dense outlined")
            z, y, x = self.tomogram.shape
            ui.label(f"{x} × {y} × {z} voxels of {self.tomogram.spacing_A:g} Å").classes("etpick-hint")
            if self.document.imported:
                ui.label(
                    "These picks come from another file. It stays as it is: your first change is written to "
                    f"picks/{self.document.path.name}, which the project uses from then on."
                ).classes("etpick-hint")

    def _build_classes(self) -> None:
        with ui.column().classes("etpick-card w-full").style("gap: 4px"):
            ui.label("Mark as").classes("etpick-title")
            for number, name in enumerate([c.name for c in self.workspace.classes], start=1):
                self._class_row(name, name, str(number) if number < 10 else "")
            self._class_row(NEGATIVE, "not a particle", "0")
            with ui.row().classes("w-full items-center").style("gap: 4px"):
                self.undo = ui.button(icon="undo", on_click=lambda: self._do(self.document.undo)).props("flat dense")
                self.redo = ui.button(icon="redo", on_click=lambda: self._do(self.document.redo)).props("flat dense")
                ui.button(icon="chevron_left", on_click=lambda: self._step(-1)).props("flat dense").tooltip("previous")
                ui.button(icon="chevron_right", on_click=lambda: self._step(1)).props("flat dense").tooltip("next")
                self.snap = ui.button("Snap", on_click=self._snap).props("flat dense no-caps")
                self.delete = ui.button("Delete", on_click=self._delete).props("flat dense no-caps color=negative")
            self.state = ui.label().classes("etpick-hint")

    def _class_row(self, name: str, title: str, key: str) -> None:
        color, diameter = self.looks[name]
        row = ui.row().classes("etpick-class").on("click", lambda: self._choose(name))
        with row:
            ui.element("span").classes("etpick-swatch").style(f"background: {color}")
            ui.label(title).style("flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis")
            if name != NEGATIVE:
                ui.label(f"{diameter:g} Å").classes("etpick-hint")
            count = ui.label("0").style("min-width: 2em; text-align: right; font-variant-numeric: tabular-nums")
            if key:
                ui.label(key).classes("etpick-key")
        self.rows[name] = row, count

    def _build_display(self) -> None:
        with ui.column().classes("etpick-card w-full").style("gap: 6px"):
            ui.label("Display").classes("etpick-title")
            ui.label("Black and white, percentiles of the grey levels").classes("etpick-hint")
            ui.range(
                min=0, max=100, step=0.25, value={"min": self.display.black, "max": self.display.white}
            ).on_value_change(lambda e: self._show(black=float(e.value["min"]), white=float(e.value["max"]))).props(
                "label"
            )
            self._number("Average over ± slices", "slab", 0, MOST_SLICES, 1)
            self._number("Gaussian, voxels", "sigma_vx", 0, 10, 0.5)
            self._number("Low-pass, Å", "lowpass_A", 0, 1000, 10)
            with ui.row():
                ui.checkbox("Equalise", on_change=lambda e: self._show(equalise=e.value)).props("dense")
                ui.checkbox("Invert", on_change=lambda e: self._show(invert=e.value)).props("dense")

    def _number(self, label: str, name: str, low: float, high: float, step: float) -> None:
        kind = type(getattr(self.display, name))
        ui.number(
            label, value=getattr(self.display, name), min=low, max=high, step=step,
            on_change=lambda e: self._show(**{name: kind(min(max(e.value or 0, low), high))}),
        ).props("dense outlined debounce=250").classes("w-full")  # fmt: skip

    def _build_help(self) -> None:
        with ui.expansion("Keys and mouse").classes("w-full etpick-card").style("padding: 2px 6px"):
            for keys, what in _KEYS:
                with ui.row().classes("no-wrap items-baseline").style("gap: 8px"):
                    ui.label(keys).classes("etpick-key").style("white-space: nowrap")
                    ui.label(what).classes("etpick-hint")

    # --- what the hand does ----------------------------------------------------------------------

    def _place(self, position: tuple[float, float, float]) -> None:
        self._do(lambda: self._choose_pick(self.document.add(position, self.kind)))

    def _move(self, key: int, position: tuple[float, float, float]) -> None:
        self._do(lambda: self.document.move(key, position))
        if key in self.document.picks:  # refused or not, the circle lies where the pick is
            self.viewer.change_marks([self._mark(key, self.document.picks[key])], [])

    def _select(self, key: int) -> None:
        self._choose_pick(key)

    def _choose(self, name: str) -> None:
        """The class of picks to come, and of the selected one."""
        self.kind = name
        if self.selected in self.document.picks:
            self._do(lambda: self.document.reclass(self.selected or 0, name))
        self._refresh_panel()

    def _snap(self) -> None:
        if self.selected in self.document.picks:
            radius = self._mark(self.selected, self.document.picks[self.selected]).radius_vx
            self._do(lambda: self.document.snap(self.selected or 0, radius))

    def _delete(self) -> None:
        if self.selected in self.document.picks:
            keys = sorted(self.document.picks)
            following = [k for k in keys if k > self.selected] or [k for k in keys if k < self.selected]
            self._do(lambda: self.document.delete([self.selected or 0]))
            self._choose_pick(following[0] if following else None)

    def _step(self, by: int) -> None:
        keys = sorted(self.document.picks)
        if not keys:
            return
        here = keys.index(self.selected) if self.selected in keys else (-1 if by > 0 else 0)
        key = keys[(here + by) % len(keys)]
        self._choose_pick(key)
        self.viewer.go_to(self.document.picks[key].position)

    def _key(self, key: str, ctrl: bool, shift: bool) -> None:
        if ctrl:
            self._do(self.document.redo if key.lower() == "y" or shift else self.document.undo)
        elif key.isdigit():
            names = [NEGATIVE, *(c.name for c in self.workspace.classes)]
            if int(key) < len(names):
                self._choose(names[int(key)])
        elif key == "Escape":
            self._choose_pick(None)
        else:
            {"Delete": self._delete, "Backspace": self._delete, "n": lambda: self._step(1), "p": lambda: self._step(-1),
             "s": self._snap}[key]()  # fmt: skip

    def _show(self, **changes: float | int | bool) -> None:
        self.display = replace(self.display, **changes)  # type: ignore[arg-type]
        self.viewer.show(self.display)

    # --- what has happened -----------------------------------------------------------------------

    def _do(self, edit: Callable[[], object]) -> None:
        with told():
            edit()
        self._refresh_panel()

    def _changed(self, changes: Changes) -> None:
        """An edit, in this tab or another."""
        changed = [self._mark(c.key, c.after) for c in changes if c.after]
        self.viewer.change_marks(changed, [c.key for c in changes if c.after is None])
        if self.selected is not None and self.selected not in self.document.picks:
            self._choose_pick(None)
        self._refresh_panel()

    def _look_at_file(self) -> None:
        with told():
            if sentence := self.document.refresh():
                ui.notify(sentence, type="warning", multi_line=True, timeout=0, close_button="Close")

    def _choose_pick(self, key: int | None) -> None:
        self.selected = key
        self.viewer.select(key)
        self._refresh_panel()

    def _refresh_panel(self) -> None:
        counts = self.document.counts()
        for name, (row, label) in self.rows.items():
            label.text = str(counts.get(name, 0))
            row.classes(add="etpick-class-on") if name == self.kind else row.classes(remove="etpick-class-on")
        self.undo.set_enabled(self.document.can_undo)
        self.redo.set_enabled(self.document.can_redo)
        for button in (self.snap, self.delete):
            button.set_enabled(self.selected in self.document.picks)
        place = f"saved in picks/{self.document.path.name}" if self.document.saved else "nothing saved yet"
        self.state.text = f"{len(self.document.picks)} picks; {place}"

    def _mark(self, key: int, pick: Pick) -> Mark:
        color, diameter = self.looks.get(pick.kind, ("#ffffff", 200.0))
        radius = diameter / 2 / self.tomogram.spacing_A
        return Mark(key, pick.position, radius, color, None, pick.kind == NEGATIVE)
