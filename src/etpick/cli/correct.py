"""`etpick correct`."""

from __future__ import annotations

from pathlib import Path

import click

from etpick.cli.options import FILE, FOLDER


@click.command()
@click.argument("project", type=click.Path(path_type=Path))
@click.argument("picked", required=False, type=FOLDER)
@click.option("--tomograms", type=FILE, multiple=True, help="files or folders with tomograms that the project does "
              "not list yet")  # fmt: skip
@click.option("--partial", is_flag=True, help="declare the project's labels partial: some particles are not marked")
@click.option("--undo", is_flag=True, help="put the project's files back as they were before the last correction")
def correct(project: Path, picked: Path | None, tomograms: tuple[Path, ...], partial: bool, undo: bool) -> None:
    """Correct a project's labels by what was said of picks, to train again.

    PICKED is a folder that `etpick pick` wrote, with reviewed/NAME.csv in it: picks with their class where they are
    right and with class not-a-particle where they are wrong. `etpick serve` writes these files as you accept and
    reject; any program can. What is labelled already is not added again.
    """
    from etpick import api

    if undo:
        undone = api.undo_correction(project)
        click.echo(f"undone: {undone.what}")
        return
    if picked is None:
        raise click.UsageError("name the folder of picks, or --undo")
    click.echo("\n".join(api.correct(project, picked, tomograms=tomograms, partial=partial).lines()))
