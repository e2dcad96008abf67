"""The command line. It builds configurations, calls `etpick.api` and shows what comes back."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etpick import __version__
from etpick.config import PickingConfig, TrainingConfig, recipe
from etpick.errors import EtpickError

if TYPE_CHECKING:
    from etpick.training import TrainingProgress

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)


class _Commands(click.Group):
    """Shows commands in the order of the work, and errors as one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EtpickError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            raise click.ClickException("stopped") from None


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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="etpick")
def main() -> None:
    """Find particles in cryo-electron tomograms.

    Mark a few dozen centres, then: etpick init → train → pick → evaluate. `etpick demo` shows it all on
    simulated tomograms. Sizes are in Å, positions in voxels of the tomogram's file.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)


_FLAGS = {"spacing_A": "--working-spacing"}  # --spacing is what a header should have said
_INTEGERS = {"steps", "patch_vx", "batch", "seed", "tile_vx", "validations"}


def _from_config(kind: type[PickingConfig | TrainingConfig], *names: str) -> Callable[[Any], Any]:
    """Options for fields of a config; help and default come from the field."""

    def decorate(command: Any) -> Any:
        for name in reversed(names):
            flag = _FLAGS.get(name, "--" + name.replace("_vx", "").replace("_A", "").replace("_", "-"))
            option_type: Any = int if name in _INTEGERS else str if name == "device" else float
            text = f"{kind.model_fields[name].description or name.replace('_', ' ')}{_default(kind, name)}"
            command = click.option(flag, name, type=option_type, default=None, help=text)(command)
        return command

    return decorate


def _default(kind: type[PickingConfig | TrainingConfig], name: str) -> str:
    if kind is PickingConfig:
        value = kind.model_fields[name].default
        return "" if value is None else f"  [default: {value}]"
    fast, paper = (getattr(recipe(network), name) for network in ("fast", "paper"))
    if fast == paper:
        return "" if fast is None else f"  [default: {fast}]"
    return f"  [default: fast {fast}, paper {'60 passes over the labels' if paper is None else paper}]"


def _diameters(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    out = {}
    for value in values:
        name, _sep, number = value.partition("=")
        try:
            out[name] = float(number)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not NAME=Å, for example ribosome=280") from None
        if not name or not out[name] > 0:
            raise click.BadParameter(f"{value!r} needs a name and a positive diameter in Å")
    return out


diameter_option = click.option(
    "--diameter", "diameters", multiple=True, callback=_diameters, metavar="NAME=Å",
    help="a class and its particles' diameter in Å; once for each class",
)  # fmt: skip
spacing_option = click.option(
    "--spacing", "spacing_A", type=float, default=None, help="Å per voxel, where the header lies"
)
overwrite_option = click.option("--overwrite", is_flag=True, help="replace what is there")


@main.command()
@click.argument("out", type=FOLDER, default=Path("demo"))
@click.option("--minutes", type=float, default=3.5, show_default=True, help="training time")
@click.option("--seed", type=int, default=0, show_default=True)
@overwrite_option
def demo(out: Path, minutes: float, seed: int, overwrite: bool) -> None:
    """Go the whole way on simulated tomograms.

    Simulates, trains, picks, scores, and leaves a report to look at in OUT.
    """
    from etpick.demo import run_demo

    with _bars() as bars:
        result = run_demo(out, minutes=minutes, seed=seed, overwrite=overwrite, stages=bars)
    click.echo(result)


@main.command(cls=_Lists)
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

    with _bars() as bars:
        paths = simulate_folder(out, **options, on_progress=bars.stage("simulating"))
    click.echo(f"{len(paths)} tomograms with their truth are in {out}")


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@diameter_option
@click.option("--out", type=FILE, default=Path("project.toml"), show_default=True, help="the project file to write")
@click.option(
    "--validate", multiple=True, metavar="NAME", help="tomograms that choose the model; the last if not given"
)
@click.option("--partial", is_flag=True, help="some particles in the tomograms were left unmarked")
@spacing_option
@overwrite_option
def init(sources: tuple[Path, ...], partial: bool, validate: tuple[str, ...], **options: Any) -> None:
    """Write a project file to train from.

    Takes the tomograms in SOURCES, files or folders, and the pick files beside them by name.
    """
    from etpick.io.init import init_project

    project = init_project(
        sources, labels="partial" if partial else "complete", validate=list(validate) or None, **options
    )
    click.echo("\n".join(project.lines()))


@main.command()
@click.argument("project", type=click.Path(path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="folder for the model")
@click.option("--network", type=click.Choice(["fast", "paper"]), default=None,
              help="fast: half-resolution output; paper: the published 3D-ResUNet  [default: fast]")  # fmt: skip
@_from_config(TrainingConfig, "max_minutes", "steps", "seed", "spacing_A", "patch_vx", "batch", "learning_rate",
              "label_diameter_vx", "label_fraction")  # fmt: skip
@click.option("--label-shape", type=click.Choice(["cubic", "ball", "truncated-ball"]), default=None,
              help="[default: fast ball, paper truncated-ball]")  # fmt: skip
@click.option("--proportional-labels", "label_proportional", is_flag=True, default=None,
              help="labels of --label-fraction of their particles, however wide")  # fmt: skip
@_from_config(TrainingConfig, "validations", "alpha")
@_from_config(PickingConfig, "device")
@click.option("--resume", is_flag=True, help="go on where a stopped training was, with the options it had")
@overwrite_option
def train(project: Path, **options: Any) -> None:
    """Train on a project file. Ctrl-C stops and keeps the state; --resume goes on."""
    from etpick import api

    options["device"] = options["device"] or "auto"
    stop = _StopFlag()
    with _bars() as bars:
        model = api.train(project, on_progress=bars.training(), should_stop=stop, **options)
    place = model.validation["localisation"]
    click.echo(f"model in {options['out']}: {_score_line(place)} on validation")
    for c, threshold in zip(model.classes, model.decision.thresholds, strict=True):
        click.echo(f"  {c.name}: picks from score {threshold:.2f}")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("tomograms", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=FOLDER, default=Path("picks"), show_default=True, help="folder for NAME.csv and NAME.star")
@_from_config(PickingConfig, "min_score", "precision", "expected_false_positives")
@click.option("--label-free", is_flag=True, help=PickingConfig.model_fields["label_free"].description)
@click.option("--invert", is_flag=True, help=PickingConfig.model_fields["invert"].description)
@_from_config(PickingConfig, "tile_vx", "device")
@_from_config(PickingConfig, "edge_A")
@click.option("--slab", is_flag=True, help=PickingConfig.model_fields["slab"].description)
@_from_config(PickingConfig, "slab_margin_A")
@click.option("--gold", is_flag=True, help=PickingConfig.model_fields["gold"].description)
@_from_config(PickingConfig, "gold_margin_A")
@click.option("--mask", type=FILE, help="pick only where this volume is not zero (any binning); for several tomograms "
              "a folder with masks of their names, t1.mrc or t1_mask.mrc")  # fmt: skip
@click.option("--avoid-mask", type=FILE, help="pick nothing where this volume is not zero, such as membranes; "
              "likewise a folder")  # fmt: skip
@_from_config(PickingConfig, "avoid_margin_A")
@click.option("--report", is_flag=True, help="also write OUT/NAME.html: pictures of picks and zones, scores, counts")
@click.option("--binary", is_flag=True, help="pool the thresholded map as the paper does (for comparison)")
@click.option("--star-style", type=click.Choice(["relion4", "relion5"]), default="relion4", show_default=True,
              help="relion4: voxels; relion5: Å from the tomogram's centre")  # fmt: skip
@click.option("--star-binning", type=float, default=1.0, show_default=True,
              help="voxels in relion4 STAR files are multiplied by this: the tomogram's binning")  # fmt: skip
@click.option("--resume", is_flag=True, help="pass over tomograms that are picked already")
@spacing_option
@overwrite_option
def pick(model: Path, tomograms: tuple[Path, ...], **options: Any) -> None:
    """Find the particles in tomograms.

    TOMOGRAMS are files or folders; each gets OUT/NAME.csv and OUT/NAME.star. What lies at the edge, outside the
    lamella, at gold or at a mask can be left out; sizes are in Å.
    """
    from etpick import api

    with _bars() as bars:
        done = api.pick_files(
            model,
            tomograms,
            on_start=bars.on_file,
            on_progress=bars.advance,
            on_done=bars.on_picked,
            **options,
        )
    if not done:
        click.echo("nothing left to pick: every tomogram has its files already")


@main.command()
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


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@spacing_option
def info(paths: tuple[Path, ...], spacing_A: float | None) -> None:
    """Tell what is in files, and what looks wrong.

    Tomograms with the picks named or beside them, pick files, project files, model folders.
    """
    from etpick import api

    click.echo("\n".join(api.info(paths, spacing_A=spacing_A)))


def _score_line(score: dict[str, Any]) -> str:
    def show(value: float | None, digits: int = 3) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    return (
        f"F1 {show(score['f1'])} (precision {show(score['precision'])}, recall {show(score['recall'])}, "
        f"distance {show(score['mean_distance_vx'], 2)} voxels)"
    )


class _StopFlag:
    """Set by Ctrl-C or a cluster's SIGTERM; the training loop reads it. A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        click.echo("stopping after this step; once more stops at once", err=True)

    def __call__(self) -> bool:
        return self.asked


class _Bars:
    """Progress on a terminal; without one, a line now and then."""

    def __init__(self, progress: Any, terminal: bool) -> None:
        self.progress, self.terminal = progress, terminal
        self.task: Any = None

    def say(self, message: str) -> None:
        """A line above the bars."""
        self.progress.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def stage(self, name: str) -> Callable[[int, int], None]:
        """A bar for a stage that reports (done, total)."""
        self.task = self.progress.add_task(name, total=None)
        return self.advance

    def advance(self, done: int, total: int) -> None:
        """Move the current bar."""
        if self.task is not None:
            self.progress.update(self.task, completed=done, total=total)

    def on_file(self, path: Path, number: int, count: int) -> None:
        """A new tomogram begins."""
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.stage(f"{path.name} ({number + 1} of {count})")

    def on_picked(self, picked: Any) -> None:
        """A tomogram is done."""
        picks = picked.found.picks
        counts = ", ".join(f"{(picks.classes == name).sum()} {name}" for name in sorted(set(picks.classes)))
        self.say(f"{picked.tomogram.name}: {counts or 'no picks'} → {picked.files[0]}")
        if len(picks):
            self.say(f"  {picked.found.how}: {picked.found.expected_wrong:.0f} of them wrong to be expected")
        for remark in (picked.found.what_was_left_out, picked.found.why_empty, picked.found.warning):
            if remark:
                self.say(f"  {remark}")

    def training(self) -> Callable[[TrainingProgress], None]:
        """A bar for training: loss, validation F1, remaining time."""
        task = self.progress.add_task("training", total=None)

        def show(p: TrainingProgress) -> None:
            if p.message:
                self.say(p.message)
                return
            f1 = "" if p.validation_f1 != p.validation_f1 else f"  validation F1 {p.validation_f1:.3f}"
            text = f"loss {p.loss:.3f}{f1}"
            self.progress.update(task, completed=p.step, total=p.steps, description=text)
            if not self.terminal and (p.step % 100 == 0 or p.step == p.steps):
                self.say(f"step {p.step} of {p.steps}, {text.strip()}, {p.minutes_left:.1f} minutes left")

        return show


@contextmanager
def _bars() -> Iterator[_Bars]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield _Bars(progress, console.is_terminal)


if __name__ == "__main__":
    sys.exit(main())
