"""A gallery of picks: central slices in a grid, to accept or reject with a click; one picture carries a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, cast, get_args

from nicegui import run, ui

from etpick.curation.session import Order, Row, Session, Which
from etpick.report.sprites import Plane, Tile, box_vx, sprite_sheet
from etpick.serve.parts import as_source, hint, spoken

TILE_PX: Final = 92
COLUMNS: Final = 6
PAGE: Final = 48
_ORDERS: Final[Mapping[Order, str]] = {
    "best": "best score first", "worst": "worst score first", "least sure": "least sure first",
}  # fmt: skip
_WHICH: Final[Mapping[Which, str]] = {
    "shown": "above the threshold", "not reviewed": "not reviewed yet", "accepted": "accepted", "rejected": "rejected",
}  # fmt: skip
Verb = Literal["reject", "accept"]

STYLE: Final = f"""
.tile {{ width: {TILE_PX}px; height: {TILE_PX}px; border-radius: 6px; cursor: pointer; position: relative;
  background-image: var(--sheet); outline: 3px solid transparent; outline-offset: -3px; }}
.tile:hover {{ filter: brightness(1.15); }}
.tile.accepted {{ outline-color: #22a861; }}
.tile.rejected {{ outline-color: #e03131; }}
.tile.rejected::after {{ content: ""; position: absolute; inset: 3px; border-radius: 4px;
  background: linear-gradient(to top right, transparent calc(50% - 1.5px), #e03131 50%, transparent calc(50% + 1.5px)),
  rgba(224, 49, 49, 0.22); }}
.tile .score {{ position: absolute; left: 4px; bottom: 4px; padding: 0 4px; border-radius: 3px; font-size: 11px;
  line-height: 15px; color: #fff; background: rgba(0, 0, 0, 0.6); z-index: 1; }}
.tile .score:hover {{ background: #1c7ed6; }}
.tile .dot {{ position: absolute; right: 5px; top: 5px; width: 8px; height: 8px; border-radius: 50%; z-index: 1; }}
"""


class Gallery:
    """Picks of a session, page by page. on_show(row) brings one into the slice, on_change(rows) follows every word."""

    def __init__(
        self, session: Session, colors: Mapping[str, str], diameters_A: Mapping[str, float],
        on_show: Callable[[Row], None], on_change: Callable[[Sequence[Row]], None],
    ) -> None:  # fmt: skip
        self.session, self.colors, self.diameters_A = session, colors, diameters_A
        ui.context.client.on_delete(session.on_say(self._heed))  # in whichever tab it is said
        self.on_show, self.on_change = on_show, on_change
        self.rows: list[Row] = []
        self.only: str | None = None  # the tomogram shown, or all
        self.page = 0
        self.tiles: dict[Row, ui.element] = {}
        ui.add_css(STYLE)
        self._controls()
        self.grid = ui.element("div").style(
            f"display: grid; grid-template-columns: repeat({COLUMNS}, {TILE_PX}px); gap: 6px"
        )
        self.grid.mark("gallery")

    def _controls(self) -> None:
        with ui.row().classes("w-full items-center no-wrap").style("gap: 8px"):
            self.order = ui.select(dict(_ORDERS), value="best", on_change=self.reload).props(_SMALL).mark("order")
            self.which = ui.select(dict(_WHICH), value="shown", on_change=self.reload).props(_SMALL).mark("which")
            self.plane = ui.toggle(list(get_args(Plane)), value="xy", on_change=self._turn).props("dense no-caps")
            ui.space()
            self.back = ui.button(icon="chevron_left", on_click=lambda: self._go(-1)).props("flat dense round")
            self.where = ui.label().classes("text-caption").style("white-space: nowrap")
            self.forth = ui.button(icon="chevron_right", on_click=lambda: self._go(1)).props("flat dense round")
        with ui.row().classes("w-full items-center no-wrap").style("gap: 8px"):
            hint("A click")
            self.verb = ui.toggle({"reject": "rejects", "accept": "accepts"}, value="reject").props("dense no-caps")
            ui.space()
            verbs: tuple[tuple[Verb, str], ...] = (("reject", "close"), ("accept", "done"))
            for verb, icon in verbs:
                ui.button(f"{verb.capitalize()} this page", icon=icon, on_click=spoken(self._whole(verb))).props(
                    "outline dense no-caps"
                ).classes("q-px-sm")
            ui.button(icon="undo", on_click=spoken(self.take_back)).props("flat dense round").tooltip(
                "Take back the last word"
            ).mark("undo-review")

    async def reload(self) -> None:
        """Ask the session again what to show, from the first page on."""
        self.page = 0
        await self.refresh()

    async def refresh(self) -> None:
        """Ask the session again what to show, and stay at the page where that can be."""
        names = None if self.only is None else [self.only]
        order, which = cast(Order, self.order.value), cast(Which, self.which.value)
        self.rows = self.session.rows(order, which, names)
        self.page = min(self.page, max(0, math.ceil(len(self.rows) / PAGE) - 1))
        await self._turn()

    @property
    def shown(self) -> list[Row]:
        """The picks of this page."""
        return self.rows[self.page * PAGE : (self.page + 1) * PAGE]

    async def _turn(self) -> None:
        """Draw the page."""
        rows = self.shown
        plane = cast(Plane, self.plane.value)
        tiles = [self._tile(row) for row in rows]
        sheet = await run.io_bound(sprite_sheet, tiles, plane=plane, columns=COLUMNS, tile_px=TILE_PX)
        if sheet is None or rows != self.shown:  # the page was closed, or turned meanwhile
            return
        self.grid.style["--sheet"] = f"url({as_source(sheet, 'jpeg')})"
        self.grid.clear()
        self.tiles = {}
        with self.grid:
            for number, row in enumerate(rows):
                self._draw(number, row)
            if not rows:
                with ui.element("div").style("grid-column: 1 / -1"):
                    hint("No picks here. Lower the threshold, widen the filters, or choose other picks above.")
        self._tell_page()

    def _tell_page(self) -> None:
        """Which of how many are drawn."""
        first, count = self.page * PAGE, len(self.rows)
        self.where.text = f"{first + 1}–{first + len(self.shown)} of {count}" if self.shown else "none"
        self.back.set_enabled(self.page > 0)
        self.forth.set_enabled(first + PAGE < count)

    def _tile(self, row: Row) -> Tile:
        name, number = row
        tomogram, picks = self.session.tomograms[name], self.session.reviews[name].picks
        diameter_A = self.diameters_A.get(str(picks.classes[number]), max(self.diameters_A.values(), default=200.0))
        return Tile(tomogram, picks.positions[number], box_vx(diameter_A, tomogram.spacing_A))

    def _draw(self, number: int, row: Row) -> None:
        x, y = -(number % COLUMNS) * TILE_PX, -(number // COLUMNS) * TILE_PX
        picks = self.session.reviews[row[0]].picks
        score = "" if picks.scores is None else f"{picks.scores[row[1]]:.2f}"
        with ui.element("div").classes("tile").style(f"background-position: {x}px {y}px") as tile:
            ui.label(score or "show").classes("score").on("click.stop", lambda: self.on_show(row)).tooltip(
                f"{picks.classes[row[1]]} in {row[0]}: show it in the slice"
            )
            color = self.colors.get(str(picks.classes[row[1]]), "#888888")
            ui.element("div").classes("dot").style(f"background: {color}")
        tile.on("click", spoken(lambda: self._click(row)))
        self.tiles[row] = tile
        self._mark(row)

    def _mark(self, row: Row) -> None:
        review = self.session.reviews[row[0]]
        accepted, rejected = bool(review.accepted[row[1]]), bool(review.rejected[row[1]])
        self.tiles[row].classes(
            remove="accepted rejected", add="accepted" if accepted else "rejected" if rejected else ""
        )

    def _click(self, row: Row) -> None:
        review = self.session.reviews[row[0]]
        said = review.rejected if self.verb.value == "reject" else review.accepted
        if said[row[1]]:
            self.session.forget([row])
        else:
            self._word(cast(Verb, self.verb.value))([row])

    def _word(self, verb: Verb) -> Callable[[Sequence[Row]], None]:
        return self.session.reject if verb == "reject" else self.session.accept

    def _whole(self, verb: Verb) -> Callable[[], None]:
        return lambda: self._word(verb)(self.shown)

    def take_back(self) -> None:
        """Undo the last word."""
        if not self.session.undo():
            ui.notify("nothing to take back")

    def _heed(self, rows: Sequence[Row]) -> None:
        for row in self.tiles.keys() & set(rows):
            self._mark(row)
        self.on_change(rows)

    async def ask_least_sure(self) -> None:
        """Show what was not reviewed yet, the least sure first."""
        self.order.value, self.which.value = "least sure", "not reviewed"
        await self.reload()

    async def _go(self, by: int) -> None:
        self.page += by
        await self._turn()


_SMALL: Final = "outlined dense options-dense"
