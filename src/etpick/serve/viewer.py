"""The slice viewer as an element of a page; its other half is viewer.js."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from nicegui import ui
from nicegui.element import Element
from nicegui.events import GenericEventArguments

from etpick.serve.display import Display
from etpick.types import NEGATIVE, ParticleClass, Tomogram

NEGATIVE_COLOR: Final = "#d0d4da"
NEGATIVE_DIAMETER_A: Final = 200.0  # of the circle that marks a place without a particle, where there are no classes


@dataclass(frozen=True)
class Mark:
    """A circle: what it stands for, where (zyx voxels), how large, in which colour; dashed where it is no particle."""

    key: int
    position: tuple[float, float, float]
    radius_vx: float
    color: str
    score: float | None = None
    negative: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As viewer.js takes it."""
        z, y, x = self.position
        return {
            "id": self.key, "z": z, "y": y, "x": x, "radius": self.radius_vx, "color": self.color,
            "score": self.score, "negative": self.negative,
        }  # fmt: skip


class Viewer(Element, component="viewer.js"):
    """Slices of one tomogram with marks.

    `placing`: a click on nothing asks for a pick there, and marks can be dragged. The handlers get voxels (z, y, x)
    or the key of a mark; `on_key` the name of a key and whether it was pressed with Control and with Shift.
    """

    def __init__(
        self,
        key: str,
        tomogram: Tomogram,
        display: Display | None = None,
        *,
        placing: bool = False,
        on_place: Callable[[tuple[float, float, float]], None] | None = None,
        on_select: Callable[[int], None] | None = None,
        on_move: Callable[[int, tuple[float, float, float]], None] | None = None,
        on_key: Callable[[str, bool, bool], None] | None = None,
        on_position: Callable[[tuple[float, float, float]], None] | None = None,
    ) -> None:
        super().__init__()
        self._props["tomogram"] = key
        self._props["shape"] = list(tomogram.shape)
        self._props["spacing"] = tomogram.spacing_A
        self._props["placing"] = placing
        self._props["display"] = _query(display or Display())
        self._marks: list[Mark] = []
        self._min_score = -1.0
        self.on("ready", self._send)
        self.on("trouble", lambda e: ui.notify(e.args["message"], type="negative"))
        if on_place:
            self.on("place", lambda e: on_place(_point(e)))
        if on_select:
            self.on("select", lambda e: on_select(int(e.args["id"])))
        if on_move:
            self.on("move", lambda e: on_move(int(e.args["id"]), _point(e)))
        if on_key:
            self.on("key", lambda e: on_key(e.args["key"], e.args["ctrl"], e.args["shift"]))
        if on_position:
            self.on("position", lambda e: on_position(_point(e)))

    def show(self, display: Display) -> None:
        """Show slices otherwise."""
        self._props["display"] = _query(display)
        self.update()

    def set_marks(self, marks: Iterable[Mark]) -> None:
        """Put marks in place of those there are."""
        self._marks = list(marks)
        self.run_method("setMarks", [mark.to_dict() for mark in self._marks])

    def change_marks(self, changed: Sequence[Mark], gone: Sequence[int]) -> None:
        """Add, change and remove some."""
        there = {mark.key: mark for mark in self._marks} | {mark.key: mark for mark in changed}
        self._marks = [mark for key, mark in there.items() if key not in set(gone)]
        self.run_method("changeMarks", [mark.to_dict() for mark in changed], list(gone))

    def set_min_score(self, score: float) -> None:
        """Hide marks with a lower score."""
        self._min_score = score
        self.run_method("setMinScore", score)

    def select(self, key: int | None) -> None:
        """Draw one mark as selected."""
        self.run_method("select", key)

    def go_to(self, position: Sequence[float]) -> None:
        """Move the crosshair to a place zyx."""
        self.run_method("goTo", *(float(p) for p in position))

    def _send(self) -> None:
        """What a browser that has just come needs."""
        self.run_method("setMinScore", self._min_score)
        self.run_method("setMarks", [mark.to_dict() for mark in self._marks])


def colors_and_diameters(classes: Sequence[ParticleClass]) -> dict[str, tuple[str, float]]:
    """Colour and diameter in Å of each class, and of places without a particle: as large as the smallest class."""
    least = min((c.diameter_A for c in classes), default=NEGATIVE_DIAMETER_A)
    return {c.name: (c.color, c.diameter_A) for c in classes} | {NEGATIVE: (NEGATIVE_COLOR, least)}


def _point(event: GenericEventArguments) -> tuple[float, float, float]:
    return float(event.args["z"]), float(event.args["y"]), float(event.args["x"])


def _query(display: Display) -> str:
    values = {
        "black": display.black, "white": display.white, "slab": display.slab, "sigma": display.sigma_vx,
        "lowpass": display.lowpass_A, "equalise": display.equalise, "invert": display.invert,
    }  # fmt: skip
    return urlencode({name: f"{value:g}" if isinstance(value, float) else value for name, value in values.items()})
