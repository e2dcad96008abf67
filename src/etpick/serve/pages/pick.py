"""Pick: a model, tomograms, and how far each of them is."""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui

from etpick.config import PickingConfig
from etpick.errors import InputError
from etpick.jobs import Status, TomogramDone
from etpick.serve.board import bar_color, buttons, sentence, statuses
from etpick.serve.frame import PAGES, frame, is_open, nothing_here, told
from etpick.serve.parts import TABLE, card, hint, minutes, spoken, state_chip, title
from etpick.serve.results import ModelFacts, Results, results_of
from etpick.serve.slices import Slices
from etpick.serve.workspace import Workspace

PAGES["/pick"] = "Pick"
_EVERY_S: Final = 1.0


def register(workspace: Workspace, slices: Slices) -> None:
    """Enter the page."""

    @ui.page("/pick")
    def page() -> None:
        with frame(workspace, "Pick"):
            if not is_open(workspace):
                return
            with told():
                _Pick(results_of(workspace))


class _Pick:
    """The page of one project, in one tab."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.models = results.models()
        if not self.models:
            nothing_here(
                "No model yet: train one first, then pick every tomogram with it.", "Train",
                lambda: ui.navigate.to("/train"),
            )  # fmt: skip
            return
        defaults = PickingConfig()
        self.options: dict[str, Any] = {
            "edge_A": defaults.edge_A, "slab": defaults.slab, "gold": defaults.gold, "again": False,
        }  # fmt: skip
        with ui.row().classes("w-full no-wrap items-start gap-4"):
            with card().style("width: 24rem; flex: none"):
                self._form()
            with ui.column().classes("col gap-4").style("min-width: 0"):
                self.board = PickingBoard(results)

    def _form(self) -> None:
        title("Model")
        names = {m.name: f"{m.name}: {m.line}" for m in self.models}
        self.model = (
            ui.select(names, value=self.models[0].name, on_change=lambda: self._list())
            .props("outlined dense options-dense")
            .classes("w-full")
            .mark("model")
        )
        title("Tomograms")
        self.table = ui.table(
            columns=[
                {"name": "name", "label": "tomogram", "field": "name", "align": "left"},
                {"name": "picked", "label": "", "field": "picked", "align": "left"},
            ],
            rows=[], row_key="name", selection="multiple",
        ).props(TABLE).classes("w-full").style(
            "max-height: 20rem"
        )  # fmt: skip
        self._list()
        with ui.expansion("Where not to pick").props("dense").classes("w-full"), ui.column().classes("w-full gap-2"):
            ui.checkbox("Only inside the lamella").props("dense").bind_value(self.options, "slab")
            hint(f"{_sentence('slab')}.")
            ui.checkbox("Not at gold beads").props("dense").bind_value(self.options, "gold")
            hint(f"{_sentence('gold')}.")
            ui.number("Å from the tomogram's edges", min=0, step=50).props("outlined dense").classes(
                "w-full"
            ).bind_value(self.options, "edge_A")
        ui.checkbox("Pick again what this model has picked").props("dense").bind_value(self.options, "again")
        hint("Replaces those picks; what you accepted and rejected stays.")
        ui.button("Pick", icon="play_arrow", on_click=spoken(self._start)).props("no-caps unelevated").classes(
            "w-full"
        ).mark("start-picking")

    @property
    def chosen(self) -> ModelFacts:
        """The model to pick with."""
        return next(m for m in self.models if m.name == self.model.value)

    def _list(self) -> None:
        picked = set(self.results.picked().get(str(self.model.value), []))
        rows = [{"name": name, "picked": "picked" if name in picked else ""} for name in self.results.entries()]
        self.table.rows = rows
        self.table.selected = [row for row in rows if not row["picked"]]
        self.table.update()

    def _start(self) -> None:
        names = [row["name"] for row in self.table.selected]
        if not names:
            raise InputError("no tomogram is chosen: tick those to pick")
        entries, o = self.results.entries(), self.options
        done = set(self.results.picked().get(self.chosen.name, [])) & set(names)
        if done and not o["again"]:
            raise InputError(
                f"{self.chosen.name} has picked {', '.join(sorted(done))} already: untick them, or tick 'Pick again'"
            )
        stated = self.results.stated_spacings()
        for spacing_A in dict.fromkeys(stated[name] for name in names):  # one, but for projects of mixed headers
            paths = [entries[name].path for name in names if stated[name] == spacing_A]
            self.results.queue.add(
                "pick", model=self.chosen.folder, tomograms=paths, out=self.results.picked_folder(self.chosen.name),
                candidates=True, overwrite=bool(done), spacing_A=spacing_A,
                edge_A=float(o["edge_A"] or 0), slab=bool(o["slab"]), gold=bool(o["gold"]),
            )  # fmt: skip
        self.board.update()


def _sentence(name: str) -> str:
    text = str(PickingConfig.model_fields[name].description)
    return text[0].upper() + text[1:]


class PickingBoard:
    """The pickings of a project, newest first, each with its tomograms. Looks at the disk once in a second."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._shown: object = None
        self.body = ui.column().classes("w-full gap-3")
        self.update()
        ui.timer(_EVERY_S, self.update)

    def update(self) -> None:
        """Show what the disk says, where that has changed."""
        known = [s for s in statuses(self.results) if s.job.kind == "pick"]
        if known == self._shown:
            return
        self._shown = known
        self.body.clear()
        with self.body:
            if not known:
                nothing_here("Nothing was picked yet. Choose tomograms and press Pick: each shows here how far it is.")
            for shown in reversed(known):
                self._card(shown)

    def _card(self, shown: Status) -> None:
        with card():
            with ui.row().classes("w-full items-center gap-3"):
                ui.label(f"{shown.job.out.name}").classes("text-h6")
                state_chip(shown.state).mark("picking-state")
                hint(self._when(shown))
                ui.space()
                if shown.state == "done":
                    ui.button("Look at the picks", on_click=lambda: ui.navigate.to("/curate")).props(
                        "no-caps dense unelevated"
                    ).classes("q-px-sm")
                buttons(self.results, shown, self.update)
            ui.linear_progress(shown.share, show_value=False, color=bar_color(shown)).props("rounded size=8px")
            if shown.sentence and shown.state != "done":
                sentence(shown)
            for row in shown.tomograms:
                _row(row)

    def _when(self, shown: Status) -> str:
        if shown.state == "waiting":
            before = self.results.queue.position(shown.job)
            return f"waits for {before} other job{'s' if before != 1 else ''} to end"
        if shown.state == "running" and shown.minutes_left is not None:
            return f"about {minutes(shown.minutes_left)} left"
        return shown.sentence if shown.state == "done" else ""


def _row(row: TomogramDone) -> None:
    with ui.row().classes("w-full no-wrap items-center gap-3 text-body2"):
        ui.label(row.name).classes("ellipsis").style("width: 12rem")
        if row.state == "running":
            ui.linear_progress(row.share, show_value=False).props("rounded size=6px").classes("col")
            ui.label(minutes(row.minutes_left)).classes("text-right").style("width: 6rem")
        else:
            text = f"{row.picks} picks" if row.state == "done" else row.state
            ui.label(text).classes("text-negative" if row.state == "failed" else "").style("width: 7rem")
            ui.label("; ".join(row.remarks)).classes("text-caption text-grey-7 col")
