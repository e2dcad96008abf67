"""`etpick convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etpick.cli.options import FILE, overwrite_option
from etpick.io.copick_project import is_copick_project
from etpick.io.formats.registry import BY_NAME
from etpick.io.sanity import FLIPS, SWAPS

if TYPE_CHECKING:
    from etpick.conversion import Converted

_STYLES = click.Choice(list(BY_NAME))


def _list_formats(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        for form in BY_NAME.values():
            click.echo(f"{form.name:<11}{' '.join(form.suffixes):<14}{form.title}: {form.positions}")
        context.exit()


@click.command()
@click.argument("sources", metavar="IN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--tomogram", "tomograms", type=FILE, multiple=True, help="the tomogram of the picks: tells its name, "
              "size and voxel size; for several, repeat it or name their folder")  # fmt: skip
@click.option("--tomograms-star", type=FILE, help="RELION's tomograms.star, for the same; with several, say --name")
@click.option("--name", help="the tomogram's name, to choose from a file about several and to write down")
@click.option("--size", "size_xyz", nargs=3, type=click.IntRange(min=1), metavar="X Y Z",
              help="the tomogram's size in voxels, where it is not at hand")  # fmt: skip
@click.option("--spacing", "spacing_A", type=click.FloatRange(min=0, min_open=True), help="the tomogram's Å per voxel")
@click.option("--bin", "binning", type=click.FloatRange(min=0, min_open=True),
              help="how many voxels of IN make one of the tomogram, along an axis  [default: 1]")  # fmt: skip
@click.option("--out-bin", "out_binning", type=click.FloatRange(min=0, min_open=True),
              help="how many voxels of OUT make one of the tomogram  [default: 1]")  # fmt: skip
@click.option("--swap", type=click.Choice(SWAPS), help="exchange two axes, where IN names them wrongly "
              "(`etpick check` tells); angles are left out")  # fmt: skip
@click.option("--flip", type=click.Choice(FLIPS), help="count an axis from its other end, after --swap; "
              "needs the tomogram's size; angles are left out")  # fmt: skip
@click.option("--from", "from_style", type=_STYLES, help="the format of IN, where its ending and content do not tell")
@click.option("--to", "to_style", type=_STYLES, help="the format of OUT, where its ending does not tell")
@click.option("--class", "classes", multiple=True, help="names of the classes in the order that numbers them from 1")
@click.option("--only", multiple=True, help="keep this class; may be repeated")
@click.option("--write-tomograms", type=FILE, help="also write a tomograms.star, to go with a RELION 5 file")
@click.option("--formats", is_flag=True, is_eager=True, expose_value=False, callback=_list_formats,
              help="list the formats and leave")  # fmt: skip
@click.option("--each", is_flag=True, help="write a file of each tomogram that IN is about into the folder OUT")
@click.option("--join", is_flag=True, help="write all tomograms into the one file OUT (RELION, Warp, CSV)")
@overwrite_option
def convert(sources: tuple[Path, ...], target: Path, tomograms: tuple[Path, ...], **options: Any) -> None:
    """Turn a pick file of one program into one of another.

    Endings tell the formats: .star is RELION 4 unless --to relion5 or warp, .json copick unless --to eman2. Between
    them lie voxels of one tomogram; what a format needs beside (its size, the Å per voxel) comes from --tomogram, or
    from --size and --spacing. OUT may be the folder of a copick run, with --to copick, or the configuration of a copick
    project, whose runs then get the picks of the tomograms that have their names.

    Several INs, --each for a file about several tomograms, or an OUT without an ending: OUT is a folder, and gets a
    file of each tomogram, in the format --to names. With --join OUT is one file about all of them, as RELION wants it.
    """
    from etpick.conversion import convert as run

    if is_copick_project(target):
        done = _into_copick(sources, target, tomograms, options)
        click.echo("\n".join(line for one in done for line in one.lines()))
        return
    style = options["to_style"]
    into_folder = not target.suffix and style is not None and BY_NAME[style].write_folder is None
    if options.pop("join"):
        done = _joined(sources, target, tomograms, options)
        click.echo("\n".join([*(line for one in done for line in one.lines()), f"  all in {target}"]))
        return
    each = options.pop("each") or len(sources) > 1 or into_folder
    if each:
        done = _each(sources, target, tomograms, options)
    elif len(tomograms) > 1:
        raise click.UsageError("one IN has one --tomogram; for a file about several tomograms add --each")
    else:
        done = [run(sources[0], target, tomogram=tomograms[0] if tomograms else None, **options)]
    click.echo("\n".join(line for converted in done for line in converted.lines()))


def _each(
    sources: tuple[Path, ...], folder: Path, tomograms: tuple[Path, ...], options: dict[str, Any]
) -> list[Converted]:
    from etpick.batch import convert_all

    _refuse_single(options)
    if (style := options.pop("to_style")) is None:
        raise click.UsageError("say with --to which format the files in the folder OUT get")
    return convert_all(sources, folder, to_style=style, tomograms=tomograms, **options)


def _into_copick(
    sources: tuple[Path, ...], configuration: Path, tomograms: tuple[Path, ...], options: dict[str, Any]
) -> list[Converted]:
    from etpick.batch import convert_into_copick

    _refuse_single(options)
    if options.pop("join") or options.pop("to_style") not in (None, "copick"):
        raise click.UsageError(f"{configuration} is a copick project: leave out --join and --to")
    options.pop("each")
    return convert_into_copick(sources, configuration, tomograms=tomograms, **options)


def _joined(
    sources: tuple[Path, ...], target: Path, tomograms: tuple[Path, ...], options: dict[str, Any]
) -> list[Converted]:
    from etpick.batch import convert_joined

    options.pop("each")
    _refuse_single(options)
    return convert_joined(sources, target, tomograms=tomograms, **options)


def _refuse_single(options: dict[str, Any]) -> None:
    if any([options.pop("name"), options.pop("write_tomograms")]):
        raise click.UsageError("--name and --write-tomograms are for one tomogram: leave them out")
