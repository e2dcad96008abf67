"""The server: guard, slices and pages put together, and run until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from etpick.errors import EtpickError
from etpick.serve.access import Access, Guard, Roots
from etpick.serve.slices import Slices
from etpick.serve.workspace import Workspace

PAGE_MODULES: Final = ("project", "annotate", "train", "pick", "curate", "export")
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
    from fastapi import FastAPI
    from nicegui import ui

    workspace = Workspace(Roots(roots))
    if project is not None:
        workspace.open(project)
    _refuse_taken(host, port)
    access = Access(host, port, on_new=on_url)
    slices = Slices(workspace)
    for name in PAGE_MODULES:
        import_module(f"etpick.serve.pages.{name}").register(workspace, slices)

    pages, pictures = (FastAPI(openapi_url=None) for _ in range(2))
    ui.run_with(pages, title="etpick", storage_secret=secrets.token_hex(), reconnect_timeout=30)
    pictures.include_router(slices.router())
    guarded = Guard(pages, access, {"/slices/": pictures, "/thumbnails/": pictures})
    _run(guarded, access, open_browser)


def _run(application: Guard, access: Access, open_browser: bool) -> None:
    """Listen until Ctrl-C; the link is told when it can be opened."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            access.on_new(access.url)
            if open_browser:
                webbrowser.open(access.url)

    config = uvicorn.Config(
        application, host=access.host, port=access.port, log_level="warning", timeout_graceful_shutdown=3
    )
    Server(config).run()


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
