"""Curate: picks over the slices, a threshold to drag, filters, a gallery to accept and reject, and training again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from nicegui import events, ui

from etpick import api
from etpick.curation.filters import Filters
from etpick.curation.project import Correction
from etpick.curation.rounds import last_round
from etpick.curation.session import Row
from etpick.errors import InputError
from etpick.serve import charts
from etpick.serve.gallery import Gallery
from etpick.serve.parts import empty, hint, spoken
from etpick.serve.workspace import Workspace

_ALL: Final = "all classes"
_THROTTLE_S: Final = 0.04


class CuratePage:
    """The page of one project; `model` chooses whose picks, the newest if not given."""

    def __init__(self, workspace: Workspace, model: str | None = None) -> None:
        self.workspace = workspace
        picked = workspace.picked()
        if not picked:
            empty(
                "Nothing was picked yet: pick some tomograms, then look at the picks here.", link="Pick", target="/pick"
            )
            return
        newest = [m.name for m in workspace.models() if m.name in picked] or sorted(picked)
        self.model = model if model in picked else newest[0]
        self.session = workspace.session(self.model)
        if not self.session.tomograms:
            empty("None of the tomograms that were picked is in the project any more.", link="Open", target="/")
            return
        self.classes = workspace.classes()
        self.colors = {c.name: c.color for c in self.classes}
        self.name = next(iter(self.session.tomograms))
        with ui.row().classes("w-full no-wrap items-start gap-4"):
            with ui.column().classes("col gap-2").style("min-width: 0"):
                self._choose(sorted(picked))
                self.stage = ui.column().classes("w-full")
            with ui.column().classes("gap-3").style("width: 37rem; flex: none"):
                self._threshold()
                self._filters()
                self.gallery = Gallery(
                    self.session, self.colors, {c.name: c.diameter_A for c in self.classes}, self.show, self._reviewed
                )
                self._again()
        self._count()
        ui.timer(0, self.gallery.reload, once=True)

    # --- which picks -------------------------------------------------------------------------------

    def _choose(self, models: list[str]) -> None:
        with ui.row().classes("w-full items-center gap-2"):
            ui.select(models, value=self.model, label="Picks of", on_change=self._other_model).props(_FIELD)
            ui.select(
                list(self.session.tomograms), value=self.name, label="Tomogram", on_change=self._other_tomogram
            ).props(_FIELD).style("min-width: 12rem")
            self.count = ui.label().classes("text-body2 q-ml-md").mark("counts")

    def _other_model(self, event: events.ValueChangeEventArguments[str]) -> None:
        ui.navigate.to(f"/curate?model={event.value}")

    def _other_tomogram(self, event: events.ValueChangeEventArguments[str]) -> None:
        self.name = event.value

    def show(self, row: Row) -> None:
        """Bring a pick into the slice."""

    # --- threshold ---------------------------------------------------------------------------------

    def _threshold(self) -> None:
        with ui.card().classes("w-full q-pa-sm gap-1 no-shadow").props("bordered"):
            with ui.row().classes("w-full items-center gap-2"):
                ui.label("Keep picks with a score from").classes("text-body2")
                self.number = (
                    ui.number(min=0, max=1, step=0.01, format="%.2f", value=self.threshold)
                    .props(_FIELD)
                    .style("width: 6rem")
                    .mark("threshold")
                )
                names = [_ALL, *(c.name for c in self.classes)]
                self.scope = ui.select(names, value=_ALL, on_change=self._scoped).props(_FIELD)
                self.scope.set_visibility(len(names) > 2)
                ui.button("Model's", on_click=spoken(self._models_own)).props("flat dense no-caps").tooltip(
                    "The thresholds that validation chose"
                )
            picks = {name: review.picks for name, review in self.session.reviews.items()}
            self.figure = charts.histogram(picks, self.colors, self.threshold, self.session.lowest)
            self.chart = ui.plotly(self.figure).classes("w-full").style("height: 11rem")
            self.chart.on("plotly_relayout", self._dragged)
            self.slider = ui.slider(min=0, max=1, step=0.005, value=self.threshold).props("dense").style(
                "margin: -0.4rem 12px 0 52px; width: calc(100% - 64px)"
            )  # fmt: skip
            self.slider.mark("threshold-slider")
            self.slider.on("update:model-value", lambda e: self._try(float(e.args)), throttle=_THROTTLE_S)
            self.slider.on("change", spoken(lambda e: self._keep(float(e.args))))
            self.number.on("change", spoken(lambda: self._keep(float(self.number.value or 0))))

    @property
    def threshold(self) -> float:
        """The least score of the class in question, or the lowest of all."""
        limits = self.session.filters.min_score
        scope = getattr(self, "scope", None)
        if scope is not None and scope.value != _ALL:
            return limits.get(scope.value, 0.0)
        return min(limits.values(), default=0.0)

    def _with(self, threshold: float) -> Filters:
        return self.session.with_threshold(threshold, None if self.scope.value == _ALL else self.scope.value)

    def _dragged(self, event: events.GenericEventArguments) -> Any:
        to = charts.dragged_to(event.args)
        return None if to is None else spoken(self._keep)(to)

    def _try(self, threshold: float) -> None:
        """Show what a threshold would keep, while it is dragged."""
        self.number.value = round(threshold, 3)
        self._line(threshold)
        self._count(self._with(threshold))

    async def _keep(self, threshold: float) -> None:
        """Take a threshold, on disk, and show the gallery anew."""
        self.session.filters = self._with(threshold)
        self._place(threshold)
        self._count()
        await self.gallery.reload()

    def _scoped(self) -> None:
        self._place(self.threshold)

    async def _models_own(self) -> None:
        self.session.filters = replace(self.session.filters, min_score=self.session.thresholds)
        self._place(self.threshold)
        self._count()
        await self.gallery.reload()

    def _place(self, threshold: float) -> None:
        self.number.value = round(threshold, 3)
        self.slider.value = threshold
        self._line(threshold)

    def _line(self, threshold: float) -> None:
        """Move the chart's line without drawing the bars again."""
        self.figure["layout"]["shapes"][0] = charts.threshold_line(threshold)
        self.chart.run_plot_method("relayout", {"shapes": self.figure["layout"]["shapes"]})

    # --- filters and counts ------------------------------------------------------------------------

    def _filters(self) -> None:
        now = self.session.filters
        with ui.row().classes("w-full items-center gap-2 no-wrap"):
            self.only = ui.select(
                [c.name for c in self.classes], value=sorted(now.classes or []), label="Classes", multiple=True,
                clearable=True, on_change=spoken(self._filtered),
            ).props(_FIELD).classes("col")  # fmt: skip
            self.edge = self._distance("Edge, at least", now.edge_A or None)
            self.apart = self._distance("Neighbour, at least", now.apart_A or None)
            self.near = self._distance("Neighbour, at most", now.near_A)

    def _distance(self, label: str, value: float | None) -> ui.number:
        field = ui.number(label, min=0, step=50, suffix="Å", value=value).props(f"{_FIELD} clearable debounce=400")
        field.on_value_change(spoken(self._filtered))
        return field.classes("col")

    async def _filtered(self) -> None:
        self.session.filters = replace(
            self.session.filters, classes=frozenset(self.only.value) or None, edge_A=float(self.edge.value or 0),
            apart_A=float(self.apart.value or 0), near_A=None if self.near.value is None else float(self.near.value),
        )  # fmt: skip
        self._count()
        await self.gallery.reload()

    def _count(self, filters: Filters | None = None) -> None:
        counts = self.session.counts(filters)
        each = ", ".join(f"{n} {name}" for name, n in counts.items())
        self.count.text = f"{sum(counts.values())} kept: {each}" if len(counts) > 1 else f"{each} kept"

    # --- what was said, and training again ---------------------------------------------------------

    def _reviewed(self) -> None:
        self._count()
        self._tell()

    def _again(self) -> None:
        with ui.card().classes("w-full q-pa-sm gap-2 no-shadow").props("bordered"):
            with ui.row().classes("w-full items-center no-wrap gap-2"):
                with ui.column().classes("col gap-0"):
                    self.said = ui.label().classes("text-body2").mark("reviewed")
                    hint(
                        "Accepted picks become labels, rejected ones places without a particle. "
                        "Picks that the network is least sure of teach it most."
                    )
                ui.button("Ask me the least sure", on_click=self._least_sure).props("outline no-caps dense").classes(
                    "q-px-sm"
                ).mark("least-sure")
                ui.button("Train again with this", icon="model_training", on_click=spoken(self._train)).props(
                    "unelevated no-caps dense"
                ).classes("q-px-sm").mark("train-again")
            self.undone = ui.row().classes("w-full items-center")
        self._tell()

    def _tell(self) -> None:
        self.said.text = f"{self.session.accepted} accepted, {self.session.rejected} rejected"
        self.undone.clear()
        last = last_round(self.workspace.root)
        if last is not None:
            with self.undone:
                hint(f"Last correction: {last.what}").classes("col")
                ui.button("Undo it", on_click=spoken(self._undo)).props("flat dense no-caps")

    async def _least_sure(self) -> None:
        self.gallery.order.value = "least sure"
        self.gallery.which.value = "not reviewed"
        await self.gallery.reload()

    def _undo(self) -> None:
        undone = api.undo_correction(self.workspace.project)
        ui.notify(f"undone: {undone.what}", type="positive")
        self._tell()

    def _train(self) -> None:
        """One button: join what was said to the labels, and queue a training on them."""
        would = api.correct(self.workspace.project, self.session.folder, write=False)
        if would.advice:
            self._ask(would)
        else:
            self._train_again(False)

    def _ask(self, would: Correction) -> None:
        with ui.dialog(value=True) as dialog, ui.card().classes("gap-3").style("max-width: 34rem"):
            ui.label("Are all particles of these tomograms marked now?").classes("text-subtitle1")
            ui.label(
                f"{would.unreviewed} picks above the model's threshold in them have no label, and you did not say what "
                "they are. A training on complete labels takes them for background."
            )

            def answer(text: str, partial: bool, props: str) -> None:
                def act() -> None:
                    dialog.close()
                    self._train_again(partial)

                ui.button(text, on_click=spoken(act)).props(f"no-caps {props}").classes("w-full")

            answer("No: call labels partial, leave such places out of training", True, "unelevated")
            answer("Yes: all others are background", False, "outline")
            ui.button("Back to the picks", on_click=dialog.close).props("no-caps flat").classes("w-full")

    def _train_again(self, partial: bool) -> None:
        correction = api.correct(self.workspace.project, self.session.folder, partial=partial)
        if not correction.changed:
            raise InputError("the labels say already what you said of the picks: accept or reject others first")
        job = self.workspace.train_again()
        ui.notify(f"{correction.what}; training {job.out.name}", type="positive")
        ui.navigate.to("/train")


_FIELD: Final = "outlined dense options-dense"
