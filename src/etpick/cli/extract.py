"""`etpick extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FOLDER, from_config, overwrite_option, read_box, spacing_option
from etpick.cli.progress import progress_bars
from etpick.config import ExtractionConfig


@click.command()
@click.argument("picks", type=click.Path(path_type=Path))
@click.argument("tomograms", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=FOLDER, default=Path("extracted"), show_default=True, help="folder for what is written")
@click.option("--box", required=True, callback=read_box, metavar="N|NA", help="edge of a box: 64 voxels, or 640A for Å")
@click.option("--format", "formats", multiple=True, type=click.Choice(["relion", "stack", "zarr"]),
              default=["relion"], show_default=True,
              help="relion: STAR, an MRC each, a wedge per tomogram; stack: one MRC; may be repeated")  # fmt: skip
@click.option("--class", "classes", multiple=True, metavar="NAME", help="only this class; may be repeated")
@from_config(ExtractionConfig, "edge", "contrast")
@click.option("--raw", is_flag=True, help="leave grey levels as they are, instead of background at mean 0 and σ 1")
@from_config(ExtractionConfig, "background_A")
@click.option("--tilts", metavar="LOW,HIGH,STEP|FILE|FOLDER", help="tilt angles in degrees, a .tlt file, or a folder "
              "with one of each tomogram's name  [default: -60,60,3]")  # fmt: skip
@from_config(ExtractionConfig, "tilt_axis", "defocus_um")
@click.option("--phase-flipped", is_flag=True, help=ExtractionConfig.model_fields["phase_flipped"].description)
@from_config(ExtractionConfig, "voltage_kV", "spherical_aberration_mm", "amplitude_contrast", "gallery")
@click.option("--project", type=FOLDER, help="RELION's project folder, from which paths in the STAR file count  "
              "[default: OUT]")  # fmt: skip
@click.option("--picks-spacing", "picks_spacing_A", type=float, help="Å per voxel of the tomogram that was picked, "
              "where the pick file does not say it and TOMOGRAMS have another; refused for positions in Å "
              "(RELION 5, copick)")  # fmt: skip
@spacing_option
@click.option("--resume", is_flag=True, help="go on with an extraction that was stopped")
@overwrite_option
def extract(
    picks: Path, tomograms: tuple[Path, ...], out: Path, box: dict[str, Any], raw: bool, **options: Any
) -> None:
    """Cut subtomograms around picks.

    PICKS is a pick file, or a folder with one of each tomogram's name; TOMOGRAMS are files or folders, of the
    picked or of another binning. OUT/gallery.html shows what was cut, best first.
    """
    from etpick.extraction import extract as run

    with progress_bars() as bars:
        done = run(picks, tomograms, out, on_progress=bars.stage("subtomograms"), normalise=not raw, **box, **options)
    click.echo("\n".join([f"note: {note}" for note in done.notes]))
    click.echo(f"{done.count} subtomograms: {', '.join(map(str, done.files))}")
