"""`etpick evaluate`, `etpick info` and `etpick check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FILE, FOLDER, diameter_option, overwrite_option, spacing_option


@click.command()
@click.argument("picks", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@click.option("--model", type=FOLDER, help="for the classes' diameters")
@diameter_option
@click.option("--report", type=FILE, help="write a page here: tables, curves, slices, the worst mistakes; "
              "needs --tomograms")  # fmt: skip
@click.option("--tomograms", type=FILE, multiple=True, help="files or folders with the tomograms, for the report")
@click.option("--json", "json_path", type=FILE, help="write the scores here")
@click.option("--csv", "csv_path", type=FILE, help="write a table here: a row for each tomogram and class")
@click.option("--rule", type=click.Choice(["radius", "shrec", "czii"]), default="radius", show_default=True,
              help="radius: within half the diameter, one-to-one; shrec: on the occupancy volume; "
              "czii: F-beta 4 within half the radius")  # fmt: skip
@click.option("--occupancy", type=FILE, help="occupancy volume (.npz or .mrc), for --rule shrec")
@spacing_option
@overwrite_option
def evaluate(
    picks: Path, truth: Path, json_path: Path | None, csv_path: Path | None, report: Path | None,
    tomograms: tuple[Path, ...], overwrite: bool, **options: Any,
) -> None:  # fmt: skip
    """Score picks against the truth.

    PICKS and TRUTH are two pick files, or two folders with files of the same names. In the table P is the share of
    picks that are right, R that of particles found, F1 both in one; AD/vx how far right picks are from the truth on
    average, in voxels; AP the average precision over all scores. Localisation is whatever the class.
    """
    from etpick.api import write_evaluation
    from etpick.judging import judge

    options["diameters_A"] = options.pop("diameters")
    judged = judge(picks, truth, **options)
    click.echo("\n".join(judged.lines()))
    for path in write_evaluation(
        judged, json_path=json_path, csv_path=csv_path, report=report, tomograms=tomograms, overwrite=overwrite
    ):
        click.echo(f"written to {path}")


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@spacing_option
def info(paths: tuple[Path, ...], spacing_A: float | None) -> None:
    """Tell what is in files, and what looks wrong.

    Tomograms with the picks named or beside them, pick files, folders of either, project files, model folders.
    """
    from etpick.overview import info as told

    click.echo("\n".join(told(paths, spacing_A=spacing_A)))


@click.command()
@click.argument("tomogram", type=FILE)
@click.argument("picks", type=FILE)
@click.option("--binning", type=float, default=1.0, show_default=True, help="voxels of the picks that make one of the "
              "tomogram along an axis")  # fmt: skip
@click.option("--model", type=FOLDER, help="for the classes' diameters")
@diameter_option
@spacing_option
def check(
    tomogram: Path, picks: Path, binning: float, model: Path | None, diameters: dict[str, float],
    spacing_A: float | None,
) -> None:  # fmt: skip
    """Are the picks where the particles are?

    Compares the density at the picks with that at random places, as they are and with swapped axes, flipped axes and
    other binnings undone, and names the likely mistake, which `etpick convert` mends. The table says how much brighter
    (+) or darker (−) than their surroundings the picks are, in σ of random places with its 95 % interval, and how many
    standard errors that is: it is largest where they lie right, and clear from 5 on.

    With --diameter or --model also whether they lie as particles can: how many are closer than a diameter to another,
    and how many lie in each tenth of the height.
    """
    from etpick.checkpoint import load_model
    from etpick.inspection import placement_of, plausibility_of
    from etpick.io.picks import read_picks
    from etpick.io.tomograms import open_tomogram
    from etpick.judging import classes_of

    opened = open_tomogram(tomogram, spacing_A=spacing_A)
    read = read_picks(picks, tomogram=opened, binning=binning)
    click.echo("\n".join(placement_of(opened, read).lines()))
    if diameters or model:
        known = {c.name: c.diameter_A for c in classes_of(diameters, load_model(model) if model else None)}
        click.echo("\n".join(plausibility_of(opened, read, known)))
