"""`etpick init` and `etpick train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import (
    FILE,
    FOLDER,
    copick_tomograms_option,
    diameter_option,
    from_config,
    overwrite_option,
    spacing_option,
)
from etpick.cli.progress import StopFlag, progress_bars
from etpick.config import PickingConfig, TrainingConfig


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@diameter_option
@click.option("--out", type=FILE, default=Path("project.toml"), show_default=True, help="the project file to write")
@click.option(
    "--validate", multiple=True, metavar="NAME", help="tomograms that choose the model; the last if not given"
)
@click.option("--partial", is_flag=True, help="some particles in the tomograms were left unmarked")
@click.option("--binning", type=click.FloatRange(min=0, min_open=True),
              help="voxels of the pick files that make one of the tomograms, where the files do not tell")  # fmt: skip
@copick_tomograms_option
@click.option("--copick-picks", metavar="USER/SESSION",
              help="whose picks of a copick project, * for any; all but etpick's own if not given")  # fmt: skip
@spacing_option
@overwrite_option
def init(sources: tuple[Path, ...], partial: bool, validate: tuple[str, ...], **options: Any) -> None:
    """Write a project file to train from.

    Takes the tomograms in SOURCES, files or folders, and the pick files beside them by name. A source may be the
    configuration of a copick project, which also tells the diameters.
    """
    from etpick.io.init import init_project

    project = init_project(
        sources, labels="partial" if partial else "complete", validate=list(validate) or None, **options
    )
    click.echo("\n".join(project.lines()))
    click.echo(f"next: etpick info {project.path}, then etpick train {project.path} --out model")


@click.command()
@click.argument("project", type=click.Path(path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="folder for the model")
@click.option("--network", type=click.Choice(["fast", "paper"]), default=None,
              help="fast: half-resolution output; paper: the published 3D-ResUNet  [default: fast]")  # fmt: skip
@from_config(TrainingConfig, "max_minutes", "steps", "seed", "spacing_A", "patch_vx", "batch", "learning_rate",
              "label_diameter_vx", "label_fraction")  # fmt: skip
@click.option("--label-shape", type=click.Choice(["cubic", "ball", "truncated-ball"]), default=None,
              help="[default: fast ball, paper truncated-ball]")  # fmt: skip
@click.option("--proportional-labels", "label_proportional", is_flag=True, default=None,
              help="labels of --label-fraction of their particles, however wide")  # fmt: skip
@from_config(TrainingConfig, "validations", "alpha")
@from_config(PickingConfig, "device")
@click.option("--int8/--no-int8", default=None, help=TrainingConfig.model_fields["int8"].description)
@click.option("--averages/--no-averages", default=None, help=TrainingConfig.model_fields["averages"].description)
@click.option("--resume", is_flag=True, help="go on where a stopped training was, with the options it had")
@overwrite_option
def train(project: Path, **options: Any) -> None:
    """Train on a project file. Ctrl-C stops and keeps the state; --resume goes on."""
    from etpick import api

    options["device"] = options["device"] or "auto"
    stop = StopFlag()
    with progress_bars() as bars:
        model = api.train(project, on_progress=bars.training(), should_stop=stop, **options)
    place = model.validation["localisation"]
    click.echo(f"model in {options['out']}: {_score_line(place)} on validation")
    each = model.validation["classification"]
    for c, threshold in zip(model.classes, model.second_decision.thresholds, strict=True):
        said = _class_line(each[c.name]) if c.name in each and len(each) > 1 else ""
        click.echo(f"  {c.name}: picks from score {threshold:.2f}{said}")
    click.echo(f"next: etpick pick {options['out']} TOMOGRAMS --out picks --report")


def _class_line(score: dict[str, Any]) -> str:
    """How well one class is found as what it is; most is lost by taking one class for another."""
    marked = score["tp"] + score["fn"]
    if not marked:
        return ", none marked in validation"
    return f", {score['tp']} of {marked} found as what they are, {score['fp']} wrong"


def _score_line(score: dict[str, Any]) -> str:
    def show(value: float | None, digits: int = 3) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    return (
        f"F1 {show(score['f1'])} (precision {show(score['precision'])}, recall {show(score['recall'])}, "
        f"distance {show(score['mean_distance_vx'], 2)} voxels)"
    )
