"""`etpick pick`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FILE, FOLDER, copick_tomograms_option, from_config, overwrite_option, spacing_option
from etpick.cli.progress import progress_bars
from etpick.config import PickingConfig


def _share(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int]:
    number, _slash, count = value.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise click.BadParameter(f"{value!r} is not K/N, for example 3/10")
    return int(number), int(count)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("tomograms", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=FOLDER, default=Path("picks"), show_default=True, help="folder for NAME.csv and NAME.star")
@from_config(PickingConfig, "min_score", "precision", "expected_false_positives")
@click.option("--averages/--no-averages", default=None, help=PickingConfig.model_fields["averages"].description)
@click.option("--label-free", is_flag=True, help=PickingConfig.model_fields["label_free"].description)
@click.option("--invert", is_flag=True, help=PickingConfig.model_fields["invert"].description)
@from_config(PickingConfig, "tile_vx", "device", "engine")
@from_config(PickingConfig, "edge_A")
@click.option("--slab", is_flag=True, help=PickingConfig.model_fields["slab"].description)
@from_config(PickingConfig, "slab_margin_A")
@click.option("--gold", is_flag=True, help=PickingConfig.model_fields["gold"].description)
@from_config(PickingConfig, "gold_margin_A")
@click.option("--mask", type=FILE, help="pick only where this volume is not zero (any binning); for several tomograms "
              "a folder with masks of their names, t1.mrc or t1_mask.mrc")  # fmt: skip
@click.option("--avoid-mask", type=FILE, help="pick nothing where this volume is not zero, such as membranes; "
              "likewise a folder")  # fmt: skip
@from_config(PickingConfig, "avoid_margin_A")
@click.option("--report", is_flag=True, help="also write OUT/NAME.html: pictures of picks and zones, scores, counts")
@click.option("--candidates", is_flag=True, help="also write OUT/candidates/NAME.csv with what lies below the "
              "thresholds, to choose others by looking")  # fmt: skip
@click.option("--score-maps", type=click.Choice(["mrc", "zarr"]), help="also write OUT/NAME_scores.mrc, the chance of "
              "any particle, or .zarr with that of each class, at the network's resolution")  # fmt: skip
@click.option("--binary", is_flag=True, help="pool the thresholded map as the paper does (for comparison)")
@click.option("--star-style", type=click.Choice(["relion4", "relion5", "warp"]), default="relion4", show_default=True,
              help="relion4, warp: voxels; relion5: Å from the centre (more: etpick convert)")  # fmt: skip
@click.option("--star-binning", type=float, default=1.0, show_default=True,
              help="voxels in STAR files are multiplied by this: the tomogram's binning")  # fmt: skip
@click.option("--resume", is_flag=True, help="pass over tomograms that are picked already")
@click.option("--share", default="1/1", callback=_share, metavar="K/N",
              help="only the K-th of N shares of the tomograms, for jobs side by side")  # fmt: skip
@copick_tomograms_option
@spacing_option
@overwrite_option
def pick(model: Path, tomograms: tuple[Path, ...], **options: Any) -> None:
    """Find the particles in tomograms.

    TOMOGRAMS are files or folders, or the configuration of a copick project, whose tomograms they then are; each
    gets OUT/NAME.csv and OUT/NAME.star. What lies at the edge, outside the lamella, at gold or at a mask can be left
    out; sizes are in Å.
    """
    from etpick import api

    with progress_bars() as bars:
        done = api.pick_files(
            model,
            tomograms,
            on_message=bars.say,
            on_start=bars.on_file,
            on_progress=bars.advance,
            on_done=bars.on_picked,
            **options,
        )
    if not done:
        others = ", or is in another share" if options["share"][1] > 1 else ""
        click.echo(f"nothing left to pick: every tomogram has its files already{others}")
