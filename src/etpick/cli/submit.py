"""`etpick submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from etpick.cli.options import FOLDER
from etpick.cluster import Resources, minutes_of
from etpick.errors import InputError

_DEFAULT = Resources()
_READ = ("project", "model", "tomograms", "picks", "truth", "sources")
_NOT_SUBMITTED = ("submit", "serve", "view", "completion")


def _minutes(_: click.Context, __: click.Parameter, value: str) -> int:
    try:
        return minutes_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _options(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str | bool]:
    pairs = [value.lstrip("-").partition("=") for value in values]
    if wrong := [value for value, (name, *_rest) in zip(values, pairs, strict=True) if not name]:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE, for example account=em")
    return {name: value if equals else True for name, equals, value in pairs}


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--time", "minutes", default=str(_DEFAULT.minutes), show_default=True, callback=_minutes, metavar="TIME",
              help="limit for each job: minutes, H:MM:SS or D-HH:MM:SS")  # fmt: skip
@click.option("--gpus", type=click.IntRange(min=0), default=_DEFAULT.gpus, show_default=True, help="for each job")
@click.option("--cpus", type=click.IntRange(min=1), default=_DEFAULT.cpus, show_default=True, help="for each job")
@click.option("--memory", "memory_GB", type=click.IntRange(min=1), default=_DEFAULT.memory_GB, show_default=True,
              help="GB for each job")  # fmt: skip
@click.option("--partition", help="of the cluster; its default if not given")
@click.option("--slurm", "more", multiple=True, callback=_options, metavar="NAME[=VALUE]",
              help="an option of sbatch, such as account=em; goes before those here; may be repeated")  # fmt: skip
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

    parameters = _checked(context, command, options["after"] is not None)
    if jobs > 1 and command[0] != "pick":
        raise click.UsageError(f"--jobs shares the tomograms of pick: {command[0]} is one job")
    commands = _shared(context, command, parameters, jobs) if jobs > 1 else [command]
    out = parameters.get("out")
    submitted = run(commands, logs, Resources(**options), out=out if isinstance(out, Path) else None)
    click.echo("\n".join(submitted.lines()))
    if wait:
        submitted.wait(_tell)


def _tell(ended: int, running: int, every: int) -> None:
    click.echo(f"{ended} of {every} ended, {running} running", err=True)


def _command(context: click.Context, name: str) -> click.Command:
    group = context.find_root().command
    known = group.get_command(context, name) if isinstance(group, click.Group) else None
    if known is None or name in _NOT_SUBMITTED:
        raise click.UsageError(f"{name!r} is no command of etpick that runs on a cluster")
    return known


def _checked(context: click.Context, command: tuple[str, ...], later: bool) -> dict[str, Any]:
    """Let the command itself read its arguments, so that what is wrong is told now; returns them by name.

    What it reads must be there, unless it comes `later`, from the job that it waits for.
    """
    known = _command(context, command[0])
    parameters = known.make_context(command[0], list(command[1:]), parent=context.find_root()).params
    for name in () if later else _READ:
        value = parameters.get(name, ())
        for path in value if isinstance(value, tuple) else (value,):
            if not path.exists():
                raise InputError(f"no {name.removesuffix('s')} {path}: nothing is there")
    return parameters


def _shared(
    context: click.Context, command: tuple[str, ...], parameters: dict[str, Any], jobs: int
) -> list[tuple[str, ...]]:
    """The commands of the jobs, each with its tomograms by name: files may come while they wait."""
    from etpick.io.tomograms import find_tomograms

    if parameters["share"] != (1, 1):
        raise click.UsageError("--jobs shares the tomograms among jobs: leave out --share")
    paths = find_tomograms(parameters["tomograms"], parameters["copick_tomograms"])
    options = _without_arguments(_command(context, command[0]), command[1:])
    shares = [paths[n::jobs] for n in range(min(jobs, len(paths)))]
    return [(command[0], str(parameters["model"]), *map(str, share), *options) for share in shares]


def _without_arguments(command: click.Command, words: tuple[str, ...]) -> list[str]:
    """The options of a command line, with their values."""
    takes = {name: o.nargs for o in command.params if isinstance(o, click.Option) and not o.is_flag for name in o.opts}
    kept, left = [], iter(words)
    for word in left:
        if word.startswith("-") and word != "--":
            kept += [word, *(next(left) for _ in range(0 if "=" in word else takes.get(word, 0)))]
    return kept
