"""Small pieces that several pages share."""

from __future__ import annotations

import base64
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import ui

from etpick.errors import EtpickError
from etpick.jobs import Status

STATE_COLORS = {
    "waiting": "grey-7", "running": "primary", "stopping": "warning", "stopped": "warning", "done": "positive",
    "failed": "negative",
}  # fmt: skip


def trouble(error: Exception | str) -> None:
    """Say what went wrong, until somebody closes it."""
    ui.notify(str(error), type="negative", position="top", timeout=0, close_button="Close", multi_line=True)


def spoken(action: Callable[..., Any]) -> Callable[..., Any]:
    """An event handler whose EtpickErrors are said instead of logged."""
    if inspect.iscoroutinefunction(action):

        @functools.wraps(action)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            try:
                return await action(*args, **kwargs)
            except EtpickError as error:
                trouble(error)

        return asynchronous

    @functools.wraps(action)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return action(*args, **kwargs)
        except EtpickError as error:
            trouble(error)

    return wrapped


def section(title: str, text: str = "") -> None:
    """A heading with a sentence under it."""
    ui.label(title).classes("text-subtitle1 text-weight-medium")
    if text:
        hint(text)


def hint(text: str) -> ui.label:
    """A sentence of explanation."""
    return ui.label(text).classes("text-caption text-grey-7 leading-snug")


def empty(text: str, *, link: str = "", target: str = "") -> None:
    """What to do where there is nothing yet."""
    with ui.column().classes("w-full items-center q-pa-xl gap-3"):
        ui.label(text).classes("text-body1 text-grey-7 text-center").style("max-width: 34rem")
        if link:
            ui.button(link, on_click=lambda: ui.navigate.to(target)).props("outline no-caps")


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


def picture_of(path: Path) -> str:
    """A PNG file as an address that carries it; "" where there is none."""
    try:
        return as_source(path.read_bytes(), "png")
    except OSError:
        return ""


def ended_well(status: Status) -> bool:
    """Whether a job's sentence is good news."""
    return status.state in ("done", "stopped", "waiting", "running", "stopping")
