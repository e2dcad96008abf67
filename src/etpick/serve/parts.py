"""Small pieces that several pages share."""

from __future__ import annotations

import base64
import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from nicegui import ui

from etpick.serve.frame import told

STATE_COLORS: Final[Mapping[str, str]] = MappingProxyType({
    "waiting": "grey-7", "running": "primary", "stopping": "warning", "stopped": "warning", "done": "positive",
    "failed": "negative",
})  # fmt: skip
FIELD: Final = "outlined dense options-dense"
TABLE: Final = 'dense flat hide-pagination hide-selected-banner :rows-per-page-options="[0]"'


def spoken(action: Callable[..., Any]) -> Callable[..., Any]:
    """An event handler whose EtpickErrors are told on the page."""
    if inspect.iscoroutinefunction(action):

        @functools.wraps(action)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            with told():
                return await action(*args, **kwargs)

        return asynchronous

    @functools.wraps(action)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with told():
            return action(*args, **kwargs)

    return wrapped


def title(text: str) -> ui.label:
    """A heading."""
    return ui.label(text).classes("etpick-title")


def hint(text: str) -> ui.label:
    """A sentence of explanation."""
    return ui.label(text).classes("etpick-hint")


def card() -> ui.column:
    """A white box with a border."""
    return ui.column().classes("etpick-card w-full")


def state_chip(state: str) -> ui.badge:
    """The state of a job, in its colour."""
    return ui.badge(state, color=STATE_COLORS[state]).classes("q-pa-xs")


def minutes(value: float | None) -> str:
    """`2 h 05 min`, `3 min`, `20 s`; "" where not known."""
    if value is None:
        return ""
    if value < 1:
        return f"{max(1, round(60 * value))} s"
    return f"{round(value)} min" if value < 60 else f"{int(value // 60)} h {int(value % 60):02d} min"


def as_source(content: bytes, kind: str) -> str:
    """A picture as an address that carries it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
