"""Picks of many tomograms written in the format of another program: a file each, or one for each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from etpick.errors import OutputError
from etpick.io.formats.base import PickFormat
from etpick.io.formats.registry import BY_NAME
from etpick.io.picks import write_picks
from etpick.types import Particles, Shape3


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is to be written of a tomogram: its name, its shape zyx, and the picks with its spacing."""

    name: str
    shape: Shape3
    picks: Particles


def export_picks(
    chosen: Sequence[Chosen],
    out: Path | str,
    style: str,
    *,
    classes: Sequence[str] = (),
    binning: float = 1.0,
    overwrite: bool = False,
) -> list[Path]:
    """Write OUT/NAME.SUFFIX for each tomogram, and return what was written.

    A format whose files hold no class gets a file for each, NAME_CLASS.SUFFIX; copick a folder NAME, as it has for a
    run. `classes` is the order that numbers them; voxels are multiplied by `binning`. Raises OutputError, before
    anything is written, for an unknown format or where a file exists.
    """
    if style not in BY_NAME:
        raise OutputError(f"unknown pick format {style!r}: use one of {', '.join(BY_NAME)}")
    if not binning > 0:
        raise OutputError(f"binning {binning} is not a positive number")
    form = BY_NAME[style]
    files = [(target, picks, one) for one in chosen for target, picks in _files(one, Path(out), form)]
    for target, _, _ in files:
        for path in [target, *(target.with_suffix(suffix) for suffix in form.beside)]:
            if path.exists() and not overwrite and not form.write_folder:
                raise OutputError(f"{path} exists: let files be replaced, or choose another folder")
    written: list[Path] = []
    for target, picks, one in files:
        write_picks(
            target, picks, tomogram_shape=one.shape, classes=classes, binning=binning, style=style, overwrite=overwrite
        )
        written += sorted(p for p in target.rglob("*") if p.is_file()) if target.is_dir() else [target]
        written += [target.with_suffix(suffix) for suffix in form.beside]
    return written


def _files(one: Chosen, out: Path, form: PickFormat) -> Iterator[tuple[Path, Particles]]:
    if form.write_folder:
        yield out / one.name.replace(".", "_"), one.picks  # a run's folder has no suffix
        return
    suffix = form.suffixes[0]
    if form.holds & {"class names", "class numbers"}:
        yield out / f"{one.name}{suffix}", one.picks
        return
    for name in sorted({str(name) for name in one.picks.classes}):
        yield out / f"{one.name}_{name}{suffix}", one.picks.of_class(name)
