"""`etpick submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FOLDER
from etpick.cluster import Resources, minutes_of

_DEFAULT = Resources()
_NOT_SUBMITTED = ("submit", "serve", "view", "completion")


def _minutes(_: click.Context, __: click.Parameter, value: str) -> int:
    try:
        return minutes_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _options(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.removeprefix("--").partition("=") for value in values]
    if wrong := [value for value, (name, equals, _rest) in zip(values, pairs, strict=True) if not (name and equals)]:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE, for example account=em")
    return {name: value for name, _equals, value in pairs}


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--time", "minutes", default=str(_DEFAULT.minutes), show_default=True, callback=_minutes, metavar="TIME",
              help="limit for each job: minutes, H:MM:SS or D-HH:MM:SS")  # fmt: skip
@click.option("--gpus", type=click.IntRange(min=0), default=_DEFAULT.gpus, show_default=True, help="for each job")
@click.option("--cpus", type=click.IntRange(min=1), default=_DEFAULT.cpus, show_default=True, help="for each job")
@click.option("--memory", "memory_GB", type=click.IntRange(min=1), default=_DEFAULT.memory_GB, show_default=True,
              help="GB for each job")  # fmt: skip
@click.option("--partition", help="of the cluster; its default if not given")
@click.option("--slurm", "more", multiple=True, callback=_options, metavar="NAME=VALUE",
              help="any other option of sbatch, such as account=em; may be repeated")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True,
              help="share the tomograms of `pick` among so many jobs")  # fmt: skip
@click.option("--after", metavar="JOB", help="start when this job has ended well")
@click.option("--requeues", type=click.IntRange(min=0), default=_DEFAULT.requeues, show_default=True,
              help="how often a job that its time limit stopped goes back to the queue, and goes on")  # fmt: skip
@click.option("--logs", type=FOLDER, default=Path("slurm"), show_default=True, help="folder for what the jobs say")
@click.option("--wait", is_flag=True, help="stay until the jobs have ended, and fail if one of them did")
@click.pass_context
def submit(
    context: click.Context, /, command: tuple[str, ...], jobs: int, logs: Path, wait: bool, **options: Any
) -> None:
    """Run a COMMAND of etpick on a SLURM cluster.

    Options for the cluster come before the command, its own after it: `etpick submit --gpus 1 --time 2:00:00 train
    project.toml --out model`. A job that is stopped by its time limit, or for somebody else, goes back to the queue
    and goes on where it was.
    """
    from etpick.cluster import submit as run

    out = _checked(context, command)
    if jobs > 1 and command[0] != "pick":
        raise click.UsageError(f"--jobs shares the tomograms of pick: {command[0]} is one job")
    shares = [(*command, "--share", f"{n}/{jobs}") for n in range(1, jobs + 1)] if jobs > 1 else [command]
    submitted = run(shares, logs, Resources(**options), out=out)
    click.echo("\n".join(submitted.lines()))
    if wait:
        submitted.wait(_tell)


def _tell(ended: int, running: int, every: int) -> None:
    click.echo(f"{ended} of {every} ended, {running} running", err=True)


def _checked(context: click.Context, command: tuple[str, ...]) -> Path | None:
    """Let the command itself read its arguments, so that what is wrong is told now; returns its --out."""
    parent = context.find_root()
    group = parent.command
    name, *arguments = command
    known = group.get_command(parent, name) if isinstance(group, click.Group) else None
    if known is None or name in _NOT_SUBMITTED:
        raise click.UsageError(f"{name!r} is no command of etpick that runs on a cluster")
    out = known.make_context(name, list(arguments), parent=parent).params.get("out")
    return out if isinstance(out, Path) else None
