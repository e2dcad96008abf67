"""`etpick demo` and `etpick simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FOLDER, overwrite_option
from etpick.cli.progress import progress_bars


@click.command()
@click.argument("out", type=FOLDER, default=Path("demo"))
@click.option("--minutes", type=float, default=3.5, show_default=True, help="training time")
@click.option("--seed", type=int, default=0, show_default=True)
@overwrite_option
def demo(out: Path, minutes: float, seed: int, overwrite: bool) -> None:
    """Go the whole way on simulated tomograms.

    Simulates, trains, picks, scores, and leaves a report to look at in OUT.
    """
    from etpick.demo import run_demo

    with progress_bars() as bars:
        result = run_demo(out, minutes=minutes, seed=seed, overwrite=overwrite, stages=bars)
    click.echo(result)


class _Lists(click.Command):
    """Lets `--species a b` stand for `--species a --species b`, as people write it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spelled: list[str] = []
        listing = False
        for arg in args:
            if arg.startswith("-"):
                listing = arg == "--species"
            elif listing and spelled[-1] != "--species":
                spelled.append("--species")
            spelled.append(arg)
        return super().parse_args(ctx, spelled)


@click.command(cls=_Lists)
@click.argument("out", type=FOLDER)
@click.option("--count", type=click.IntRange(1), default=4, show_default=True, help="how many tomograms")
@click.option("--shape", type=click.IntRange(16), nargs=3, default=(64, 192, 192), show_default=True,
              metavar="Z Y X", help="voxels")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--spacing", "spacing_A", type=float, default=10.0, show_default=True, help="Å per voxel")
@click.option("--maps", type=click.Path(exists=True, path_type=Path), help="folder of density maps or atomic models")
@click.option("--species", multiple=True, metavar="NAME …", help="which of them, by file name; all if not given")
@click.option(
    "--particles", "particles_per_class", type=click.IntRange(1), help="particles of each class in a tomogram"
)
@overwrite_option
def simulate(out: Path, **options: Any) -> None:
    """Simulate tomograms with known particles.

    Writes NAME.mrc, the truth NAME.csv, and NAME_occupancy.npz with the particle number of each voxel.
    """
    from etpick.simulate.files import simulate_folder

    with progress_bars() as bars:
        paths = simulate_folder(out, **options, on_progress=bars.stage("simulating"))
    click.echo(f"{len(paths)} tomograms with their truth are in {out}")
