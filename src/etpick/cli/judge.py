"""`etpick evaluate` and `etpick info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FILE, FOLDER, diameter_option, overwrite_option, spacing_option


@click.command()
@click.argument("picks", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@click.option("--model", type=FOLDER, help="for the classes' diameters")
@diameter_option
@click.option("--json", "json_path", type=FILE, help="write the scores here")
@click.option("--rule", type=click.Choice(["radius", "shrec", "czii"]), default="radius", show_default=True,
              help="radius: within half the diameter, one-to-one; shrec: on the occupancy volume; "
              "czii: F-beta 4 within half the radius")  # fmt: skip
@click.option("--occupancy", type=FILE, help="occupancy volume (.npz or .mrc), for --rule shrec")
@spacing_option
@overwrite_option
def evaluate(picks: Path, truth: Path, json_path: Path | None, overwrite: bool, **options: Any) -> None:
    """Score picks against the truth.

    PICKS and TRUTH are two pick files, or two folders with files of the same names.
    """
    from etpick.io.atomic import atomic_write
    from etpick.judging import judge

    options["diameters_A"] = options.pop("diameters")
    judged = judge(picks, truth, **options)
    click.echo("\n".join(judged.lines()))
    if json_path:
        with atomic_write(json_path, overwrite=overwrite) as temporary:
            temporary.write_text(json.dumps(judged.to_dict(), indent=1) + "\n", encoding="utf-8")
        click.echo(f"written to {json_path}")


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@spacing_option
def info(paths: tuple[Path, ...], spacing_A: float | None) -> None:
    """Tell what is in files, and what looks wrong.

    Tomograms with the picks named or beside them, pick files, project files, model folders.
    """
    from etpick import api

    click.echo("\n".join(api.info(paths, spacing_A=spacing_A)))
