"""`etpick serve`."""

from __future__ import annotations

from pathlib import Path

import click

from etpick.cli.options import FILE
from etpick.errors import EtpickError


@click.command()
@click.argument("project", required=False, type=FILE)
@click.option(
    "--root", "roots", multiple=True, type=click.Path(path_type=Path), metavar="FOLDER",
    help="may be read and written; once for each folder  [default: the project's folder, or this one]",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--port", default=8461, show_default=True, type=click.IntRange(1, 65535))
@click.option("--open/--no-open", "open_browser", default=False, help="open a browser on this machine")
def serve(project: Path | None, roots: tuple[Path, ...], host: str, port: int, open_browser: bool) -> None:
    """Annotate, train, pick and curate in the browser.

    Runs where the tomograms are. From a laptop: ssh -L 8461:127.0.0.1:8461 SERVER, run it there, and open the link
    that it prints. The link lets one browser in; after that it prints another. Ctrl-C ends it; trainings go on.
    """
    from importlib.util import find_spec

    if find_spec("nicegui") is None:
        raise EtpickError("the browser interface is not installed: pip install 'etpick[serve]'")
    from etpick.serve.app import serve as run

    folders = roots or ((project.resolve().parent if project else Path.cwd()),)
    click.echo(f"etpick serves {', '.join(str(f.resolve()) for f in folders)}; Ctrl-C ends it")
    try:
        run(
            project,
            folders,
            host=host,
            port=port,
            on_url=lambda url: click.echo(f"open {url}"),
            open_browser=open_browser,
        )
    except KeyboardInterrupt:
        click.echo("stopped")
