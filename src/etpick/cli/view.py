"""`etpick view`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FILE, FOLDER, diameter_option, overwrite_option, spacing_option


@click.command()
@click.argument("tomogram", type=FILE)
@click.argument("picks", nargs=-1, type=FILE)
@click.option("--with", "viewer", type=click.Choice(["napari", "chimerax", "artiax", "3dmod"]),
              help="the program  [default: the first installed of napari, chimerax, 3dmod]")  # fmt: skip
@click.option("--print", "--dry-run", "only_print", is_flag=True,
              help="write the files, show the command, and start nothing")  # fmt: skip
@diameter_option
@click.option("--model", type=FOLDER, help="for the classes' diameters and colours  [default: the project file or "
              "model near PICKS]")  # fmt: skip
@click.option("--out", type=FOLDER, help="folder for the files that are written  [default: a new temporary one]")
@spacing_option
@overwrite_option
def view(tomogram: Path, picks: tuple[Path, ...], only_print: bool, **options: Any) -> None:
    """Look at a tomogram and its picks in napari, ChimeraX, ArtiaX or 3dmod.

    Picks are spheres in the colours of their classes, as wide as the particles. For ChimeraX and ArtiaX a script is
    written (.cxc, and for ArtiaX motive lists), for 3dmod a model; napari shows etpick's own plugin.
    """
    from etpick.desktop.view import launch, prepare

    viewing = prepare(tomogram, picks, diameters_A=options.pop("diameters"), **options)
    click.echo("\n".join(viewing.lines()))
    if not only_print:
        launch(viewing)
