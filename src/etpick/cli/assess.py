"""`etpick assess`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FILE, FOLDER, diameter_option, from_config, overwrite_option, read_box, spacing_option
from etpick.cli.progress import progress_bars
from etpick.config import AssessmentConfig, ExtractionConfig


@click.command()
@click.argument("sets", nargs=-1, required=True, type=FILE)
@click.option("--tomograms", type=FILE, multiple=True, required=True, help="files or folders with the tomograms")
@click.option("--out", type=FOLDER, default=Path("assessed"), show_default=True, help="folder for what is written")
@click.option("--name", "names", multiple=True, metavar="NAME", help="of each set in turn; from the paths if not given")
@click.option("--class", "class_name", metavar="NAME", help="the class to average, where there are several")
@click.option("--model", type=FOLDER, help="for the classes' diameters")
@diameter_option
@click.option("--box", callback=read_box, metavar="N|NA", help="edge of the subtomograms: 64 voxels, or 640A for Å  "
              "[default: 1.6 diameters]")  # fmt: skip
@from_config(AssessmentConfig, "by", "reach_A", "particles", "seed")
@click.option("--differences/--no-differences", default=True, show_default=True,
              help="what all sets share and what each has alone as sets of their own")  # fmt: skip
@click.option("--tilts", metavar="LOW,HIGH,STEP|FILE|FOLDER", help="tilt angles in degrees, a .tlt file, or a folder "
              "with one of each tomogram's name  [default: -60,60,3]")  # fmt: skip
@from_config(ExtractionConfig, "tilt_axis", "defocus_um")
@click.option(
    "--phase-flipped", is_flag=True, default=None, help=ExtractionConfig.model_fields["phase_flipped"].description
)
@from_config(ExtractionConfig, "contrast", "voltage_kV")
@click.option("--picks-spacing", "picks_spacing_A", type=float, help="Å per voxel of the tomogram that was picked, "
              "where the pick file does not say it and TOMOGRAMS have another")  # fmt: skip
@spacing_option
@click.option("--resume", is_flag=True, help="go on with an assessment that was stopped")
@overwrite_option
def assess(sets: tuple[Path, ...], tomograms: tuple[Path, ...], out: Path, box: dict[str, Any], **options: Any) -> None:
    """Judge sets of picks by what they average to.

    SETS are one or more pick files, or folders with a file for each tomogram. Each set is averaged by the same
    protocol, two halves apart, by RELION (a separate program: apt-get install relion) or by the light path in Python,
    and OUT/assess.html puts them side by side: Fourier shell correlation, local resolution, resolution against the
    number of particles, likelihoods. OUT/sets holds the averages, and the particles with orientations (refined.star).
    """
    from etpick.assessing import assess as run

    options["diameters_A"] = options.pop("diameters")
    with progress_bars() as bars:
        done = run(sets, tomograms, out, on_message=bars.say, on_stage=bars.replace, **box, **options)
    click.echo("\n".join([f"note: {note}" for note in done.notes]))
    click.echo(f"the report is {done.report}")
