"""What all pages share: the head with its navigation, the style, and how an error becomes a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nicegui import ui

from etpick.errors import EtpickError
from etpick.serve.workspace import Workspace

PAGES: dict[str, str] = {}
"""Address → title of the pages in the head, in the order of the work; each page module enters its own."""

_STYLE: Final = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


@contextmanager
def frame(workspace: Workspace, title: str) -> Iterator[None]:
    """The page around its content."""
    ui.add_css(_STYLE)
    ui.page_title(f"{title} – etpick")
    ui.colors(primary="#1f6f8b", secondary="#43525f", accent="#d9480f", positive="#1f8a5b", negative="#b3261e")
    with ui.header().classes("etpick-head"):
        ui.link("etpick", "/").classes("etpick-brand")
        for address, name in PAGES.items():
            here = " etpick-here" if name == title else ""
            ui.link(name, address).classes(f"etpick-nav{here}")
        ui.space()
        if workspace.path:
            ui.label(str(workspace.path)).classes("etpick-project")
    with ui.column().classes("etpick-body"):
        yield


@contextmanager
def told() -> Iterator[None]:
    """Errors that people can mend become a notice; others go their way to the log."""
    try:
        yield
    except EtpickError as error:
        ui.notify(str(error), type="negative", multi_line=True, timeout=12000, close_button="Close")


def is_open(workspace: Workspace) -> bool:
    """Whether a project is open; says how to open one where none is."""
    if workspace.path is None:
        nothing_here("No project is open.", "Open or make a project", lambda: ui.navigate.to("/"))
    return workspace.path is not None


def to_pick_first(purpose: str) -> None:
    """An empty state: nothing was picked that could serve a purpose."""
    sentence = f"Nothing was picked yet: pick some tomograms, then {purpose} here."
    nothing_here(sentence, "Pick", lambda: ui.navigate.to("/pick"))


def nothing_here(sentence: str, action: str = "", on_click: Callable[[], object] | None = None) -> None:
    """An empty state: what is missing, and what to do next."""
    with ui.column().classes("etpick-empty"):
        ui.label(sentence)
        if action:
            ui.button(action, on_click=on_click)
