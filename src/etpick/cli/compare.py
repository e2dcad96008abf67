"""`etpick compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FILE, FOLDER, diameter_option, overwrite_option, spacing_option


@click.command()
@click.argument("sets", nargs=-1, required=True, type=FILE)
@click.option("--name", "names", multiple=True, metavar="NAME", help="of each set in turn; from the paths if not given")
@click.option("--reference", metavar="NAME", help="the set to score the others against, for example manual picks")
@click.option("--model", type=FOLDER, help="for the classes' diameters")
@diameter_option
@click.option("--tomograms", type=FILE, multiple=True, help="files or folders with the tomograms, for pictures")
@click.option("--out", type=FOLDER, help="folder for the picks of each part, compare.json and compare.html")
@spacing_option
@overwrite_option
def compare(
    sets: tuple[Path, ...], tomograms: tuple[Path, ...], out: Path | None, overwrite: bool, **options: Any
) -> None:
    """Compare sets of picks, none of them the truth.

    SETS are two or more pick files, or folders with a file for each tomogram. Picks within half a diameter of each
    other are at one place. With --out, what all share, what some share and what each has alone are written as pick
    files ready for averaging, with a report.
    """
    from etpick.api import write_comparison
    from etpick.comparing import compare as compare_sets

    options["diameters_A"] = options.pop("diameters")
    compared = compare_sets(sets, **options)
    click.echo("\n".join(compared.lines()))
    if out:
        report = write_comparison(compared, out, tomograms, overwrite=overwrite)
        click.echo(f"picks of each part are in {out}, the report is {report}")
