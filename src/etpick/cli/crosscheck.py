"""`etpick crosscheck`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FOLDER, from_config, overwrite_option
from etpick.cli.progress import StopFlag, progress_bars
from etpick.config import PickingConfig, TrainingConfig


@click.command()
@click.argument("project", type=click.Path(path_type=Path))
@click.option("--out", type=FOLDER, default=Path("crosscheck"), show_default=True, help="folder for what is written")
@click.option("--hide", type=float, default=0.2, show_default=True, help="share of the labels to hide and look for")
@click.option("--halves/--no-halves", default=True, show_default=True,
              help="train two models on half of the labels each, too")  # fmt: skip
@click.option("--network", type=click.Choice(["fast", "paper"]), default="fast", show_default=True)
@from_config(TrainingConfig, "max_minutes", "steps", "seed", "spacing_A")
@from_config(PickingConfig, "device")
@click.option("--resume", is_flag=True, help="go on with a crosscheck that was stopped")
@overwrite_option
def crosscheck(project: Path, out: Path, **options: Any) -> None:
    """How far can the picks be trusted, without picks from anyone else?

    Trains one model with some labels hidden and counts how many of them it finds, trains two models on half of the
    labels each and counts how often they agree, and looks whether the picks lie as particles can. Three trainings:
    --max-minutes and --steps are of each. OUT/crosscheck.html shows what was found.
    """
    from etpick.api import write_crosscheck

    options["device"] = options["device"] or "auto"
    given = {name: value for name, value in options.items() if value is not None}
    stop = StopFlag()
    with progress_bars() as bars:
        found, report = write_crosscheck(project, out, on_stage=bars.training, should_stop=stop, **given)
    click.echo("\n".join(found.lines()))
    click.echo(f"the report is {report}")
