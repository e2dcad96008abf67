"""The server: guard, slices and pages put together, and run until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from etpick.errors import EtpickError
from etpick.serve.access import Access, Guard, Roots
from etpick.serve.slices import Slices
from etpick.serve.workspace import Workspace

PAGE_MODULES: Final = ("project", "annotate")
"""Modules of etpick.serve.pages, in the order of the work; each has `register(workspace, slices)`."""


def serve(
    project: Path | None,
    roots: Sequence[Path],
    *,
    host: str,
    port: int,
    on_url: Callable[[str], None],
    open_browser: bool = False,
) -> None:
    """Serve the interface until it is stopped. `on_url` is told the link that lets a browser in, and each new one.

    Raises EtpickError where the project cannot be opened or the port is taken.
    """
    import uvicorn
    from fastapi import FastAPI
    from nicegui import app, ui

    workspace = Workspace(Roots(roots))
    if project is not None:
        workspace.open(project)
    _refuse_taken(host, port)
    access = Access(host, port, on_used=on_url)
    slices = Slices(workspace)
    for name in PAGE_MODULES:
        import_module(f"etpick.serve.pages.{name}").register(workspace, slices)

    def ready() -> None:
        on_url(access.url)
        if open_browser:
            import webbrowser

            webbrowser.open(access.url)

    app.on_startup(ready)
    pages, pictures = (FastAPI(openapi_url=None) for _ in range(2))
    ui.run_with(pages, title="etpick", storage_secret=secrets.token_hex(), reconnect_timeout=30)
    pictures.include_router(slices.router())
    guarded = Guard(pages, access, {"/slices/": pictures, "/thumbnails/": pictures})
    uvicorn.run(guarded, host=host, port=port, log_level="warning", timeout_graceful_shutdown=3)


def _refuse_taken(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EtpickError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port"
            ) from error
