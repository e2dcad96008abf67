"""Pick files of many tomograms into those of another program, one file for each tomogram or one for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from etpick.conversion import Converted, convert
from etpick.errors import InputError, OutputError
from etpick.io.atomic import atomic_write, make_folder, refuse_existing
from etpick.io.copick_project import read_copick_project
from etpick.io.formats.copick import PICKS
from etpick.io.formats.registry import BY_NAME, format_to_write
from etpick.io.pairing import tomograms_in
from etpick.io.table import belongs_to, tomogram_name
from etpick.io.tomograms import find_tomograms


@dataclass(frozen=True)
class _Task:
    """One file to write: the picks' file, the name of their tomogram, and its file where that is known."""

    source: Path
    name: str
    tomogram: Path | None
    target: Path


def convert_all(
    sources: Sequence[Path | str],
    folder: Path | str,
    *,
    to_style: str,
    tomograms: Sequence[Path | str] = (),
    overwrite: bool = False,
    **options: Any,
) -> list[Converted]:
    """Convert each tomogram's picks in several files, or in files about several, into FOLDER/TOMOGRAM.suffix.

    In copick's format into FOLDER/TOMOGRAM/Picks, as the folders of runs are.
    A tomogram's name is the one that a file gives in its rows, otherwise the file's own; the files of `tomograms` are
    matched by name, as everywhere. `options` go to `etpick.conversion.convert`. Nothing is written where two would
    get one name, or where something would be replaced. Raises InputError and OutputError.
    """
    folder = Path(folder)
    if to_style not in BY_NAME:
        raise InputError(f"unknown pick format {to_style!r}: use one of {', '.join(BY_NAME)}")
    files = {tomogram_name(path): path for path in (find_tomograms(tomograms) if tomograms else [])}
    tasks = [task for source in sources for task in _tasks(Path(source), folder, to_style, files, options)]
    _refuse_doubles(tasks, folder)
    form = format_to_write(folder / f"any{BY_NAME[to_style].suffixes[0]}", to_style)
    for task in tasks if form.write_folder is None else ():  # which files a folder gets, is known when it is written
        for target in (task.target, *(task.target.with_suffix(suffix) for suffix in form.beside)):
            refuse_existing(target, overwrite)
    make_folder(folder)
    return [
        convert(
            task.source, task.target, to_style=to_style, tomogram=task.tomogram, name=task.name,
            overwrite=overwrite, **options,
        )
        for task in tasks
    ]  # fmt: skip


def convert_into_copick(
    sources: Sequence[Path | str], configuration: Path | str, *, overwrite: bool = False, **options: Any
) -> list[Converted]:
    """Convert picks, as `convert_all` does, into the runs of a copick project on a local disk.

    Raises InputError and OutputError, before anything is written, also for a run or an object that it does not have.
    """
    project = read_copick_project(configuration)
    with TemporaryDirectory() as temporary:
        for one in convert_all(sources, temporary, to_style="copick", **options):
            project.refuse_unknown(str(one.particles.tomogram), {str(name) for name in one.particles.classes})
            for file in one.files:
                refuse_existing(project.folders[0] / file.relative_to(temporary), overwrite)
    return convert_all(sources, project.folders[0], to_style="copick", overwrite=overwrite, **options)


def convert_joined(
    sources: Sequence[Path | str],
    target: Path | str,
    *,
    to_style: str | None = None,
    tomograms: Sequence[Path | str] = (),
    classes: Sequence[str] = (),
    overwrite: bool = False,
    **options: Any,
) -> list[Converted]:
    """Convert the picks of several tomograms, as `convert_all` does, into the one file `target`.

    Classes are numbered alike in all of them. Raises OutputError for a format whose files are of one tomogram.
    """
    target = Path(target)
    form = format_to_write(target, to_style)
    if form.join is None:
        able = ", ".join(name for name, other in BY_NAME.items() if other.join)
        raise OutputError(f"a file of {form.title} is of one tomogram: leave out --join, or choose one of {able}")
    refuse_existing(target, overwrite)
    with TemporaryDirectory() as temporary:

        def into(folder: str, order: Sequence[str]) -> list[Converted]:
            return convert_all(
                sources, Path(temporary) / folder, to_style=form.name, tomograms=tomograms, classes=order, **options
            )

        done = into("first", classes)
        if not classes:  # once more, now that all their names are known
            done = into("then", sorted({str(name) for one in done for name in one.particles.classes}))
        with atomic_write(target, overwrite=overwrite) as path:
            form.join([one.files[0] for one in done], path)
    return [replace(one, files=()) for one in done]


def _tasks(source: Path, folder: Path, to_style: str, files: dict[str, Path], options: dict[str, Any]) -> list[_Task]:
    stated = tomograms_in(source, options.get("from_style"))
    names = [tomogram_name(name) for name in stated] if stated else [source.stem]
    return [_Task(source, name, _file_of(name, source, files), _target(folder, name, to_style)) for name in names]


def _target(folder: Path, name: str, style: str) -> Path:
    form = BY_NAME[style]
    return folder / name / PICKS if form.write_folder else folder / f"{name}{form.suffixes[0]}"


def _file_of(name: str, source: Path, files: dict[str, Path]) -> Path | None:
    """The file whose name begins that of the picks, the longest one, or the only one whose name goes on from it.

    None where no tomograms were given.
    """
    if not files:
        return None
    longer = [known for known in files if belongs_to(known, name)]
    fitting = [known for known in files if belongs_to(name, known)] or longer
    if len(fitting) > 1 and fitting is longer:
        raise InputError(f"{source} is about {name}, which may be {' or '.join(longer)}: give one of these tomograms")
    if not fitting:
        raise InputError(f"{source} is about {name}, and no such tomogram was given: name it, or leave out --tomogram")
    return files[max(fitting, key=len)]


def _refuse_doubles(tasks: Sequence[_Task], folder: Path) -> None:
    owners: dict[Path, Path] = {}
    for task in tasks:
        if task.target in owners:
            raise OutputError(
                f"{owners[task.target]} and {task.source} would both be written as {task.target.relative_to(folder)}: "
                "convert them in two runs, into two folders"
            )
        owners[task.target] = task.source
