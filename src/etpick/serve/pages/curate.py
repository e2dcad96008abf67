"""Curate: picks over the slices, a threshold to drag, filters, a gallery to accept and reject, and training again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nicegui import events, ui

from etpick.curation.session import Row
from etpick.serve.correcting import CorrectionBar
from etpick.serve.display import Display
from etpick.serve.frame import PAGES, frame, is_open, nothing_here, to_pick_first, told
from etpick.serve.gallery import Gallery
from etpick.serve.parts import FIELD, card, hint
from etpick.serve.results import Results, results_of
from etpick.serve.scored import SCORE_COLORS, Coloring, mark_of, marks_of
from etpick.serve.slices import Slices
from etpick.serve.threshold import ThresholdPanel
from etpick.serve.viewer import Viewer, colors_and_diameters
from etpick.serve.workspace import Workspace

PAGES["/curate"] = "Curate"
_SLAB: Final = 1  # slices to either side: a single one is mostly noise


def register(workspace: Workspace, slices: Slices) -> None:
    """Enter the page."""

    @ui.page("/curate")
    def page(model: str = "") -> None:
        with frame(workspace, "Curate"):
            if not is_open(workspace):
                return
            with told():
                _Curate(results_of(workspace), model)


class _Curate:
    """The page of one project, in one tab; `model` chooses whose picks, the newest if not given."""

    def __init__(self, results: Results, model: str) -> None:
        self.results = results
        picked, newest = results.picked(), results.newest_picked()
        if newest is None:
            to_pick_first("look at the picks")
            return
        self.model = model if model in picked else newest
        self.session = results.session(self.model)
        if not self.session.tomograms:
            nothing_here(
                f"None of the tomograms that {self.model} picked is in the project: add them on the Project page.",
                "Project", lambda: ui.navigate.to("/"),
            )  # fmt: skip
            return
        self.looks = colors_and_diameters(results.workspace.classes)
        self.name = next(iter(self.session.tomograms))
        self.selected: int | None = None
        self.coloring: Coloring = "score"
        self.dragged: frozenset[str] = frozenset()
        self._build(sorted(picked))
        self._look_at(self.name)
        self._count()
        ui.timer(0, self.gallery.reload, once=True)

    def _build(self, models: Sequence[str]) -> None:
        classes = self.results.workspace.classes
        with ui.row().classes("w-full no-wrap items-stretch").style("height: calc(100vh - 84px); gap: 14px"):
            with ui.column().classes("no-wrap").style("flex: 1; min-width: 0; height: 100%; gap: 10px"):
                self._choices(models)
                self.stage = ui.element("div").style("flex: 1; min-height: 0; width: 100%")
                self.pick_bar = ui.row().classes("w-full items-center no-wrap etpick-hint").style("min-height: 32px")
                self.correction = CorrectionBar(self.results, self.session, self._least_sure)
            with (
                ui.column()
                .classes("no-wrap")
                .style("width: 39.5rem; flex: none; height: 100%; overflow-y: auto; gap: 12px")
            ):
                self.panel = ThresholdPanel(self.session, classes, self._try, self._changed)
                with card():
                    self.gallery = Gallery(
                        self.session, {c.name: c.color for c in classes}, {c.name: c.diameter_A for c in classes},
                        self.show, self._reviewed,
                    )  # fmt: skip

    def _choices(self, models: Sequence[str]) -> None:
        with ui.row().classes("w-full items-center no-wrap").style("gap: 10px"):
            ui.select(list(models), value=self.model, label="Picks of", on_change=self._other_model).props(FIELD).style(
                "min-width: 8rem"
            )
            self.tomogram = ui.select(
                list(self.session.tomograms), value=self.name, label="Tomogram",
                on_change=lambda e: self._look_at(e.value),
            ).props(FIELD).style("min-width: 10rem").mark("tomogram")  # fmt: skip
            self.count = ui.label().style("font-weight: 600; line-height: 1.25").mark("counts")
            ui.space()
            ui.toggle({"score": "score", "class": "class"}, value="score", on_change=self._colored).props(
                "dense no-caps"
            ).tooltip("colour of the circles")
            ui.element("div").style(
                f"width: 90px; height: 8px; border-radius: 4px; background: linear-gradient(to right, "
                f"{', '.join(SCORE_COLORS)})"
            ).tooltip("score from 0 to 1")

    # --- the slices --------------------------------------------------------------------------------

    def _look_at(self, name: str) -> None:
        """Another tomogram in the viewer."""
        self.name = name
        self.stage.clear()
        key = self.results.entries()[name].key
        with self.stage:
            self.viewer = Viewer(
                key, self.session.tomograms[name], Display(slab=_SLAB), on_select=self._select, on_key=self._key
            ).style("height: 100%")  # fmt: skip
        self._select(None)
        self._marks()

    def _marks(self) -> None:
        """All circles, exactly as the filters have it."""
        self.dragged = frozenset()
        self.viewer.set_min_score(-1.0)
        self.viewer.set_marks(marks_of(self.session, self.name, self.looks, self.coloring))

    def _try(self, threshold: float, classes: frozenset[str]) -> None:
        """While a threshold is dragged the browser has every pick of its classes, and hides those below."""
        if self.dragged != classes:
            self.dragged = classes
            self.viewer.set_marks(marks_of(self.session, self.name, self.looks, self.coloring, classes))
        self.viewer.set_min_score(threshold)
        self._count(threshold)

    async def _changed(self) -> None:
        """Threshold or filters were set."""
        self._marks()
        self._count()
        await self.gallery.reload()

    def show(self, row: Row) -> None:
        """Bring a pick into the slice."""
        name, number = row
        if name != self.name:
            self.tomogram.value = name
        self.viewer.change_marks([mark_of(self.session, name, number, self.looks, self.coloring)], [])  # if below, too
        self.viewer.go_to(self.session.reviews[name].picks.positions[number].tolist())
        self._select(number)

    def _select(self, number: int | None) -> None:
        self.selected = number
        self.viewer.select(number)
        self.pick_bar.clear()
        with self.pick_bar:
            if number is None:
                hint("Click a circle or the score of a tile to look at a pick; n and p go through the gallery.")
                return
            picks = self.session.reviews[self.name].picks
            score = "" if picks.scores is None else f", score {picks.scores[number]:.2f}"
            sure = picks.class_probability
            chance = "" if sure is None else f", class right with {sure[number]:.0%}"
            ui.label(f"{picks.classes[number]}{score}{chance}").mark("selected-pick")
            ui.space()
            for text, key, icon in (("Accept", "1", "done"), ("Reject", "0", "close")):
                ui.button(text, icon=icon, on_click=lambda key=key: self._key(key, False, False)).props(
                    "outline dense no-caps"
                ).classes("q-px-sm").tooltip(f"key {key}")

    def _key(self, key: str, ctrl: bool, shift: bool) -> None:
        with told():
            if ctrl and key.lower() == "z":
                self.gallery.take_back()
            elif key in ("n", "p"):
                self._step(1 if key == "n" else -1)
            elif self.selected is not None and key in ("0", "1", "Delete", "Backspace"):
                row = (self.name, self.selected)
                self.session.accept([row]) if key == "1" else self.session.reject([row])
                self._step(1)

    def _step(self, by: int) -> None:
        """The next pick of the gallery, in its order."""
        rows = self.gallery.rows
        here = (self.name, self.selected)
        if rows:
            at = rows.index(here) if here in rows else (-1 if by > 0 else 0)
            self.show(rows[(at + by) % len(rows)])

    def _colored(self, event: events.ValueChangeEventArguments[Coloring]) -> None:
        self.coloring = event.value
        self._marks()

    # --- what was said -----------------------------------------------------------------------------

    def _reviewed(self, rows: Sequence[Row]) -> None:
        """Somebody accepted, rejected, or took it back."""
        numbers = [number for name, number in rows if name == self.name]
        marks = [mark_of(self.session, self.name, n, self.looks, self.coloring, self.dragged) for n in numbers]
        self.viewer.change_marks(marks, [])
        self._count()
        self.correction.tell()

    def _count(self, threshold: float | None = None) -> None:
        counts = self.session.counts(None if threshold is None else self.panel.with_threshold(threshold))
        each = ", ".join(f"{n} {name}" for name, n in counts.items())
        self.count.text = f"{sum(counts.values())} kept: {each}" if len(counts) > 1 else f"{each} kept"

    async def _least_sure(self) -> None:
        await self.gallery.ask_least_sure()
        if self.gallery.rows:
            self.show(self.gallery.rows[0])

    def _other_model(self, event: events.ValueChangeEventArguments[str]) -> None:
        ui.navigate.to(f"/curate?model={event.value}")
