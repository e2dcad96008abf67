"""`etpick convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FILE, overwrite_option
from etpick.io.formats.registry import BY_NAME

_STYLES = click.Choice(list(BY_NAME))


def _list_formats(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        for form in BY_NAME.values():
            click.echo(f"{form.name:<11}{' '.join(form.suffixes):<14}{form.title}: {form.positions}")
        context.exit()


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--tomogram", type=FILE, help="the tomogram of the picks: tells its name, size and voxel size")
@click.option("--tomograms-star", type=FILE, help="RELION's tomograms.star, for the same; with several, say --name")
@click.option("--name", help="the tomogram's name, to choose from a file about several and to write down")
@click.option("--size", "size_xyz", nargs=3, type=click.IntRange(min=1), metavar="X Y Z",
              help="the tomogram's size in voxels, where it is not at hand")  # fmt: skip
@click.option("--spacing", "spacing_A", type=click.FloatRange(min=0, min_open=True), help="the tomogram's Å per voxel")
@click.option("--bin", "binning", type=click.FloatRange(min=0, min_open=True),
              help="how many voxels of IN make one of the tomogram, along an axis  [default: 1]")  # fmt: skip
@click.option("--out-bin", "out_binning", type=click.FloatRange(min=0, min_open=True),
              help="how many voxels of OUT make one of the tomogram  [default: 1]")  # fmt: skip
@click.option("--from", "from_style", type=_STYLES, help="the format of IN, where its ending and content do not tell")
@click.option("--to", "to_style", type=_STYLES, help="the format of OUT, where its ending does not tell")
@click.option("--class", "classes", multiple=True, help="names of the classes in the order that numbers them from 1")
@click.option("--only", multiple=True, help="keep this class; may be repeated")
@click.option("--write-tomograms", type=FILE, help="also write a tomograms.star, to go with a RELION 5 file")
@click.option("--formats", is_flag=True, is_eager=True, expose_value=False, callback=_list_formats,
              help="list the formats and leave")  # fmt: skip
@overwrite_option
def convert(source: Path, target: Path, **options: Any) -> None:
    """Turn a pick file of one program into one of another.

    Endings tell the formats: .star is RELION 4 unless --to relion5 or warp, .json copick unless --to eman2. Between
    them lie voxels of one tomogram; what a format needs beside (its size, the Å per voxel) comes from --tomogram, or
    from --size and --spacing. OUT may be the folder of a copick run, with --to copick.
    """
    from etpick.conversion import convert as run

    click.echo("\n".join(run(source, target, **options).lines()))
