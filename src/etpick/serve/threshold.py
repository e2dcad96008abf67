"""The threshold of a model's picks: a histogram with a line to drag, a slider under it, a number; and the filters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from nicegui import events, ui

from etpick.curation.filters import Filters
from etpick.curation.session import Session
from etpick.serve import charts
from etpick.serve.parts import FIELD, card, spoken
from etpick.types import ParticleClass

_ALL: Final = "all classes"
_THROTTLE_S: Final = 0.04
_AXIS_STYLE: Final = "margin: 2px 12px 0 52px; width: calc(100% - 64px)"  # under the chart's own axis


class ThresholdPanel:
    """Changes the session's filters. on_try(threshold, its classes) follows every move, on_change() what is kept."""

    def __init__(
        self, session: Session, classes: Sequence[ParticleClass],
        on_try: Callable[[float, frozenset[str]], None], on_change: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.session, self.classes = session, [c.name for c in classes]
        self.on_try, self.on_change = on_try, on_change
        with card().style("gap: 4px; padding: 10px 14px"):
            self._head()
            self._chart({c.name: c.color for c in classes})
        with card().style("padding: 10px 14px"):
            self._filters()

    @property
    def scope(self) -> frozenset[str]:
        """The classes whose threshold is set."""
        return frozenset(self.classes if self.which.value == _ALL else [str(self.which.value)])

    @property
    def threshold(self) -> float:
        """The least score of these classes; the lowest where they differ."""
        limits = self.session.filters.min_score
        return min((limits.get(name, 0.0) for name in self.scope), default=0.0)

    def with_threshold(self, threshold: float) -> Filters:
        """The filters with another threshold for these classes."""
        return self.session.with_threshold(threshold, self.scope)

    # --- pieces ------------------------------------------------------------------------------------

    def _head(self) -> None:
        with ui.row().classes("w-full items-center no-wrap").style("gap: 8px"):
            ui.label("Keep picks with a score from")
            self.number = ui.number(min=0, max=1, step=0.01, format="%.2f").props(FIELD).style("width: 5.5rem")
            self.number.mark("threshold")
            self.which = ui.select([_ALL, *self.classes], value=_ALL, on_change=lambda: self._place(self.threshold))
            self.which.props(FIELD)
            self.which.set_visibility(len(self.classes) > 1)
            ui.space()
            ui.button("As validated", on_click=spoken(self._as_validated)).props("flat dense no-caps").tooltip(
                "the thresholds that validation chose for this model"
            )
        self.number.on("change", spoken(lambda: self._keep(float(self.number.value or 0))))

    def _chart(self, colors: dict[str, str]) -> None:
        picks = {name: review.picks for name, review in self.session.reviews.items()}
        self.figure = charts.histogram(picks, colors, self.threshold, self.session.lowest)
        self.chart = ui.plotly(self.figure).classes("w-full").style("height: 10.5rem").mark("histogram")
        self.chart.on("plotly_relayout", self._dragged)
        self.slider = ui.slider(min=0, max=1, step=0.005).props("dense").style(_AXIS_STYLE).mark("threshold-slider")
        self.slider.on("update:model-value", lambda e: self._try(float(e.args)), throttle=_THROTTLE_S)
        self.slider.on("change", spoken(lambda e: self._keep(float(e.args))))
        self.number.value, self.slider.value = round(self.threshold, 3), self.threshold

    def _filters(self) -> None:
        now = self.session.filters
        with ui.row().classes("w-full items-center no-wrap").style("gap: 8px"):
            self.only = ui.select(
                self.classes, value=sorted(now.classes or []), label="Classes", multiple=True, clearable=True,
                on_change=spoken(self._filtered),
            ).props(FIELD).classes("col")  # fmt: skip
            self.edge = self._distance("From the edge ≥", now.edge_A or None)
            self.apart = self._distance("Neighbour ≥", now.apart_A or None)
            self.near = self._distance("Neighbour ≤", now.near_A)

    def _distance(self, label: str, value: float | None) -> ui.number:
        field = ui.number(label, min=0, step=50, suffix="Å", value=value).props(f"{FIELD} clearable debounce=400")
        field.on_value_change(spoken(self._filtered))
        return field.classes("col")

    # --- what the hand does ------------------------------------------------------------------------

    async def _dragged(self, event: events.GenericEventArguments) -> None:
        to = charts.dragged_to(event.args)
        if to is not None and abs(to - self.threshold) > 1e-6:
            await spoken(self._keep)(to)

    def _try(self, threshold: float) -> None:
        self.number.value = round(threshold, 3)
        self._line(threshold)
        self.on_try(threshold, self.scope)

    async def _keep(self, threshold: float) -> None:
        self.session.filters = self.with_threshold(threshold)
        self._place(threshold)
        await self.on_change()

    async def _as_validated(self) -> None:
        self.session.filters = replace(self.session.filters, min_score=self.session.thresholds)
        self._place(self.threshold)
        await self.on_change()

    async def _filtered(self) -> None:
        self.session.filters = replace(
            self.session.filters, classes=frozenset(self.only.value or []) or None, edge_A=float(self.edge.value or 0),
            apart_A=float(self.apart.value or 0), near_A=None if self.near.value is None else float(self.near.value),
        )  # fmt: skip
        await self.on_change()

    def _place(self, threshold: float) -> None:
        self.number.value = round(threshold, 3)
        self.number.update()  # also where the server knows it already and the browser has another
        self.slider.value = threshold
        self._line(threshold)

    def _line(self, threshold: float) -> None:
        """Move the chart's line without drawing the bars again."""
        self.figure["layout"]["shapes"][0] = charts.threshold_line(threshold)
        self.chart.run_plot_method("relayout", {"shapes": self.figure["layout"]["shapes"]})
